"""One trial: a candidate is trained, judged, made gentler while that can help, and promoted if it passed.

Flow:    a shard's material -> train -> gate -> (scale down -> gate) -> promote | reject
Imports: errors, types, protocols, promotion, upkeep.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hybrid_memory.errors import ConsolidationError, DeadlineError
from hybrid_memory.promotion import candidate_in, settle
from hybrid_memory.protocols import AdapterStore, Gate, LanguageModel, Ledger, Progress, SelfEditGenerator, Trainer
from hybrid_memory.types import (
    AdapterVersion,
    Directives,
    Held,
    Json,
    Learning,
    Record,
    SelfEdit,
    Shard,
    Status,
    StudyItem,
    Verdict,
)
from hybrid_memory.upkeep import Upkeep

__all__ = ["Rung", "Task", "Trial", "Trials", "Workshop"]

TOO_WEAK = frozenset({"learned", "kept"})
"""Checks that a gentler adapter would fail all the more."""


@dataclass(frozen=True, slots=True)
class Workshop:
    """What a window works with; built when the first window opens, because it loads the language model."""

    language_model: LanguageModel
    generators: Callable[[], Sequence[SelfEditGenerator]]
    """Who writes in one window: which trained generator serves may differ from window to window."""
    prepare: Callable[[Sequence[SelfEdit]], list[SelfEdit]]
    """Verifies a shard's material and repeats part of it with evidence in sight; a pure function."""
    trainer: Trainer
    scale: Callable[[Path, float], None]
    """(candidate's folder, factor): multiplies what the adapter adds to the base."""
    gate: Gate
    place: Callable[[Held, Mapping[Shard, Held]], Sequence[Shard]]
    """(records of one scope, its shards with what is in them) -> the shard of each record."""
    regroup: Callable[[Mapping[Shard, Held], Iterable[str]], Sequence[tuple[Shard, Sequence[int], Shard]]]
    """(shards of one scope that are due, with what is in them; ids of all) -> (from, which rows, to)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A shard that is being rebuilt."""

    shard: Shard
    known: frozenset[str]
    """Ids of the records that the serving version has learned."""
    ends_at: float | None
    """On the monotonic clock, seconds; None: there is no hurry."""
    progress: Progress | None

    @property
    def out_of_time(self) -> bool:
        """Tell whether the window's budget is spent."""
        return self.ends_at is not None and time.monotonic() >= self.ends_at


