"""The outer loop: the generator learns to write the self-edits that taught the most (SEAL's ReST-EM).

Flow:    lessons -> sample -> adapt -> reward -> select -> train the generator -> gate -> promote
Imports: errors, types, protocols, config, promotion; the other modules of this stage.

E-step: the serving generator writes k self-edits per passage; each is studied by itself and rewarded. M-step: a
fresh adapter is trained on the best self-edit of each passage so far (Singh et al. 2023 begin every M-step from the
base too, arXiv 2312.06585). It serves only if it writes better ones for passages that it was not trained on.
Every reward goes into a journal, and everything else follows from the rewards and the seed: a run that was killed is
continued by calling it again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from hybrid_memory.config import OuterLoopSettings
from hybrid_memory.errors import AdapterError, ConsolidationError, InputError
from hybrid_memory.promotion import candidate_in, settle
from hybrid_memory.protocols import AdapterStore, CandidateTrainer, LanguageModel, Ledger, Progress, Trainer
from hybrid_memory.selfedit.journal import Journal
from hybrid_memory.selfedit.proposals import Proposal, demonstration
from hybrid_memory.selfedit.rewards import Rewarder
from hybrid_memory.selfedit.sampling import Sample, Sampling
from hybrid_memory.types import (
    GENERATOR,
    AdapterStatus,
    AdapterVersion,
    Directives,
    GeneratorReport,
    Json,
    Lesson,
    RoundReport,
    Scope,
    Shard,
    quoted,
)

__all__ = ["OuterLoop", "serving_generator"]

log = logging.getLogger(__name__)

NAMED_BY = 40
"""Letters of a lesson's text in its name."""
NO_WINNER = "no sample taught more than nothing; try more samples, more passages or another reward"


