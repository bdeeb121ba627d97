"""Tell whether a question looks like the prompts of a labelled task.

Flow:    question vector -> [likeness] -> evidence, adapter choice
Imports: types, protocols, ordinary.

Nearness alone cannot: "Who invented the bicycle?" is near to every ticket of a bicycle shop. A line between the
task's prompts and other texts (ordinary questions, statements, a preference's questions) can: on the
development company it keeps 80 % of unseen tickets and lets 8 % of other questions through, where the nearest
key alone keeps 89 % and lets 50 % through.
"""

from __future__ import annotations

import numpy as np

from hybrid_memory.ordinary import study_prompts
from hybrid_memory.protocols import Encoder, Ledger
from hybrid_memory.types import FloatArray, Kind, Record, Scope

__all__ = ["LabelledTasks", "Likeness", "fit_likeness"]

RIDGE = 1.0
"""Weight of the penalty on the line's direction; vectors have length 1."""
FEWEST = 8
"""With fewer prompts than this a line would only remember them."""
MOST_EXAMPLES = 1000
MOST_OTHERS = 1000
"""Newest records looked at; more would not move a line in 384 dimensions much."""


class Likeness:
    """A line through the encoder's space: positive on the task's side."""

    def __init__(self, direction: FloatArray, offset: float) -> None:
        self._direction = direction
        self._offset = offset

    def holds(self, vector: FloatArray) -> bool:
        """Tell whether a unit vector, shape (dim,), lies on the task's side."""
        return float(vector @ self._direction) + self._offset > 0


def fit_likeness(prompts: FloatArray, others: FloatArray) -> Likeness | None:
    """Fit the line by weighted ridge regression onto +1 and -1, each side counting half.

    Args:
        prompts: shape (n, dim), unit rows.
        others: shape (m, dim), unit rows.

    Returns:
        None when either side has too few rows to say anything.

    >>> line = fit_likeness(np.tile(np.float32([1, 0]), (8, 1)), np.tile(np.float32([0, 1]), (8, 1)))
    >>> line.holds(np.float32([0.9, 0.1])), line.holds(np.float32([0.1, 0.9]))
    (True, False)
    """
    if min(len(prompts), len(others)) < FEWEST:
        return None
    rows = np.concatenate([prompts, others]).astype(np.float64)
    rows = np.concatenate([rows, np.ones((len(rows), 1))], axis=1)
    wanted = np.concatenate([np.ones(len(prompts)), -np.ones(len(others))])
    weight = np.concatenate([np.full(len(prompts), 0.5 / len(prompts)), np.full(len(others), 0.5 / len(others))])
    weighted = rows * (weight * len(rows))[:, None]
    solved = np.linalg.solve(weighted.T @ rows + RIDGE * np.eye(rows.shape[1]), weighted.T @ wanted)
    return Likeness(solved[:-1].astype(np.float32), float(solved[-1]))


class LabelledTasks:
    """Knows what the examples of each scope look like, until the ledger moves on."""

    def __init__(self, ledger: Ledger, encoder: Encoder) -> None:
        self._ledger = ledger
        self._encoder = encoder
        self._lines: dict[Scope, Likeness | None] = {}
        self._clock = -1

    def hold(self, vectors: FloatArray, scope: Scope) -> list[bool]:
        """Tell for each unit vector whether it may be a prompt of the scope's examples; True when nobody can say."""
        clock = self._ledger.clock()
        if clock != self._clock:
            self._lines, self._clock = {}, clock
        if scope not in self._lines:
            self._lines[scope] = self._fit(scope)
        line = self._lines[scope]
        return [line is None or line.holds(vector) for vector in vectors]

    def _fit(self, scope: Scope) -> Likeness | None:
        """Fit the line between the examples' prompts and everything else that is said or asked."""
        records = self._ledger.find(scope=scope)
        examples = [record for record in records if record.kind is Kind.EXAMPLE]
        if len(examples) < FEWEST:
            return None
        others = [record for record in records if record.kind is not Kind.EXAMPLE]
        asked = [*study_prompts(), *(example.prompt for record in others for example in record.examples)]
        said = self._vectors(others[-MOST_OTHERS:])
        elsewhere = self._encoder.encode(asked)
        return fit_likeness(
            self._vectors(examples[-MOST_EXAMPLES:]), np.concatenate([said, elsewhere]) if len(said) else elsewhere
        )

    def _vectors(self, records: list[Record]) -> FloatArray:
        return self._ledger.record_vectors([record.id for record in records])[1]