@dataclass(frozen=True, slots=True)
class Rung:
    """How a candidate is trained."""

    rate: float = 1.0
    """Part of the learning rate."""
    plain: bool = False
    """Only the records' own material, by cross-entropy: no evidence, neighbours or general prompts beside it, and no
    distribution of the base in place of the words."""

    @property
    def name(self) -> str:
        """As in the report: "rate x0.5, plain"."""
        return f"rate x{self.rate:g}" + (", plain" if self.plain else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What one trial gave."""

    version: str | None
    passed: bool
    failed: tuple[str, ...]
    """Names of the checks that failed; empty also when training gave up."""
    unlearned: tuple[str, ...]
    line: str
    """The trial in the report."""
    forgotten: bool = False
    """True: a record was forgotten meanwhile, and nothing of the candidate was kept."""
    late: bool = False
    """True: the budget did not suffice, so that the records had no fair trial."""
    records: tuple[str, ...]
    metrics: Mapping[str, Json]
    items: int
    tokens: int
    seconds: Mapping[str, float]


class Trials:
    """Tries candidates for shards of one ledger."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        store: AdapterStore,
        upkeep: Upkeep,
        workshop: Callable[[], Workshop],
        scales: Sequence[float],
        keep_versions: int,
        seed: int,
        provenance: Mapping[str, Json],
    ) -> None:
        """`scales` are tried from left to right; `keep_versions` retired versions stay for rollback."""
        self._ledger = ledger
        self._store = store
        self._upkeep = upkeep
        self._workshop = workshop
        self._scales = tuple(scales)
        self._keep_versions = keep_versions
        self._seed = seed
        self._provenance = provenance

    def run(self, task: Task, records: Sequence[Record], material: Sequence[SelfEdit], rung: Rung) -> Trial:
        """Train a candidate on the material of some of the shard's records, judge it, and promote it if it passed.

        Raises:
            LedgerError: the disk is full; the records stay queued.
        """
        number = self._ledger.next_number(task.shard.id)
        items = [item for edit in material for item in edit.items if not rung.plain or _own(item)]
        if all(item.held_out for item in items):  # a preference may have nothing but practice with evidence
            return _given_up(rung, records, "there is no plain material to study", 0.0)
        started = time.monotonic()
        with self._store.stage(task.shard.id, number) as folder:
            try:
                trained = self._train(
                    task, items, folder=folder, directives=_agreed(material, soft=not rung.plain), rate=rung.rate
                )
            except ConsolidationError as error:
                given_up = _given_up(rung, records, str(error), time.monotonic() - started)
                return replace(given_up, late=isinstance(error, DeadlineError))
            spent = {"train": time.monotonic() - started}
            manifest = self._manifest(records, material, rung, trained=trained)
            ids = [record.id for record in records]
            candidate = candidate_in(folder, task.shard.id, number, record_ids=ids, manifest=manifest)
            try:
                candidate, verdict, line = self._judge(task, candidate, material)
                spent["gate"] = time.monotonic() - started - spent["train"]
                if any(self._ledger.get(record.id).status is Status.FORGOTTEN for record in records):
                    why = "a record was forgotten meanwhile; nothing was kept of the candidate"
                    return replace(_given_up(rung, records, why, sum(spent.values())), forgotten=True)
                version = self._settle(candidate, verdict)
            finally:
                self._workshop().language_model.release(candidate.id)
        return Trial(
            version=version.id,
            passed=verdict.passed,
            failed=verdict.failed,
            unlearned=verdict.unlearned,
            line=f"{rung.name}: {line}",
            records=version.record_ids,
            metrics={**version.metrics, **trained, "dropped": _dropped(material)},
            items=len(items),
            tokens=int(_number(trained["tokens"])),
            seconds=spent,
        )

    def recipe(self, records: Sequence[Record]) -> str:
        """Return 12 hex digits that name what a candidate of these records would be made from, and judged by."""
        base = self._workshop().language_model.fingerprint
        made_from = {**self._provenance, "base": base, "records": sorted(record.id for record in records)}
        return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()[:12]

    def _train(
        self, task: Task, items: Sequence[StudyItem], *, folder: Path, directives: Directives, rate: float
    ) -> Mapping[str, Json]:
        return self._workshop().trainer.train(
            items,
            seed=self._seed,
            folder=folder,
            directives=directives,
            learning_rate_scale=rate,
            progress=task.progress,
            deadline_s=None if task.ends_at is None else task.ends_at - time.monotonic() - self._judging_s(task.shard),
        )

    def _judging_s(self, shard: Shard) -> float:
        """Return how long judging a shard of the same group took last, seconds; 0 when none was judged yet."""
        groups = {one.id: one.group for one in self._ledger.shards()}
        taken = [
            version.metrics.get("gate_seconds")
            for version in self._ledger.versions()
            if groups.get(version.shard_id) == shard.group
        ]
        last = taken[-1] if taken else None
        return sum(map(_number, last.values())) if isinstance(last, Mapping) else 0.0

    def _manifest(
        self, records: Sequence[Record], material: Sequence[SelfEdit], rung: Rung, *, trained: Mapping[str, Json]
    ) -> dict[str, Json]:
        """Return what a version was made from: with it, and the same machine, it can be made again."""
        return {
            **self._provenance,
            "base": self._workshop().language_model.fingerprint,
            "records": {record.id: record.content_hash for record in records},
            "self_edits": {edit.record_id: edit.content_hash for edit in material},
            "generators": sorted({edit.generator for edit in material}),
            "seed": self._seed,
            "rung": rung.name,
            "training": dict(trained),
        }

    def _judge(
        self, task: Task, candidate: AdapterVersion, material: Sequence[SelfEdit]
    ) -> tuple[AdapterVersion, Verdict, str]:
        """Return candidate and verdict at the greatest strength that passes, or at the last one that was tried."""
        workshop = self._workshop()
        verdict, line, scale = self._verdict(task, candidate, material), "", 1.0
        measured: list[Json] = []
        for smaller in self._scales:
            if not verdict.failed or TOO_WEAK.intersection(verdict.failed) or task.out_of_time:
                break
            line += f"{'; '.join(verdict.reasons)}; at x{smaller:g} of its strength: "
            measured.append({"scale": scale, **verdict.metrics})
            workshop.language_model.release(candidate.id)
            workshop.scale(Path(candidate.path), smaller / scale)
            scale = smaller
            verdict = self._verdict(task, candidate, material)
        candidate = replace(candidate, manifest={**candidate.manifest, "scale": scale})
        verdict = replace(verdict, metrics={**verdict.metrics, "stronger": measured} if measured else verdict.metrics)
        return candidate, verdict, line + ("; ".join(verdict.reasons) or "passed")

    def _verdict(self, task: Task, candidate: AdapterVersion, material: Sequence[SelfEdit]) -> Verdict:
        always_on = task.shard.group == "behaviour"
        return self._workshop().gate.judge(
            candidate,
            material,
            learned_before=sorted(task.known),
            always_on=always_on,
            beside=self._beside(task.shard) if always_on else (),
        )

    def _beside(self, shard: Shard) -> list[AdapterVersion]:
        """Return the behaviour adapters of the scopes above, which serve wherever this shard's does.

        One of another base serves nowhere until its own shard is made again.
        """
        base = self._workshop().language_model.fingerprint
        above = {
            one.active for one in self._ledger.shards(scope=shard.scope) if one.group == shard.group and not one.masked
        }
        others = [
            version for version in self._ledger.versions() if version.id in above and version.shard_id != shard.id
        ]
        return [version for version in others if version.manifest.get("base") == base]

    def _settle(self, candidate: AdapterVersion, verdict: Verdict) -> AdapterVersion:
        """Promote a candidate that passed, reject another."""
        weak: Json = list(verdict.unlearned)
        version = settle(
            replace(candidate, metrics={**verdict.metrics, "weak": weak}),
            passed=verdict.passed,
            ledger=self._ledger,
            store=self._store,
            learning=dict.fromkeys(candidate.record_ids, (Learning.LEARNED, candidate.id)),
        )
        if verdict.passed:
            self._upkeep.retain(candidate.shard_id, self._keep_versions)
        return version