class OuterLoop:
    """Trains the generator of one memory."""

    def __init__(
        self,
        *,
        language_model: LanguageModel,
        candidates: CandidateTrainer,
        trainer: Trainer,
        ledger: Ledger,
        store: AdapterStore,
        folder: Path,
        settings: OuterLoopSettings,
        seed: int,
        recipe: Mapping[str, Json],
        provenance: Mapping[str, Json],
    ) -> None:
        """Put the loop together.

        Args:
            language_model: samples self-edits and answers.
            candidates: the inner loop.
            trainer: trains the generator.
            ledger: has the generator's versions.
            store: has their files.
            folder: holds the journals.
            settings: of the loop.
            seed: of sampling and of all training.
            recipe: of both trainers: a run that was killed goes on only with the same one.
            provenance: goes into every manifest.
        """
        self._lm = language_model
        self._candidates = candidates
        self._trainer = trainer
        self._ledger = ledger
        self._store = store
        self._folder = folder
        self._settings = settings
        self._seed = seed
        self._recipe = recipe
        self._provenance = provenance

    def run(self, lessons: Sequence[Lesson], *, rounds: int = 1, progress: Progress | None = None) -> GeneratorReport:
        """Train the generator; safe to kill at any instruction, and continued by the same call.

        Args:
            lessons: at least two; the last ones, `held_out` of them, are only ever written for by the gate. One that
                is too long to learn from, or has no whole question, is left out with the reason.
            rounds: how often to sample and train.
            progress: told what is rewarded and trained.

        Raises:
            InputError: fewer than two lessons that can be learned from, or no round.
        """
        if bad := [one for one in lessons if not isinstance(one, Lesson)]:
            raise InputError(f"a lesson is a Lesson(text, questions), got {quoted(bad[0])}")
        left_out = {number: why for number, one in enumerate(lessons) if (why := self._unfit(one))}
        named = {_named(number, lessons[number]): why for number, why in left_out.items()}
        lessons = [lesson for number, lesson in enumerate(lessons) if number not in left_out]
        if len(lessons) < 2 or rounds < 1:
            told = "".join(f"; left out: {name}, {why}" for name, why in named.items())
            raise InputError(
                f"the outer loop needs at least two lessons (one is held out) and one round; got {len(lessons)} "
                f"lessons and {rounds} rounds{told}"
            )
        journal = Journal(self._folder, self._name(lessons, rounds))
        reports = []
        for number in range(1, rounds + 1):
            key = f"round {number}"
            if key not in journal:
                report = self._finished(journal.run, number) or self._round(number, lessons, journal, progress)
                journal.add(key, report.to_json())
            reports.append(_read_report(journal[key]))
        journal.finish()
        serving = self._serving()
        return GeneratorReport(
            rounds=tuple(reports),
            serving=serving.id if serving else None,
            seconds=round(sum(report.seconds for report in reports), 2),
            summary=_summary(reports, len(left_out)),
            left_out=named,
        )

    def _unfit(self, lesson: Lesson) -> str:
        """Say why a lesson cannot be learned from; "" if it can, however long a self-edit is sampled for it."""
        if not lesson.questions or not all(one.prompt.strip() and one.response.strip() for one in lesson.questions):
            return "it has no question, or one without text or answer"
        begun = replace(demonstration(lesson.text, Proposal("", ())), response="Q")
        return self._trainer.refuses(begun, more=self._settings.max_new_tokens)

    def _serving(self) -> AdapterVersion | None:
        return serving_generator(self._ledger, self._store, base=self._lm.fingerprint)

    def _name(self, lessons: Sequence[Lesson], rounds: int) -> str:
        """Name a run by all that decides its outcome but the generator it begins with."""
        content = [lesson.to_json() for lesson in lessons]
        settings = self._settings.model_dump(mode="json")
        given = [content, rounds, settings, dict(self._recipe), self._seed, self._lm.fingerprint]
        return hashlib.sha256(json.dumps(given, sort_keys=True).encode()).hexdigest()[:12]

    def _finished(self, run: str, number: int) -> RoundReport | None:
        """Return the report of a round that was settled in the ledger before its line in the journal was written."""
        for version in reversed(self._ledger.versions(shard_id=GENERATOR)):
            if (version.manifest.get("run"), version.manifest.get("round")) == (run, number):
                return _read_report(version.metrics["report"])
        return None

    # ------------------------------------------------------------ one round

    def _round(
        self, number: int, lessons: Sequence[Lesson], journal: Journal, progress: Progress | None
    ) -> RoundReport:
        sampling = Sampling(
            self._lm,
            Rewarder(self._lm, self._candidates, kind=self._settings.reward, seed=self._seed),
            self._trainer.refuses,
            settings=self._settings,
            number=number,
            journal=journal,
            progress=progress,
        )
        training, held_out = self._split(lessons)
        generator = self._serving()
        samples = sampling.rewarded(training, generator, seed=self._seed + number, what=f"round {number}")
        before = sampling.rewarded(held_out, generator, seed=self._seed, what="held out, before")
        best = sampling.winners(samples)
        report = RoundReport(
            round=number,
            version=None,
            promoted=False,
            reason=NO_WINNER,
            winners=len(best),
            refused=sum(not one.proposal.items for row in samples for one in row),
            mean_reward=round(fmean(one.reward for row in samples for one in row), 4),
            best_reward=round(fmean(max(one.reward for one in row) for row in samples), 4),
            held_out_before=_mean(before),
            held_out_after=None,
            trained_tokens=0,
            seconds=0.0,
        )
        if not best:
            return _spent(report, sampling)

        def measured(candidate: AdapterVersion) -> RoundReport:
            after = _mean(sampling.rewarded(held_out, candidate, seed=self._seed, what="held out, after"))
            promoted = after - report.held_out_before > self._settings.min_gain
            moved = f"{report.held_out_before:.3f} to {after:.3f}"
            reason = f"mean reward on {len(held_out)} held-out passages went from {moved}"
            return replace(report, promoted=promoted, reason=reason, held_out_after=after)

        return self._train(journal.run, report, best, measured, sampling, progress)

    def _split(self, lessons: Sequence[Lesson]) -> tuple[Sequence[Lesson], Sequence[Lesson]]:
        count = min(len(lessons) - 1, max(1, round(len(lessons) * self._settings.held_out)))
        return lessons[:-count], lessons[-count:]

    # ------------------------------------------------------------ the generator

    def _train(
        self,
        run: str,
        report: RoundReport,
        best: Sequence[Sample],
        measured: Callable[[AdapterVersion], RoundReport],
        sampling: Sampling,
        progress: Progress | None,
    ) -> RoundReport:
        """Train a generator on the winners, measure it on the held-out passages, and promote or reject it."""
        self._make_shard()
        started = time.monotonic()
        number = self._ledger.next_number(GENERATOR)
        items = [demonstration(one.lesson.text, one.proposal) for one in best]
        # the passage has to be read in another way, so the adapter acts on it too
        asked = Directives(acts_on="all")
        with self._store.stage(GENERATOR, number) as folder:
            try:
                trained = self._trainer.train(
                    items, seed=self._seed, folder=folder, directives=asked, progress=progress
                )
            except ConsolidationError as error:
                return _spent(replace(report, reason=f"the generator's training failed: {error}"), sampling)
            finally:
                sampling.seconds += time.monotonic() - started
            made_from: dict[str, Json] = {
                **self._provenance,
                "base": self._lm.fingerprint,
                "run": run,
                "round": report.round,
                "training": dict(trained),
            }
            candidate = candidate_in(folder, GENERATOR, number, record_ids=(), manifest=made_from)
            try:
                outcome = _spent(replace(measured(candidate), version=candidate.id), sampling)
            finally:
                self._lm.release(candidate.id)
            judged = replace(candidate, metrics={"report": outcome.to_json()})
            settle(judged, passed=outcome.promoted, ledger=self._ledger, store=self._store, learning={})
        return outcome

    def _make_shard(self) -> None:
        if GENERATOR not in {shard.id for shard in self._ledger.shards()}:
            shard = Shard(id=GENERATOR, scope=Scope(), group=GENERATOR, dirty=False, masked=False, active=None)
            self._ledger.assign([], shard=shard)


