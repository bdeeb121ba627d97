"""Adapt the shipped heads to somebody's own decisions: a few examples move them a little.

Flow:    examples, vectors -> [fit_heads] -> heads near the shipped ones -> `classifier` of a policy.
Imports: the classifier and cues beside it; numpy.

Questions teach the head for questions, statements that for statements, and both the spare one.
The new weights maximise the likelihood of the examples under a Gaussian prior around the shipped weights
(MAP adaptation as in Chelba & Acero 2006, "Adaptation of Maximum Entropy Capitalizer"), so that without examples
nothing moves, and ten of them cannot unlearn what thousands taught.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from hybrid_memory.routing.cues import cue_features
from hybrid_memory.routing.durability import HEADS, DurabilityClassifier
from hybrid_memory.routing.examples import Case
from hybrid_memory.types import FloatArray, Route

__all__ = ["fit_heads"]

STEPS = 400
"""Of accelerated gradient descent; the loss is convex and smooth."""
VOLATILITY: Final = slice(0, 3)
BEHAVIOUR: Final = slice(3, 4)
_NAMES = ("never", "slow", "fast")


def fit_heads(
    classifier: DurabilityClassifier, cases: Sequence[Case], vectors: FloatArray, *, variance: float = 1.0
) -> dict[str, FloatArray]:
    """Return the tensors of a classifier adapted to the examples.

    Args:
        classifier: where to start.
        cases: the examples; those to be dropped or quarantined teach nothing about durability.
        vectors: shape (len(cases), dim), the embeddings of their texts.
        variance: of the prior; larger follows the examples further.
    """
    texts = [case.text for case in cases]
    own = classifier.heads_of(texts, vectors)
    cues, phrases = cue_features(texts), classifier.phrases.features(texts)
    inputs = dict.fromkeys(HEADS, np.hstack([classifier.dense_of(texts, vectors), phrases]))
    inputs["surface"] = np.hstack([cues, phrases])
    tensors = {name: tensor.copy() for name, tensor in classifier.tensors.items()}
    for head, features in inputs.items():
        chosen = [row for row in range(len(cases)) if head in (own[row], "surface")]
        if chosen:
            _adapt(tensors, head, features[chosen], [cases[row] for row in chosen], variance)
    return tensors


def _adapt(
    tensors: dict[str, FloatArray], name: str, features: FloatArray, cases: Sequence[Case], variance: float
) -> None:
    with_one = np.hstack([features, np.ones((len(features), 1), np.float32)])
    weights = np.vstack([tensors[name], tensors[f"{name}.bias"]])
    for columns, (rows, wanted) in _targets(cases).items():
        if len(rows):
            head = slice(*columns)
            weights[:, head] = _descend(with_one[rows], wanted, weights[:, head], variance)
    tensors[name] = np.ascontiguousarray(weights[:-1])
    tensors[f"{name}.bias"] = weights[-1].copy()


def _targets(cases: Sequence[Case]) -> Mapping[tuple[int, int], tuple[list[int], FloatArray]]:
    """Return, per head, which examples teach it and the probabilities they ask for."""
    volatility = [(row, case.volatility or _NAMES[0]) for row, case in enumerate(cases) if _teaches_volatility(case)]
    behaviour = [
        (row, _is_behaviour(case)) for row, case in enumerate(cases) if case.route in (Route.LEARN, Route.RETRIEVE)
    ]
    return {
        (VOLATILITY.start, VOLATILITY.stop): (
            [row for row, _ in volatility],
            np.array([[name == wanted for name in _NAMES] for _, wanted in volatility], np.float32).reshape(-1, 3),
        ),
        (BEHAVIOUR.start, BEHAVIOUR.stop): (
            [row for row, _ in behaviour],
            np.array([[wanted] for _, wanted in behaviour], np.float32).reshape(-1, 1),
        ),
    }


def _teaches_volatility(case: Case) -> bool:
    """What is to be learned lasts; what is to be retrieved may last as well, unless the example says how long."""
    return case.volatility is not None or case.route is Route.LEARN


def _is_behaviour(case: Case) -> bool:
    return case.route is Route.LEARN if case.behaviour is None else case.behaviour


def _descend(features: FloatArray, wanted: FloatArray, start: FloatArray, variance: float) -> FloatArray:
    """Minimise cross-entropy + |weights - start|² / (2 variance) by Nesterov's method; (n, d), (n, k), (d, k)."""
    smoothness = 0.5 * float(np.linalg.norm(features, ord=2)) ** 2 + 1 / variance
    weights, ahead = start.copy(), start.copy()
    for step in range(STEPS):
        slope = features.T @ (_shares(features @ ahead) - wanted) + (ahead - start) / variance
        before, weights = weights, ahead - slope / smoothness
        ahead = weights + step / (step + 3) * (weights - before)
    return weights


def _shares(scores: FloatArray) -> FloatArray:
    if scores.shape[1] == 1:
        return np.asarray(1 / (1 + np.exp(-scores)), np.float32)
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)
