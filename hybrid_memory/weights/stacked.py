"""Train and score several candidates together: their LoRA matrices lie side by side on one resident base.

Flow:    k self-edits of one passage -> [stacked] -> rewards of the outer loop
Imports: errors, types, config; the language model, branches and plan of this stage.

One forward pass carries the batches of all candidates; beside each adapted layer, every group of rows is
multiplied with its own candidate's A and B (as in Punica and S-LoRA, where the groups are users). The frozen
lower layers, which know no candidate, are computed once for rows that several candidates share. Each candidate
has an optimiser, a plan and directives of its own, so its losses are those it would have had alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from peft import LoraConfig
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from torch.nn import functional

from hybrid_memory.config import TrainingSettings
from hybrid_memory.errors import ConsolidationError, InputError
from hybrid_memory.types import Directives, Generation, Json, StudyItem, Turn
from hybrid_memory.weights.branches import Branch, beside
from hybrid_memory.weights.language_model import LocalLanguageModel
from hybrid_memory.weights.layer_split import LayerSplit
from hybrid_memory.weights.objective import ResponseLoss, Row
from hybrid_memory.weights.plan import batches_of, bounded, first_and_last, rate_at, require_number
from hybrid_memory.weights.sequences import Sequences, in_batches

__all__ = ["Stack", "StackedTrainer"]

INITIAL = "stacked-initial"
SCORED = 32
"""Rows that are scored together: their logits stay below 200 MB."""
LIKE = 0.85
"""Rows shorter than this share of the longest one of a part begin a part of their own,"""
FULL = 256
"""if it has this many positions already: below, the matrix products of one core are not busy."""


@dataclass(slots=True)
class _Candidate:
    """One candidate on its way through its plan."""

    rows: list[Row]
    plan: list[list[int]]
    settings: TrainingSettings
    parameters: list[nn.Parameter]
    optimiser: torch.optim.Optimizer
    losses: list[float] = field(default_factory=list)
    tokens: int = 0
    failure: str = ""

    def batch(self, step: int) -> list[Row]:
        """Return the rows of a step; none when the plan is through, or the loss was no number."""
        return [self.rows[place] for place in self.plan[step]] if step < len(self.plan) and not self.failure else []

    def follow(self, step: int, loss: float, tokens: int) -> None:
        """Take one optimiser step; a candidate whose loss is no number is left as it is, and out from now on."""
        try:
            require_number(loss, step)
        except ConsolidationError as error:
            self.failure = str(error)
            return
        for group in self.optimiser.param_groups:
            group["lr"] = rate_at(step, len(self.plan), self.settings)
        nn.utils.clip_grad_norm_(self.parameters, self.settings.clip_norm)
        self.optimiser.step()
        self.losses.append(loss)
        self.tokens += tokens

    def report(self) -> dict[str, Json]:
        """Return what LoraTrainer reports of the steps, and why they ended early."""
        return {
            "rows": len(self.rows),
            "steps": len(self.losses),
            "tokens": self.tokens,
            **first_and_last(self.losses),
            "failure": self.failure,
        }


class StackedTrainer:
    """Trains k candidates from one initialisation, together."""

    def __init__(self, language_model: LocalLanguageModel, settings: TrainingSettings) -> None:
        self._lm = language_model
        self._settings = settings

    def train(
        self,
        candidates: Sequence[Sequence[StudyItem]],
        *,
        seed: int,
        directives: Sequence[Directives] | None = None,
    ) -> Stack:
        """Train one adapter per candidate on its items that are not held out.

        Each is what `LoraTrainer` makes of the same items and seed where it acts on all tokens and follows no teacher,
        up to the rounding of sums taken in another order: siblings differ by their material and by nothing else
        (common random numbers).

        Args:
            candidates: study material of each.
            seed: of the initialisation and the order of batches, the same for all.
            directives: what each asks for of rate, epochs and loss, bounded as in LoraTrainer; None asks for nothing.

        Returns:
            The trained stack; it lives in memory only and changes nothing of the base.

        Raises:
            InputError: there is no candidate, or one has no item to train on, or an item is too long.
            ConfigError: the model has no layer of the settings' targets.
        """
        trained = [[item for item in items if not item.held_out] for items in candidates]
        _require_material(trained)
        asked = directives or [Directives()] * len(candidates)
        # rows of all lengths share one lower pass, and the loss is of the words alone
        shared = self._settings.model_copy(update={"acts_on": "all", "distillation": 0.0, "own_words": 0.0})
        objective = ResponseLoss(self._lm, shared, loss_on="answer")
        distinct = list(dict.fromkeys(item for items in trained for item in items))  # shared ones are computed once
        rows = dict(zip(distinct, objective.read(distinct).rows, strict=True))
        branches = self._branches(objective.lora, len(candidates), seed)
        running = [
            self._candidate(number, [rows[item] for item in items], one, branches, seed)
            for number, (items, one) in enumerate(zip(trained, asked, strict=True))
        ]
        for step in range(max(len(one.plan) for one in running)):
            self._step(objective, running, branches, step)
        return Stack(self._lm, branches, objective.split, tuple(one.report() for one in running))

    def _candidate(
        self, number: int, rows: list[Row], asked: Directives, branches: Sequence[Branch], seed: int
    ) -> _Candidate:
        settings = bounded(self._settings, asked)
        parameters = [parameter for branch in branches for parameter in (branch.a[number], branch.b[number])]
        optimiser = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=0.0, fused=True)
        if asked.loss_on == "all":
            rows = [replace(row, start=1) for row in rows]
        plan = batches_of([len(row.ids) for row in rows], settings, seed=seed)
        return _Candidate(rows, plan, settings, parameters, optimiser)

    def _step(
        self, objective: ResponseLoss, running: Sequence[_Candidate], branches: Sequence[Branch], step: int
    ) -> None:
        batches = {number: batch for number, one in enumerate(running) if (batch := one.batch(step))}
        for number in batches:
            running[number].optimiser.zero_grad(set_to_none=True)
        counted = {number: sum(len(row.ids) - row.start for row in batch) for number, batch in batches.items()}
        losses = dict.fromkeys(batches, 0.0)
        for part in _of_like_length([(number, row) for number, batch in batches.items() for row in batch]):
            sums = self._sums(objective, part, branches)
            # each sum depends on its own candidate only, so the gradient of all is that of each alone
            torch.autograd.backward(torch.stack([nats / counted[number] for number, nats in sums.items()]).sum())
            for number, nats in sums.items():
                losses[number] += nats.item() / counted[number]
        for number, loss in losses.items():
            running[number].follow(step, loss, sum(len(row.ids) for row in batches[number]))

    def _sums(
        self, objective: ResponseLoss, part: Sequence[tuple[int, Row]], branches: Sequence[Branch]
    ) -> dict[int, Tensor]:
        """Return each candidate's cross-entropy over its rows of the part, in nats; rows of one stand together."""
        rows = [row for _, row in part]
        owners = torch.tensor([number for number, _ in part])
        sequences = Sequences.pad([(row.ids, row.start) for row in rows], pad=self._lm.tokenizer.pad_token_id)
        with self._lm.adapted(()), beside(branches, Counter(owners.tolist())):
            hidden = objective.hidden(rows, sequences)
            logits = self._lm.head(hidden[sequences.rows, sequences.columns]).float()
        each = functional.cross_entropy(logits, sequences.targets.to(logits.device), reduction="none")
        of = owners[sequences.rows].to(each.device)
        return {number: each[of == number].sum() for number in dict.fromkeys(owners.tolist())}

    def _branches(self, lora: LoraConfig, count: int, seed: int) -> list[Branch]:
        """Return the branches of all adapted layers, begun as PEFT begins an adapter with this seed."""
        with self._lm.fresh_adapter(INITIAL, lora, seed=seed) as model:
            adapted = [one for one in model.modules() if isinstance(one, LoraLayer) and INITIAL in one.lora_A]
            return [
                Branch(one, one.lora_A[INITIAL].weight.detach(), one.out_features, count, one.scaling[INITIAL])
                for one in adapted
            ]


