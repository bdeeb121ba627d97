"""Train the durability classifier from the statements beside this script.

    python scripts/train_durability.py [--encoder FOLDER] [--vectors CACHE.npz]

Embeds the statements of durability_data.py with the encoder, fits multinomial logistic regressions on
[embedding ; cues] and writes hybrid_memory/routing/durability.{safetensors,json}. Accuracy is measured on lines
held out in turn. Temperatures are set for questions and statements apart, half way (on a log scale) between those
for lines and those for whole blocks held out in turn: what people write differs from our lines more than these
differ from each other, and less than whole blocks do.
scikit-learn is needed here only; the package itself infers with numpy.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from durability_data import FOLDS, Row, statements
from safetensors.numpy import save_file
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score

from hybrid_memory.config import home
from hybrid_memory.routing.cues import CUE_NAMES, cue_features, is_question
from hybrid_memory.routing.durability import SHIPPED
from hybrid_memory.types import FloatArray, IdArray, Kind

ENCODER = "all-minilm-l6-v2"
SEED = 20240
C = 1.0
"""Inverse strength of the L2 penalty."""
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
    rows = statements()
    texts = [row["text"] for row in rows]
    vectors = _embedded(texts, arguments.encoder, arguments.vectors)
    cues = cue_features(texts)
    heads = _heads(rows)
    tensors: dict[str, FloatArray] = {}
    figures: dict[str, dict[str, dict[str, float]]] = {}
    for part, features in (("full", np.hstack([vectors, cues])), ("cues", cues)):
        weights, biases, figures[part] = _fit(features, heads, rows)
        tensors[part] = np.ascontiguousarray(weights, dtype=np.float32)
        tensors[f"{part}.bias"] = biases.astype(np.float32)
    save_file(tensors, SHIPPED)
    description = {
        "encoder": ENCODER,
        "dim": vectors.shape[1],
        "columns": [f"{head.name}:{name}" for head in heads for name in _columns(head)],
        "cues": list(CUE_NAMES),
        "statements": len(rows),
        "blocks": len({row["block"] for row in rows}),
        "domains": len({row["domain"] for row in rows}),
        "data_sha256": hashlib.sha256(json.dumps(rows).encode()).hexdigest(),
        "seed": SEED,
        "C": C,
        "temperatures": {form: _temperatures(figures["full"], form) for form in ("question", "statement")},
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


def _heads(rows: list[Row]) -> tuple[Head, ...]:
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
    features: FloatArray, heads: tuple[Head, ...], rows: list[Row]
) -> tuple[FloatArray, FloatArray, dict[str, dict[str, float]]]:
    """Fit every head; return weights (features, columns), biases (columns,) and held-out figures per head."""
    lines = np.array([row["fold"] for row in rows])
    blocks = np.array([zlib.crc32(row["block"].encode()) % FOLDS for row in rows])
    asked = np.array([is_question(row["text"]) for row in rows])
    weights, biases, figures = [], [], {}
    for head in heads:
        by_line, by_block = (_held_out(features, head, folds) for folds in (lines, blocks))
        figures[head.name] = _figures(by_line, head.labels)
        for form, chosen in (("question", asked), ("statement", ~asked)):
            both = [_temperature(scores[chosen], head.labels[chosen]) for scores in (by_line, by_block)]
            figures[head.name][f"temperature_{form}"] = round(float(np.sqrt(both[0] * both[1])), 3)
        model = _model().fit(features, head.labels)
        weights.append(model.coef_.T)
        biases.append(model.intercept_)
    return np.hstack(weights), np.concatenate(biases), figures


def _temperature(scores: FloatArray, labels: IdArray) -> float:
    return float(min(TEMPERATURES, key=lambda value: _loss(scores / value, labels)))


def _held_out(features: FloatArray, head: Head, folds: IdArray) -> FloatArray:
    """Return the score of every row under a model that was fitted without its fold."""
    scores = np.zeros((len(features), len(head.classes)), dtype=np.float32)
    for fold in range(FOLDS):
        model = _model().fit(features[folds != fold], head.labels[folds != fold])
        scores[folds == fold] = _scores(model, features[folds == fold])
    return scores


def _temperatures(figures: dict[str, dict[str, float]], form: str) -> dict[str, float]:
    return {name: values[f"temperature_{form}"] for name, values in figures.items()}


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