def serving_generator(ledger: Ledger, store: AdapterStore, *, base: str) -> AdapterVersion | None:
    """Return the generator version that serves, or None: then the base model writes.

    One that was trained on another base model than the one of this fingerprint, or whose files are damaged, does not
    serve; the log says so.
    """
    versions = ledger.versions(shard_id=GENERATOR)
    version = next((version for version in versions if version.status is AdapterStatus.ACTIVE), None)
    if version is None:
        return None
    if version.manifest.get("base") != base:
        log.warning(
            "%s was trained on base model %s, this is %s; the model writes without it, and "
            "`hybrid-memory seal train` trains a new one",
            version.id,
            version.manifest.get("base"),
            base,
        )
        return None
    try:
        store.verify(version.path)
    except AdapterError as error:
        log.warning("%s; the model writes without it", error)
        return None
    return version


def _named(place: int, lesson: Lesson) -> str:
    text = lesson.text if len(lesson.text) <= NAMED_BY else f"{lesson.text[:NAMED_BY]}…"
    return f"lesson {place + 1} ({text})"


def _mean(rows: Sequence[Sequence[Sample]]) -> float:
    return round(fmean(one.reward for row in rows for one in row), 4)


def _spent(report: RoundReport, sampling: Sampling) -> RoundReport:
    """Return the report with what the round took."""
    return replace(report, trained_tokens=sampling.tokens, seconds=round(sampling.seconds, 2))


def _read_report(value: Json) -> RoundReport:
    return RoundReport(**value)  # type: ignore[arg-type]  # what to_json() of this class wrote


def _summary(reports: Sequence[RoundReport], left_out: int) -> str:
    last = reports[-1]
    promoted = sum(report.promoted for report in reports)
    missing = f"; {left_out} lesson{'s' * (left_out > 1)} left out" if left_out else ""
    told = f"{promoted} of {len(reports)} generators promoted; last: {last.version or 'none trained'}, {last.reason}"
    return told + missing