class Stack:
    """Candidates that were trained together; they answer and are scored as long as this object lives.

    Attributes:
        reports: what the training of each was: rows, steps, tokens, first_loss, last_loss, failure ("" if none).
    """

    def __init__(
        self,
        language_model: LocalLanguageModel,
        branches: Sequence[Branch],
        split: LayerSplit | None,
        reports: tuple[dict[str, Json], ...],
    ) -> None:
        self.reports = reports
        self._lm = language_model
        self._branches = branches
        self._split = split

    def __len__(self) -> int:
        """Return the number of candidates."""
        return len(self.reports)

    @torch.inference_mode()
    def score(self, pairs: Sequence[tuple[Sequence[Turn], str]]) -> list[list[float]]:
        """Return the mean natural log-probability per token of each response, for each candidate.

        Args:
            pairs: chats with responses; an empty chat scores plain text.

        Returns:
            One list per candidate, in the order of the pairs. The lower layers are computed once for all.
        """
        rows = [self._lm.training_tokens(turns, response) for turns, response in pairs]
        by_pair = in_batches(rows, self._scored, size=max(1, SCORED // len(self)))
        return [list(own) for own in zip(*by_pair, strict=True)]

    def _scored(self, rows: Sequence[tuple[list[int], int]]) -> list[tuple[float, ...]]:
        """Return each row's scores, one of every candidate."""
        count = len(self)
        one = Sequences.pad(rows, pad=self._lm.tokenizer.pad_token_id)
        every = Sequences.pad(list(rows) * count, pad=self._lm.tokenizer.pad_token_id)
        with self._lm.adapted(()):
            ids = one.ids.to(self._lm.base.device)
            lower = self._split.lower(ids) if self._split else None
            with beside(self._branches, dict.fromkeys(range(count), len(rows))):
                if self._split and lower is not None:
                    hidden = self._split.upper(lower.repeat(count, 1, 1))
                else:
                    hidden = self._lm.decoder(input_ids=ids.repeat(count, 1), use_cache=False).last_hidden_state
        logits = self._lm.head(hidden[every.rows, every.columns]).float().cpu()
        means = every.mean_logprobs(logits)
        return [tuple(means[place :: len(rows)]) for place in range(len(rows))]

    def generate(self, prompts: Sequence[Sequence[Sequence[Turn]]], *, max_new_tokens: int) -> list[list[Generation]]:
        """Return each candidate's greedy answers to its own chats, in their order.

        Args:
            prompts: one list of chats per candidate.
            max_new_tokens: longest answer.
        """
        answers = []
        for number, chats in enumerate(prompts):
            with beside(self._branches, {number: len(chats)}):
                answers.append(self._lm.generate(chats, max_new_tokens=max_new_tokens))
        return answers


def _of_like_length(rows: Sequence[tuple[int, Row]]) -> list[list[tuple[int, Row]]]:
    """Part the rows of a step by length, each part in the order of its candidates.

    Rows of one candidate differ in length (from 13 to 69 tokens on a SQuAD passage), rows of several candidates are
    enough to put like ones together: what is padding alone is not computed here.
    """
    parts: list[list[tuple[int, Row]]] = []
    for one in sorted(rows, key=lambda one: -len(one[1].ids)):
        longest = len(parts[-1][0][1].ids) if parts else 0
        if not parts or (len(one[1].ids) < LIKE * longest and longest * len(parts[-1]) >= FULL):
            parts.append([])
        parts[-1].append(one)
    return [sorted(part, key=lambda one: one[0]) for part in parts]


def _require_material(candidates: Sequence[Sequence[StudyItem]]) -> None:
    if not candidates:
        raise InputError("there is no candidate to train; give at least one list of study items")
    for number, items in enumerate(candidates):
        if not items:
            raise InputError(f"candidate {number} has no study material to train on; leave it out of the stack")
