"""Train the durability classifier from the statements beside this script.

    python scripts/train_durability.py [--encoder FOLDER] [--vectors CACHE.npz]

Reads durability_statements/statements.jsonl (see write_durability_statements.py), embeds it with
the encoder, fits multinomial logistic regressions on [embedding ; cues], sets their temperature
on groups held out in turn, and writes hybrid_memory/routing/durability.{safetensors,json}.
scikit-learn is needed here only; the package itself infers with numpy.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import GroupKFold

from hybrid_memory.config import home
from hybrid_memory.routing.cues import CUE_NAMES, cue_features
from hybrid_memory.routing.durability import SHIPPED
from hybrid_memory.types import FloatArray, IdArray, Kind

STATEMENTS = Path(__file__).parent / "durability_statements" / "statements.jsonl"
ENCODER = "all-minilm-l6-v2"
SEED = 20240
FOLDS = 5
C = 1.0
"""Inverse strength of the L2 penalty: best of 0.1, 0.3, 1 and 3 by held-out groups."""
VOLATILITIES = ("never", "slow", "fast")
TEMPERATURES = np.geomspace(0.3, 4.0, 60)


@dataclass(frozen=True)
class Head:
    """One of the three questions, with the class of every statement."""

    name: str
    classes: tuple[str, ...]
    labels: IdArray


def main() -> None:
    """Train, write, and print the held-out figures as one JSON line."""
    arguments = _arguments()
    rows = [json.loads(line) for line in STATEMENTS.read_text(encoding="utf-8").splitlines()]
    texts = [row["text"] for row in rows]
    vectors = _embedded(texts, arguments.encoder, arguments.vectors)
    groups = np.array([row["group"] for row in rows])
    cues = cue_features(texts)
    heads = _heads(rows)
    tensors: dict[str, FloatArray] = {}
    figures: dict[str, dict[str, dict[str, float]]] = {}
    for part, features in (("full", np.hstack([vectors, cues])), ("cues", cues)):
        weights, biases, figures[part] = _fit(features, heads, groups)
        tensors[part] = np.ascontiguousarray(weights, dtype=np.float32)
        tensors[f"{part}.bias"] = biases.astype(np.float32)
    save_file(tensors, SHIPPED)
    description = {
        "encoder": ENCODER,
        "dim": vectors.shape[1],
        "columns": [f"{head.name}:{name}" for head in heads for name in _columns(head)],
        "cues": list(CUE_NAMES),
        "statements": len(rows),
        "groups": len(set(groups.tolist())),
        "data_sha256": hashlib.sha256(STATEMENTS.read_bytes()).hexdigest(),
        "seed": SEED,
        "C": C,
        "held_out": figures,
    }
    SHIPPED.with_suffix(".json").write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(figures))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train the durability classifier.")
    parser.add_argument(
        "--encoder", type=Path, default=home() / "models" / ENCODER, help="sentence-transformers folder"
    )
    parser.add_argument("--vectors", type=Path, help="npz with arrays texts and vectors, read and extended")
    return parser.parse_args()


def _embedded(texts: list[str], folder: Path, cache: Path | None) -> FloatArray:
    known: dict[str, FloatArray] = {}
    if cache is not None and cache.exists():
        stored = np.load(cache, allow_pickle=False)
        known = dict(zip(stored["texts"].tolist(), stored["vectors"], strict=True))
    missing = sorted({text for text in texts if text not in known})
    if missing:
        from sentence_transformers import SentenceTransformer

        encoder = SentenceTransformer(str(folder), device="cpu")
        vectors = encoder.encode(missing, normalize_embeddings=True, show_progress_bar=False)
        known.update(zip(missing, np.asarray(vectors, dtype=np.float32), strict=True))
        if cache is not None:
            np.savez(cache, texts=np.array(list(known)), vectors=np.stack(list(known.values())))
    return np.stack([known[text] for text in texts]).astype(np.float32)


def _heads(rows: list[dict[str, str]]) -> tuple[Head, ...]:
    kinds = tuple(kind.value for kind in Kind)
    return (
        Head("volatility", VOLATILITIES, np.array([VOLATILITIES.index(row["volatility"]) for row in rows])),
        Head("behaviour", ("no", "yes"), np.array([int(bool(row["behaviour"])) for row in rows])),
        Head("kind", kinds, np.array([kinds.index(row["kind"]) for row in rows])),
    )


def _columns(head: Head) -> tuple[str, ...]:
    """A head of two classes has one column, the log-odds of the second."""
    return head.classes if len(head.classes) > 2 else head.classes[1:]


def _fit(
    features: FloatArray, heads: tuple[Head, ...], groups: IdArray
) -> tuple[FloatArray, FloatArray, dict[str, dict[str, float]]]:
    """Fit every head; return weights (features, columns), biases (columns,) and held-out figures per head."""
    weights, biases, figures = [], [], {}
    for head in heads:
        held_out = np.zeros((len(features), len(head.classes)))
        for train, test in GroupKFold(FOLDS).split(features, head.labels, groups):
            held_out[test] = _scores(_model().fit(features[train], head.labels[train]), features[test])
        temperature = min(TEMPERATURES, key=lambda value: _loss(held_out / value, head.labels))
        figures[head.name] = _figures(held_out / temperature, head.labels) | {"temperature": round(temperature, 3)}
        model = _model().fit(features, head.labels)
        weights.append(model.coef_.T / temperature)
        biases.append(model.intercept_ / temperature)
    return np.hstack(weights), np.concatenate(biases), figures


def _model() -> LogisticRegression:
    return LogisticRegression(C=C, class_weight="balanced", max_iter=5000, random_state=SEED)


def _scores(model: LogisticRegression, features: FloatArray) -> FloatArray:
    scores: FloatArray = model.decision_function(features)
    return scores if scores.ndim == 2 else np.stack([np.zeros_like(scores), scores], axis=1)


def _shares(scores: FloatArray) -> FloatArray:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares: FloatArray = powers / powers.sum(axis=1, keepdims=True)
    return shares


def _loss(scores: FloatArray, labels: IdArray) -> float:
    return float(-np.log(_shares(scores)[np.arange(len(labels)), labels] + 1e-12).mean())


def _figures(scores: FloatArray, labels: IdArray) -> dict[str, float]:
    shares = _shares(scores)
    guesses = shares.argmax(axis=1)
    return {
        "accuracy": round(float((guesses == labels).mean()), 4),
        "macro_f1": round(float(f1_score(labels, guesses, average="macro")), 4),
        "ece": round(calibration_error(shares.max(axis=1), guesses == labels), 4),
    }


def calibration_error(confidence: FloatArray, right: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> float:
    """Return the expected calibration error over ten bins of equal width (Guo et al. 2017)."""
    bins = np.minimum((confidence * 10).astype(int), 9)
    return float(
        sum(
            (bins == index).mean() * abs(confidence[bins == index].mean() - right[bins == index].mean())
            for index in np.unique(bins)
        )
    )


if __name__ == "__main__":
    main()
