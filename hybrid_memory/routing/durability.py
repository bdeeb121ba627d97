"""Judge how long a text stays true, and whether it should shape behaviour.

Flow:    text, embedding -> cues, phrases -> [linear heads] -> Judgement -> router.
Imports: errors, types; numpy and safetensors (the heads were trained elsewhere:
         scripts/train_durability.py, docs/model-card-durability.md).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from hybrid_memory.errors import IndexMismatchError, ModelError
from hybrid_memory.routing.cues import CUE_NAMES, cue_features, is_question
from hybrid_memory.routing.phrases import PhraseTable
from hybrid_memory.types import FloatArray, Kind, Value

__all__ = ["HEADS", "SHIPPED", "Classifier", "DurabilityClassifier", "Judgement"]

SHIPPED = Path(__file__).with_name("durability.safetensors")
"""The weights in the package; their description is the .json file beside it."""

HEADS = ("question", "statement", "surface")
"""Names of the heads: by the form of the text, and for vectors of another length."""

SLOW_SHARE = 0.5
"""How much of P(slow) counts as durable: "slow" means that the answer changes every few years."""

LIFETIMES = {"never": 36_500.0, "slow": 1_100.0, "fast": 30.0}
"""Days that a text of each class holds, as the classes are defined; orders of magnitude, not measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement(Value):
    """What the classifier believes about one text. All numbers are probabilities in [0, 1]."""

    never: float
    """The text stays true for ever, or until somebody decides otherwise (a rule, a taste)."""
    slow: float
    """It changes every few years: office holders, records, addresses."""
    fast: float
    """It changes within a year: prices, news, rosters, versions."""
    behaviour: float
    """It should shape how the model behaves: rules, how-tos, style, preferences, examples."""
    kinds: Mapping[Kind, float]
    """Probability of each kind of knowledge."""

    @property
    def p_durable(self) -> float:
        """Probability that the text stays true for years: P(never) + SLOW_SHARE · P(slow)."""
        return self.never + SLOW_SHARE * self.slow

    @property
    def lifetime_days(self) -> float:
        """How long the text is expected to hold: the mean of LIFETIMES on a log scale, by probability."""
        shares = {"never": self.never, "slow": self.slow, "fast": self.fast}
        return math.exp(sum(share * math.log(LIFETIMES[name]) for name, share in shares.items()))

    @property
    def kind(self) -> Kind:
        """The most probable kind."""
        return max(self.kinds, key=lambda kind: self.kinds[kind])

    @property
    def volatility(self) -> str:
        """The most probable of "never", "slow" and "fast"."""
        return max(("never", "slow", "fast"), key=lambda name: float(getattr(self, name)))


class Classifier(Protocol):
    """Judges texts; the router takes any object that does."""

    def judge(self, texts: Sequence[str], vectors: FloatArray) -> list[Judgement]:
        """Return one judgement per text; `vectors` has shape (len(texts), dim), row i for texts[i]."""
        ...


class DurabilityClassifier:
    """Linear heads on [embedding ; cues ; phrases]: one for questions, one for statements, a spare for both.

    The first two fit one encoder. With vectors of another length (another encoder, a test's table), the spare
    judges by cues and phrases alone, less exactly (docs/model-card-durability.md has both figures).
    """

    def __init__(self, tensors: Mapping[str, FloatArray], description: Mapping[str, Any]) -> None:
        """Take weights and description as `load` reads them."""
        self.tensors = tensors
        """Weights and biases: each of HEADS, and the same with ".bias"."""
        self.description = description
        """What the .json file beside the weights says."""
        self.phrases = PhraseTable(description["phrases"])
        """The phrases that the last rows of the weights stand for."""
        self.encoder = str(description["encoder"])
        """Name of the encoder whose vectors the first two heads understand."""

    @classmethod
    def load(cls, file: Path | str | None = None) -> DurabilityClassifier:
        """Read heads (.safetensors) and their description (.json beside it); None: the shipped ones.

        Raises:
            ModelError: a file is missing or damaged, or was trained with other cues than these.
        """
        path = SHIPPED if file is None else Path(file)
        try:
            description = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
            tensors = load_file(path)
        except (OSError, json.JSONDecodeError, SafetensorError) as error:
            raise ModelError(
                f"the durability classifier {path} cannot be read: {error}; "
                "reinstall the package or run scripts/train_durability.py"
            ) from error
        if tuple(description["cues"]) != CUE_NAMES:
            differing = sorted(set(description["cues"]) ^ set(CUE_NAMES))
            raise ModelError(
                f"the durability classifier {path} was trained with other cues ({', '.join(differing) or 'order'}); "
                "run scripts/train_durability.py"
            )
        if missing := sorted({*HEADS, "phrases"} - {*tensors, *description}):
            raise ModelError(
                f"the durability classifier {path} is of an older make (no {', '.join(missing)}); "
                "run scripts/train_durability.py, or `hybrid-memory policy fit` if it was fitted to your examples"
            )
        return cls(tensors, description)

    def judge(self, texts: Sequence[str], vectors: FloatArray) -> list[Judgement]:
        """Return one judgement per text.

        Args:
            texts: what to judge.
            vectors: shape (len(texts), dim), float32, unit rows; the embeddings of the texts.

        Raises:
            IndexMismatchError: there is not one vector per text.
        """
        if vectors.ndim != 2 or len(vectors) != len(texts):
            raise IndexMismatchError(f"expected one vector per text, shape ({len(texts)}, dim), got {vectors.shape}")
        heads, dense = self.heads_of(texts, vectors), self.dense_of(texts, vectors)
        return [_judgement(self._scores(*one)) for one in zip(texts, heads, dense, strict=True)]

    def heads_of(self, texts: Sequence[str], vectors: FloatArray) -> list[str]:
        """Return the name of the head that judges each text."""
        if not self._fits(vectors):
            return ["surface"] * len(texts)
        return ["question" if is_question(text) else "statement" for text in texts]

    def dense_of(self, texts: Sequence[str], vectors: FloatArray) -> FloatArray:
        """Return what the heads see of each text before its phrases: embedding (if it fits) and cues."""
        cues = cue_features(texts)
        return np.hstack([vectors, cues]) if self._fits(vectors) else cues

    def _fits(self, vectors: FloatArray) -> bool:
        return bool(vectors.shape[1] + len(CUE_NAMES) + len(self.phrases) == len(self.tensors["question"]))

    def _scores(self, text: str, head: str, dense: FloatArray) -> FloatArray:
        """Equal to PhraseTable.features in the last rows, without making that wide and empty matrix."""
        weights, numbers = self.tensors[head], self.phrases.numbers(text) + len(dense)
        scores: FloatArray = dense @ weights[: len(dense)] + self.tensors[f"{head}.bias"]
        scores += weights[numbers].sum(axis=0) * max(1, len(numbers)) ** -0.5
        return scores


KINDS = tuple(kind for kind in Kind if kind is not Kind.TASK)
"""What a text may be, in the order of the last columns; a task is never guessed, it is told."""


def _judgement(scores: FloatArray) -> Judgement:
    """Columns: never, slow, fast | behaviour (log-odds) | one per kind."""
    never, slow, fast = _softmax(scores[:3])
    kinds = _softmax(scores[4:])
    return Judgement(
        never=never,
        slow=slow,
        fast=fast,
        behaviour=float(1 / (1 + np.exp(-scores[3]))),
        kinds=dict(zip(KINDS, kinds, strict=True)),
    )


def _softmax(scores: FloatArray) -> list[float]:
    powers = np.exp(scores - scores.max())
    return [float(share) for share in powers / powers.sum()]