def _own(item: StudyItem) -> bool:
    return item.held_out or not (item.evidence or item.shots or item.restrains)


def _dropped(material: Sequence[SelfEdit]) -> dict[str, Json]:
    """Return how many written items were refused, by reason, over all records."""
    counts: Counter[str] = Counter()
    for edit in material:
        counts.update({reason: count for reason, count in edit.dropped.items() if count})
    return dict(counts)


def _agreed(material: Sequence[SelfEdit], *, soft: bool) -> Directives:
    """Return what a shard's self-edits ask for together, so that none of them keeps the others from being learned.

    The lowest rate; the most epochs, and the settings' own where one asks for none; loss and layers only where all
    ask for the same.
    """
    asked = [edit.directives for edit in material]
    rates = [one.learning_rate for one in asked if one.learning_rate is not None]
    epochs = [one.epochs for one in asked if one.epochs is not None]
    losses, targets = {one.loss_on for one in asked}, {one.targets for one in asked}
    places = {one.acts_on for one in asked}
    return Directives(
        learning_rate=min(rates, default=None),
        epochs=max(epochs) if epochs and len(epochs) == len(asked) else None,
        loss_on=losses.pop() if len(losses) == 1 else None,
        targets=targets.pop() if len(targets) == 1 else None,
        acts_on=places.pop() if len(places) == 1 else None,
        soft=soft,
    )


def _given_up(rung: Rung, records: Sequence[Record], why: str, seconds: float) -> Trial:
    return Trial(
        version=None,
        passed=False,
        failed=(),
        unlearned=(),
        line=f"{rung.name}: {why}",
        records=tuple(record.id for record in records),
        metrics={},
        items=0,
        tokens=0,
        seconds={"train": seconds},
    )


def _number(value: Json) -> float:
    if not isinstance(value, int | float):
        raise ConsolidationError(f"the trainer reported {value!r} where a number was expected")
    return float(value)
