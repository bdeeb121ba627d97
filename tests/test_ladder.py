"""The gate's ladder: what is tried after a refusal, what is declined in the end, and what goes on being learned."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from ledger_entries import ANN, SHARD, learn, open_ledger

from hybrid_memory.config import GateSettings
from hybrid_memory.errors import ConsolidationError, DeadlineError
from hybrid_memory.protocols import Progress
from hybrid_memory.rebuilding import Rebuilding
from hybrid_memory.trials import Trials, Workshop
from hybrid_memory.types import (
    AdapterVersion,
    Directives,
    Json,
    Learning,
    Record,
    SelfEdit,
    Shard,
    ShardReport,
    StudyItem,
    Verdict,
)
from hybrid_memory.upkeep import Upkeep
from hybrid_memory.weights.scaling import scale_adapter
from hybrid_memory.weights.store import FolderAdapterStore

Judge = Callable[[frozenset[str], float, float, bool], tuple[str, ...]]
"""(texts it was trained on, strength, learning rate, plain material only) -> the checks that fail."""


class Writer:
    """Writes one question and one question with evidence for each record."""

    name = "test"

    def write(self, record: Record, *, seed: int) -> SelfEdit:
        return SelfEdit(
            record_id=record.id,
            items=(
                StudyItem(prompt="q", response=record.text, form="question"),
                StudyItem(prompt="q", response=record.text, form="evidence", evidence=("Other.",)),
            ),
            generator=self.name,
            seed=seed,
        )


class Study:
    """Trainer and gate in one: an adapter is a note of what it was trained on, and the test judges the note."""

    fingerprint = "none"

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self.trained: list[set[str]] = []
        self.deadlines: list[float | None] = []
        self.diverges = self.is_late = False

    def train(
        self,
        items: Sequence[StudyItem],
        *,
        seed: int,
        folder: Path,
        directives: Directives | None = None,
        learning_rate_scale: float = 1.0,
        progress: Progress | None = None,
        deadline_s: float | None = None,
    ) -> Mapping[str, Json]:
        self.trained.append({item.response for item in items})
        self.deadlines.append(deadline_s)
        if self.is_late:
            raise DeadlineError("training would take about 90 s, and its deadline is 60 s")
        if self.diverges and learning_rate_scale == 1.0:
            raise ConsolidationError("the loss became nan at step 3")
        (folder / "adapter_model.safetensors").write_bytes(b"weights")
        note: dict[str, Any] = {
            "lora_alpha": 1.0,
            "texts": sorted(self.trained[-1]),
            "rate": learning_rate_scale,
            "plain": not any(item.evidence for item in items) and not (directives or Directives()).soft,
        }
        (folder / "adapter_config.json").write_text(json.dumps(note), encoding="utf-8")
        return {"seconds": 1.0, "tokens": 100}

    def judge(
        self,
        candidate: AdapterVersion,
        self_edits: Sequence[SelfEdit],
        *,
        learned_before: Sequence[str],
        always_on: bool,
        beside: Sequence[AdapterVersion] = (),
    ) -> Verdict:
        note = json.loads((Path(candidate.path) / "adapter_config.json").read_text(encoding="utf-8"))
        failed = self._judge(frozenset(note["texts"]), note["lora_alpha"], note["rate"], note["plain"])
        weak = [edit.record_id for edit in self_edits if "weak" in edit.items[0].response]
        return Verdict(
            passed=not failed,
            failed=failed,
            reasons=tuple(f"{name} failed" for name in failed),
            unlearned=tuple(weak),
            metrics={"strength": note["lora_alpha"], "gate_seconds": {"learned": 20.0, "drift": 10.0}},
        )

    def release(self, adapter_id: str) -> None:
        pass


class Bench:
    """A ledger, a store, and a shard that is rebuilt at the test's word."""

    def __init__(self, folder: Path) -> None:
        self.ledger = open_ledger(folder)
        self.store = FolderAdapterStore(folder / "adapters")
        self.study = Study(lambda *_: ())

    def rebuild(self, judge: Judge, *, budget_s: float | None = None, **gate: Any) -> ShardReport:
        self.study._judge = judge
        workshop: Any = Workshop(
            language_model=self.study,  # type: ignore[arg-type]
            generators=lambda: [Writer()],
            prepare=list,
            trainer=self.study,
            scale=scale_adapter,
            gate=self.study,
            place=lambda records, *_: [SHARD] * len(records),
            regroup=lambda *_: [],
        )
        settings = GateSettings(**gate)
        trials = Trials(
            ledger=self.ledger,
            store=self.store,
            upkeep=Upkeep(self.ledger, self.store, loaded=lambda: None, language_model=lambda: workshop.language_model),
            workshop=lambda: workshop,
            scales=settings.scales,
            keep_versions=3,
            seed=0,
            provenance={},
        )
        rebuilding = Rebuilding(ledger=self.ledger, trials=trials, workshop=lambda: workshop, gate=settings, seed=0)
        ends_at = None if budget_s is None else time.monotonic() + budget_s
        return rebuilding.rebuild(self.shard, [Writer()], ends_at, None)

    def queue(self, *texts: str) -> list[str]:
        records = learn(self.ledger, *texts)
        self.ledger.assign(records, shard=SHARD)
        return records

    @property
    def shard(self) -> Shard:
        return self.ledger.shards(scope=ANN)[0]

    def learned(self) -> set[str]:
        """What the serving version was trained on."""
        serving = next(version for version in self.ledger.versions() if version.id == self.shard.active)
        return {self.ledger.get(one).text for one in serving.record_ids}

    def declined(self) -> dict[str, str]:
        records = self.ledger.find(scope=None, filters={"learning": Learning.DECLINED.value})
        return {one.text: one.learning_detail for one in records}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.ledger.close()


