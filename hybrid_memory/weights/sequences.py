"""Rows of tokens put together: what is scored or trained on at once, and in which order.

Flow:    token rows -> [sequences] -> one pass of the model
Imports: nothing of this package.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

__all__ = ["Sequences", "in_batches"]

Row = TypeVar("Row", list[int], tuple[list[int], int])
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Sequences:
    """Token rows of unequal length, padded to the right.

    Attributes:
        ids: shape (rows, longest), int64.
        rows: shape (targets,), int64; row of each token the loss or score looks at.
        columns: shape (targets,), int64; the position *before* that token.
        targets: shape (targets,), int64; the tokens themselves.
    """

    ids: Tensor
    rows: Tensor
    columns: Tensor
    targets: Tensor

    @classmethod
    def pad(cls, rows: Sequence[tuple[Sequence[int], int]], *, pad: int) -> Sequences:
        """Put (token ids, index of the first token that counts) rows together.

        Padding stands to the right, where causal attention never looks, so no mask is needed;
        and it is no target, so it never enters a loss (the released SEAL loop trains on it).
        """
        longest = max(len(ids) for ids, _ in rows)
        places = [(row, column) for row, (ids, start) in enumerate(rows) for column in range(start, len(ids))]
        return cls(
            ids=torch.tensor([[*ids, *[pad] * (longest - len(ids))] for ids, _ in rows]),
            rows=torch.tensor([row for row, _ in places], dtype=torch.long),
            columns=torch.tensor([column - 1 for _, column in places], dtype=torch.long),
            targets=torch.tensor([rows[row][0][column] for row, column in places], dtype=torch.long),
        )

    def mean_logprobs(self, logits: Tensor) -> list[float]:
        """Return each row's mean natural log-probability per target.

        Args:
            logits: shape (targets, vocabulary), float32, on the CPU.
        """
        chosen = logits.log_softmax(-1).gather(1, self.targets[:, None]).squeeze(1)
        total = torch.zeros(len(self.ids)).index_add_(0, self.rows, chosen)
        count = torch.zeros(len(self.ids)).index_add_(0, self.rows, torch.ones_like(chosen))
        means: list[float] = (total / count).tolist()
        return means


def in_batches(rows: Sequence[Row], work: Callable[[list[Row]], list[Result]], *, size: int) -> list[Result]:
    """Run `work` on batches of up to `size` rows of similar length; results come back in the order of `rows`."""
    order = sorted(range(len(rows)), key=lambda place: _length(rows[place]))
    results: dict[int, Result] = {}
    for start in range(0, len(order), size):
        places = order[start : start + size]
        results.update(zip(places, work([rows[place] for place in places]), strict=True))
    return [results[place] for place in range(len(rows))]


def _length(row: Sequence[Any]) -> int:
    return len(row[0]) if isinstance(row, tuple) else len(row)
