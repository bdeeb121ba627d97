"""Tell which kinds of shard a question cannot be for: labelled examples, or facts.

Flow:    question vector -> [likeness] -> evidence, adapter choice
Imports: types, protocols, forms, ordinary.

Nearness alone cannot: "Who invented the bicycle?" is near to every ticket and many rules of a bicycle shop. A
line between a group's texts and all others (ordinary questions, a preference's questions, the other group)
can; whether a text asks is one more coordinate, because facts are asked for and most tickets tell. On the development
company it keeps 88 % of unseen tickets and lets 1 % of other questions through to their shard (nearest key alone: 89 %
and 50 %), and keeps all plain and 85 % of hard questions about facts while 21 % of a preference's questions pass
(nearest key alone: 96 % and 46 %).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hybrid_memory.forms import shapes_behaviour
from hybrid_memory.ordinary import study_prompts
from hybrid_memory.protocols import Encoder, Filters, Ledger
from hybrid_memory.types import EXAMPLES, FACTS, FloatArray, Kind, Record, Scope

__all__ = ["Likeness", "QuestionKinds", "fit_likeness", "marked"]

RIDGE = 1.0
"""Weight of the penalty on the line's direction; vectors have length 1."""
FEWEST = 8
"""With fewer prompts than this a line would only remember them."""
MOST = 1000
"""Newest records of a group looked at; more would not move a line in 384 dimensions much."""
LEAST = {EXAMPLES: 0.0, FACTS: -0.2}
"""How far on its side of the line (at +1) or beyond it a question must be; a statement is no question, so
questions about facts lie nearer to the line than the facts themselves (benchmarks/LOG.md)."""
ASKING = 0.3
"""The coordinate of a text that asks, beside a vector of length 1; 0.2 to 0.5 did as well (benchmarks/LOG.md)."""
MARKS = ("?", "？", "؟")


class Likeness:
    """A line through the encoder's space: positive on the task's side."""

    def __init__(self, direction: FloatArray, offset: float) -> None:
        self._direction = direction
        self._offset = offset

    def holds(self, vector: FloatArray, *, least: float = 0.0) -> bool:
        """Tell whether a unit vector, shape (dim,), lies on the group's side, or at most `-least` beyond the line."""
        return float(vector @ self._direction) + self._offset > least


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


class QuestionKinds:
    """Knows what the examples and the facts of each scope look like, until the ledger moves on."""

    def __init__(self, ledger: Ledger, encoder: Encoder) -> None:
        self._ledger = ledger
        self._encoder = encoder
        self._lines: dict[Scope, dict[str, Likeness]] = {}
        self._clock = -1

    def unlike(
        self, questions: Sequence[str], vectors: FloatArray, scope: Scope, filters: Filters | None = None
    ) -> list[frozenset[str]]:
        """Return for each question the groups it is not of: "examples", "facts", both or none.

        Filters that leave nothing of a group say so by themselves: who asks for examples only wants a label, who
        leaves them out wants none.

        Args:
            questions: as they were asked.
            vectors: theirs, shape (n, dim), unit rows.
            scope: who asks.
            filters: of the search.
        """
        left_out = frozenset() if filters is None else self._left_out(scope, filters)
        if FACTS in left_out:
            return [left_out] * len(vectors)
        return [left_out | groups for groups in self._by_line(marked(vectors, questions), scope)]

    def _left_out(self, scope: Scope, filters: Filters) -> frozenset[str]:
        """Return the groups of which no record passes the filters."""
        within: dict[str, Filters] = {
            EXAMPLES: {"kind": Kind.EXAMPLE.value},
            FACTS: {"kind": {"nin": [Kind.EXAMPLE.value, Kind.TASK.value]}},
        }
        return frozenset(
            group
            for group, of_kind in within.items()
            if not self._ledger.find(scope=scope, filters={"and": [filters, of_kind]}, limit=1)
        )

    def _by_line(self, vectors: FloatArray, scope: Scope) -> list[frozenset[str]]:
        clock = self._ledger.clock()
        if clock != self._clock:
            self._lines, self._clock = {}, clock
        if scope not in self._lines:
            self._lines[scope] = self._fit(scope)
        lines = self._lines[scope]
        return [
            frozenset(group for group, line in lines.items() if not line.holds(vector, least=LEAST[group]))
            for vector in vectors
        ]

    def _fit(self, scope: Scope) -> dict[str, Likeness]:
        """Fit a line for each group that has enough texts; facts only where a preference's questions compete."""
        records = self._ledger.find(scope=scope, filters={"kind": {"ne": Kind.TASK.value}})
        examples = [record for record in records if record.kind is Kind.EXAMPLE][-MOST:]
        behaviour = [record for record in records if shapes_behaviour(record)]
        facts = [record for record in records if record.kind is not Kind.EXAMPLE and not shapes_behaviour(record)]
        asked = [example.prompt for record in behaviour for example in record.examples]
        if len(examples) < FEWEST and len(asked) < FEWEST:
            return {}
        others = [*study_prompts(), *asked]
        vectors = self._encoder.encode(others)
        elsewhere = marked(vectors, others)
        said = self._vectors(facts[-MOST:], vectors, as_asked=True)
        lines = {
            EXAMPLES: fit_likeness(self._vectors(examples, vectors), np.concatenate([said, elsewhere])),
            FACTS: fit_likeness(said, elsewhere) if len(asked) >= FEWEST else None,
        }
        return {group: line for group, line in lines.items() if line is not None}

    def _vectors(self, records: list[Record], like: FloatArray, *, as_asked: bool = False) -> FloatArray:
        """Return the records' marked vectors; `as_asked` marks them all as the questions that will be about them."""
        if not records:
            return marked(like[:0], [])
        owners, vectors = self._ledger.record_vectors([record.id for record in records])
        texts = {
            record.id: "?" if as_asked else next((one.prompt for one in record.examples), record.text)
            for record in records
        }
        return marked(vectors, [texts[owner] for owner in owners])


def marked(vectors: FloatArray, texts: Sequence[str]) -> FloatArray:
    """Return the vectors with one more coordinate that says whether each text asks, shape (n, dim + 1).

    >>> marked(np.eye(2, dtype=np.float32), ["Is it open?", "It is."])[:, 2].tolist() == [np.float32(ASKING), 0.0]
    True
    """
    asks = [ASKING * text.rstrip().endswith(MARKS) for text in texts]
    return np.concatenate([vectors, np.array(asks, dtype=np.float32).reshape(-1, 1)], axis=1)