A, B, C, D = "Alder is a tree.", "Beech is a tree.", "Cedar is a tree.", "Doum is a tree."


def test_an_adapter_that_does_too_much_is_made_gentler_without_training_again(bench: Bench) -> None:
    """Half of its strength passes; what was measured before stays with the version."""
    bench.queue(A)

    report = bench.rebuild(lambda texts, strength, rate, plain: ("drift",) if strength > 0.6 else (), scales=(0.7, 0.5))

    assert (report.promoted, len(bench.study.trained)) == (True, 1)
    assert report.attempts == (
        "rate x1: drift failed; at x0.7 of its strength: drift failed; at x0.5 of its strength: passed",
    )
    (version,) = bench.ledger.versions()
    assert (version.manifest["scale"], version.metrics["strength"]) == (0.5, 0.5)
    stronger: Any = version.metrics["stronger"]
    assert [(one["scale"], one["strength"]) for one in stronger] == [(1.0, 1.0), (0.7, 0.7)]


def test_no_gentler_candidate_is_judged_when_the_time_is_up(bench: Bench) -> None:
    """Judging takes longer than the budget: one verdict, nothing declined, the record waits for the next window."""
    waiting = bench.queue(A)
    verdicts: list[float] = []

    def slow(texts: frozenset[str], strength: float, rate: float, plain: bool) -> tuple[str, ...]:
        verdicts.append(strength)
        time.sleep(0.3)
        return ("drift",)

    report = bench.rebuild(slow, budget_s=0.2, scales=(0.7, 0.5))

    assert (verdicts, report.promoted, report.declined) == ([1.0], False, {})
    assert [bench.ledger.get(one).learning for one in waiting] == [Learning.QUEUED]


def test_a_scaled_adapter_is_what_its_manifest_hashes(bench: Bench) -> None:
    """The files are checked as they are after scaling."""
    bench.queue(A)
    bench.rebuild(lambda texts, strength, rate, plain: ("drift",) if strength > 0.8 else ())

    bench.store.verify(bench.ledger.versions()[0].path)


def test_a_manifest_has_the_hash_of_each_self_edit_that_was_studied(bench: Bench) -> None:
    """SHA-256 over the sorted JSON of what was studied, which is here what was written; forgetting takes it away."""
    bench.queue(A)
    (record,) = bench.ledger.pending()
    edit = Writer().write(record, seed=0)
    expected = hashlib.sha256(json.dumps(edit.to_json(), sort_keys=True).encode()).hexdigest()

    bench.rebuild(lambda *_: ())

    assert bench.ledger.versions()[0].manifest["self_edits"] == {record.id: expected}
    bench.ledger.forget([record.id])
    assert bench.ledger.versions()[0].manifest["self_edits"] == {}


def test_then_it_is_trained_at_a_lower_rate(bench: Bench) -> None:
    """When no strength of the first helps."""
    bench.queue(A)

    report = bench.rebuild(lambda texts, strength, rate, plain: ("probe",) if rate > 0.5 else ())

    assert report.promoted
    assert [line.partition(":")[0] for line in report.attempts] == ["rate x1", "rate x0.5"]
    assert report.trained_tokens == 200


