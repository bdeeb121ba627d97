"""Train the durability classifier from the statements beside this script.

    python scripts/train_durability.py [--encoder FOLDER] [--vectors CACHE.npz]

Embeds the statements of durability_data.py with the encoder, fits multinomial logistic regressions on
[embedding ; cues ; phrases] and writes hybrid_memory/routing/durability.{safetensors,json}. The head of a form
(question or statement) is the mean of one fitted to all statements and one fitted to that form alone: forms are
different populations, but neither has so much data that it should not learn from the other. Temperatures, one per
form and target and folded into the weights, lie half way (on a log scale) between those for lines and those for whole
domains held out in turn: what people write differs from our lines more than these do from each other, and less than
domains do.
scikit-learn is needed here only; the package itself infers with numpy.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from durability_data import FOLDS, Row, statements
from safetensors.numpy import save_file
from scipy import sparse
from scipy.optimize import minimize
from scipy.special import log_softmax
from sklearn.metrics import f1_score

from hybrid_memory.config import home
from hybrid_memory.routing.cues import CUE_NAMES, cue_features, is_question
from hybrid_memory.routing.durability import HEADS, SHIPPED
from hybrid_memory.routing.phrases import PhraseTable, common_phrases
from hybrid_memory.types import FloatArray, IdArray, Kind

ENCODER = "all-minilm-l6-v2"
SEED = 20240
C = 1.0
"""Inverse strength of the L2 penalty."""
PHRASE_DOMAINS = 4
"""Fewest domains that a phrase must occur in; one of a single domain would be a subject, not a manner of speaking."""
VOLATILITIES = ("never", "slow", "fast")
Doubles: TypeAlias = npt.NDArray[np.float64]
Model: TypeAlias = tuple[Doubles, Doubles]
"""Slopes and intercepts."""
Forms: TypeAlias = dict[str, IdArray]
"""Name of a form -> which rows are of it."""
Figures: TypeAlias = dict[str, dict[str, float] | float]
TEMPERATURES = np.geomspace(0.3, 4.0, 60)


@dataclass(frozen=True)
class Target:
    """One of the three things to be told, with the class of every statement."""

    name: str
    classes: tuple[str, ...]
    labels: IdArray
    balanced: bool = False
    """Whether both classes weigh the same; else each weighs what it has of the statements."""

    @property
    def weights(self) -> Doubles:
        """Return the weight of every row, 1 on average."""
        counts = np.bincount(self.labels, minlength=len(self.classes))
        each = len(self.labels) / np.maximum(counts, 1) / np.count_nonzero(counts)
        return each[self.labels] if self.balanced else np.ones(len(self.labels))

    def __getitem__(self, rows: IdArray) -> Target:
        """Return the same for some of the rows."""
        return Target(self.name, self.classes, self.labels[rows], self.balanced)

    @property
    def columns(self) -> tuple[str, ...]:
        """Two classes take one column, the log-odds of the second."""
        return self.classes if len(self.classes) > 2 else self.classes[1:]


@dataclass(frozen=True)
class Features:
    """One row per statement: dense columns (embedding, cues), then sparse ones (phrases), each where it is fast."""

    dense: FloatArray
    thin: sparse.csr_matrix

    def __getitem__(self, rows: IdArray) -> Features:
        """Return some of the rows."""
        return Features(self.dense[rows], self.thin[rows])

    @property
    def width(self) -> int:
        """Number of columns."""
        return int(self.dense.shape[1] + self.thin.shape[1])

    def scores(self, model: Model) -> FloatArray:
        """Return shape (rows, columns of the model)."""
        slopes, intercepts = (part.astype(np.float32) for part in model)
        cut = self.dense.shape[1]
        scores: FloatArray = self.dense @ slopes[:cut] + self.thin @ slopes[cut:] + intercepts
        return scores

    def gathered(self, errors: FloatArray) -> FloatArray:
        """Return the features summed over the rows with the weights of `errors`: (width, columns)."""
        return np.vstack([self.dense.T @ errors, self.thin.T @ errors])


def main() -> None:
    """Train, write, and print the held-out figures as one JSON line."""
    arguments = _arguments()
    rows = statements()
    texts = [row["text"] for row in rows]
    vectors = _embedded(texts, arguments.encoder, arguments.vectors)
    cues = cue_features(texts)
    phrases = common_phrases(texts, [row["domain"] for row in rows], least=PHRASE_DOMAINS)
    said = sparse.csr_matrix(PhraseTable(phrases).features(texts))
    asked = np.array([is_question(text) for text in texts])
    folds = {
        "line": np.array([row["fold"] for row in rows]),
        "domain": np.array([zlib.crc32(row["domain"].encode()) % FOLDS for row in rows]),
    }
    targets = _targets(rows)
    full, surface = Features(np.hstack([vectors, cues]), said), Features(cues, said)
    by_form = {"question": asked, "statement": ~asked}
    parts = [
        _fit(features, forms, folds, target)
        for features, forms in ((full, by_form), (surface, {"surface": np.ones_like(asked)}))
        for target in targets
    ]
    tensors = _joined([models for models, _ in parts])
    figures = {
        head: {target: row for _, found in parts for target, row in found.get(head, {}).items()} for head in HEADS
    }
    save_file(tensors, SHIPPED)
    description = {
        "encoder": ENCODER,
        "dim": vectors.shape[1],
        "columns": [f"{target.name}:{name}" for target in targets for name in target.columns],
        "cues": list(CUE_NAMES),
        "statements": len(rows),
        "questions": int(asked.sum()),
        "blocks": len({row["block"] for row in rows}),
        "domains": len({row["domain"] for row in rows}),
        "data_sha256": hashlib.sha256(json.dumps(rows).encode()).hexdigest(),
        "seed": SEED,
        "C": C,
        "held_out": figures,
        "phrases": phrases,
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


def _targets(rows: list[Row]) -> tuple[Target, ...]:
    kinds = tuple(kind.value for kind in Kind if kind is not Kind.TASK)
    return (
        Target("volatility", VOLATILITIES, np.array([VOLATILITIES.index(row["volatility"]) for row in rows])),
        # Most of our lines are questions and facts; of what a memory is told, rules and tastes are a larger part.
        Target("behaviour", ("no", "yes"), np.array([int(bool(row["behaviour"])) for row in rows]), balanced=True),
        Target("kind", kinds, np.array([kinds.index(row["kind"]) for row in rows])),
    )


def _fit(
    features: Features, forms: Forms, folds: dict[str, IdArray], target: Target
) -> tuple[dict[str, Model], dict[str, Figures]]:
    """Return the cooled model of every form, and its figures by form: with lines and with domains held out."""
    models, figures = _models(features, forms, target, {}), {}
    held_out = {name: _held_out(features, forms, numbers, target, models) for name, numbers in folds.items()}
    for form, rows in forms.items():
        labels = target.labels[rows]
        temperature = float(np.sqrt(np.prod([_temperature(scores[rows], labels) for scores in held_out.values()])))
        figures[form] = {
            f"{target.name} by {name}": _figures(scores[rows] / temperature, labels)
            for name, scores in held_out.items()
        } | {f"{target.name} temperature": round(temperature, 3)}
        models[form] = (models[form][0] / temperature, models[form][1] / temperature)
    return models, figures


def _held_out(features: Features, forms: Forms, folds: IdArray, target: Target, start: dict[str, Model]) -> FloatArray:
    """Return the score of every row under the model of its form that was fitted without its fold."""
    scores = np.zeros((len(folds), len(target.columns)), dtype=np.float32)
    for fold in range(FOLDS):
        outside = folds != fold
        known = {form: rows[outside] for form, rows in forms.items()}
        models = _models(features[outside], known, target[outside], start)
        for form, model in models.items():
            inside = forms[form] & ~outside
            scores[inside] = features[inside].scores(model)
    return _with_first(scores)


def _models(features: Features, forms: Forms, target: Target, start: dict[str, Model]) -> dict[str, Model]:
    """Return, per form, the mean of a model of all rows and one of its own; `start` only saves time."""
    width = len(target.columns)
    nothing = np.zeros((features.width, width)), np.zeros(width)
    everything = _model(features, target, start.get(next(iter(forms)), nothing))
    models = {}
    for form, rows in forms.items():
        own = everything if rows.all() else _model(features[rows], target[rows], start.get(form, everything))
        models[form] = ((everything[0] + own[0]) / 2, (everything[1] + own[1]) / 2)
    return models


def _model(features: Features, target: Target, start: Model) -> Model:
    """Minimise C · cross-entropy + |slopes|² / 2; return slopes (features, columns) and intercepts (columns,).

    The objective of scikit-learn's LogisticRegression, which has no features that are part dense and part sparse.
    """
    shape, labels, importance = (features.width + 1, len(start[1])), target.labels, C * target.weights

    def objective(flat: Doubles) -> tuple[float, Doubles]:
        weights = flat.reshape(shape)
        chances = log_softmax(_with_first(features.scores((weights[:-1], weights[-1]))), axis=1)
        errors = np.exp(chances)
        errors[np.arange(len(labels)), labels] -= 1
        errors = errors[:, -shape[1] :] * importance[:, None].astype(np.float32)
        slope = np.vstack([features.gathered(errors), errors.sum(axis=0)])
        slope[:-1] += weights[:-1]
        loss = -(importance * chances[np.arange(len(labels)), labels]).sum() + 0.5 * (weights[:-1] ** 2).sum()
        return float(loss), slope.ravel().astype(np.float64)

    first = np.vstack([start[0], start[1][None]]).ravel()
    found = minimize(objective, first, jac=True, method="L-BFGS-B", options={"maxiter": 500, "ftol": 1e-6, "gtol": 2.0})
    weights = found.x.reshape(shape)
    return weights[:-1], weights[-1]


def _with_first(scores: FloatArray) -> FloatArray:
    """Give log-odds against the first of two classes their zero."""
    return scores if scores.shape[1] > 1 else np.hstack([np.zeros_like(scores), scores])


def _joined(parts: list[dict[str, Model]]) -> dict[str, FloatArray]:
    """Put the columns of the targets side by side, per form: weights (features, columns) and biases (columns,)."""
    tensors = {}
    for form in HEADS:
        models = [part[form] for part in parts if form in part]
        tensors[form] = np.ascontiguousarray(np.hstack([slopes for slopes, _ in models]), dtype=np.float32)
        tensors[f"{form}.bias"] = np.concatenate([intercepts for _, intercepts in models]).astype(np.float32)
    return tensors


def _temperature(scores: FloatArray, labels: IdArray) -> float:
    return float(min(TEMPERATURES, key=lambda value: _loss(scores / value, labels)))


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