def test_training_that_diverges_is_tried_at_a_lower_rate(bench: Bench) -> None:
    """There is nothing to scale down."""
    bench.queue(A)
    bench.study.diverges = True

    report = bench.rebuild(lambda *_: ())

    assert report.attempts == ("rate x1: the loss became nan at step 3", "rate x0.5: passed")


def test_one_that_learns_too_little_studies_the_plain_material(bench: Bench) -> None:
    """Weaker would only be worse: it is neither scaled down nor trained more gently."""
    bench.queue(A)

    report = bench.rebuild(lambda texts, strength, rate, plain: () if plain else ("learned",))

    assert report.attempts == ("rate x1: learned failed", "rate x1, plain: passed")


def test_records_that_were_not_learned_are_declined_and_the_others_kept(bench: Bench) -> None:
    """The gate knows them one by one: nobody has to search."""
    bench.queue(A, B, "A weak word.")

    report = bench.rebuild(lambda texts, *_: ("learned",) if "A weak word." in texts else ())

    assert bench.learned() == {A, B}
    assert list(bench.declined()) == ["A weak word."]
    assert "refused after 2 attempts, last rate x1, plain: learned failed" in bench.declined()["A weak word."]
    assert (len(report.learned), len(report.declined), len(report.attempts)) == (2, 1, 3)


def test_the_one_record_that_spoils_the_others_is_found_by_halving(bench: Bench) -> None:
    """Three learn, one stays in retrieval with the reason; the shard is clean afterwards."""
    bench.queue(A, B, C, D)

    report = bench.rebuild(lambda texts, *_: ("probe",) if C in texts else (), rates=())

    assert bench.learned() == {A, B, D}
    assert list(bench.declined()) == [C]
    assert "refused by itself, rate x1: probe failed" in bench.declined()[C]
    assert (len(report.learned), report.promoted, bench.shard.dirty) == (3, True, False)


def test_what_was_learned_before_is_in_every_trial(bench: Bench) -> None:
    """It is the replay; a refused newcomer leaves the old version serving."""
    bench.queue(A, B)
    bench.rebuild(lambda *_: ())
    bench.queue(C)

    report = bench.rebuild(lambda texts, *_: ("kept",) if C in texts else ())

    assert all({A, B} <= texts for texts in bench.study.trained)
    assert bench.learned() == {A, B}
    assert (bench.shard.active, report.promoted, list(bench.declined())) == ("ann-facts-v1", False, [C])


def test_the_search_ends_after_a_number_of_trials(bench: Bench) -> None:
    """What could not be tried apart is declined too, and its reason says so."""
    bench.queue(A, B, C, D)

    report = bench.rebuild(lambda *_: ("probe",), rates=(), most_trials=2)

    assert (len(report.attempts), bench.shard.active) == (2, None)
    assert set(bench.declined()) == {A, B, C, D}
    assert set(bench.declined().values()) == {"refused with others after 2 attempts (gate.most_trials)"}


def test_scaling_multiplies_what_the_adapter_adds(tmp_path: Path) -> None:
    """LoRA's update is lora_alpha / lora_rank times B A; nothing else in the file changes."""
    file = tmp_path / "adapter_config.json"
    file.write_text('{"lora_alpha": 32, "r": 16}', encoding="utf-8")

    scale_adapter(tmp_path, 0.5)

    assert json.loads(file.read_text(encoding="utf-8")) == {"lora_alpha": 16.0, "r": 16}


def test_a_training_that_does_not_fit_declines_nothing(bench: Bench) -> None:
    """It was no fair trial: no gentler one follows, the record waits, and the report says why."""
    (waiting,) = bench.queue(A)
    bench.study.is_late = True

    report = bench.rebuild(lambda *_: (), budget_s=60)

    assert report.attempts == ("rate x1: training would take about 90 s, and its deadline is 60 s",)
    assert (report.promoted, report.declined) == (False, {})
    assert bench.ledger.get(waiting).learning is Learning.QUEUED


def test_training_leaves_the_time_that_judging_took_last(bench: Bench) -> None:
    """Of 1,000 s all may be trained at first; after a shard of facts was judged in 30 s, 970. Not without a budget."""
    bench.queue(A)
    bench.rebuild(lambda *_: (), budget_s=1000)
    bench.queue(B)
    bench.rebuild(lambda *_: (), budget_s=1000)
    bench.queue(C)
    bench.rebuild(lambda *_: ())

    first, second, third = bench.study.deadlines
    assert first == pytest.approx(1000, abs=5)
    assert second == pytest.approx(970, abs=5)
    assert third is None
