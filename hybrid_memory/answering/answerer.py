"""Merge current evidence and adapted weights into one answer with its sources.

Flow:    question -> retrieve -> second look? -> choose adapters -> prompt -> generate -> abstain? -> Answer
Imports: types, protocols, config, forms; the other modules of this stage.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from ulid import ULID

from hybrid_memory.answering.abstention import abstains
from hybrid_memory.answering.adapter_choice import AdapterChooser, Choice
from hybrid_memory.answering.attribution import as_hit, attribute, attribute_label, unattributed
from hybrid_memory.answering.evidence_choice import EvidenceChooser, are_demonstrations, best, of_kind
from hybrid_memory.answering.excerpts import excerpted
from hybrid_memory.answering.faithfulness import quotable
from hybrid_memory.answering.fitting import Room, fit, fit_window, fitted
from hybrid_memory.answering.likeness import QuestionKinds
from hybrid_memory.answering.prompting import prompt
from hybrid_memory.answering.reasons import no_adapter, with_reason
from hybrid_memory.answering.rivals import trusted_first
from hybrid_memory.answering.second_look import (
    BY_MEANING,
    UNSEEN,
    Candidate,
    Looks,
    candidates,
    look_again,
    reordered,
)
from hybrid_memory.answering.tasks import TaskAnswers
from hybrid_memory.answering.writing import Case, write
from hybrid_memory.config import AnswerSettings
from hybrid_memory.evidence import UNKNOWN, ask
from hybrid_memory.forms import shapes_behaviour
from hybrid_memory.protocols import Encoder, Filters, LanguageModel, Ledger, Progress, Retriever
from hybrid_memory.questions import question_vectors
from hybrid_memory.statements import statements
from hybrid_memory.types import (
    EXAMPLES,
    AdapterVersion,
    Answer,
    Context,
    Explanation,
    Generation,
    Hit,
    Kind,
    Learning,
    Mode,
    Record,
    Scope,
    Stretch,
    Turn,
)

__all__ = ["Answerer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Grounds:
    """What an answer may stand on: who asks, from which halves, and how much of the evidence is seen."""

    scope: Scope
    mode: Mode
    filters: Filters | None
    as_of: datetime | None
    known_at: datetime | None
    passages: int
    neighbours: int
    sentences: int

    @property
    def present(self) -> bool:
        """Whether it is about now; the weights know nothing else."""
        return self.as_of is None and self.known_at is None

    @property
    def by_weights(self) -> bool:
        """Whether adapters have a part."""
        return self.mode is not Mode.RETRIEVAL_ONLY and self.present


class Answerer:
    """Answers questions from both halves; the same object serves as its own baseline by mode."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        retriever: Retriever,
        encoder: Encoder,
        language_model: Callable[[], LanguageModel],
        settings: AnswerSettings,
    ) -> None:
        """`language_model` is called when the first answer is generated: search alone loads none."""
        self._ledger = ledger
        self._evidence = EvidenceChooser(ledger, retriever, settings)
        self._encoder = encoder
        self._language_model = language_model
        self._settings = settings
        self._chooser = AdapterChooser(ledger, min_similarity=settings.shard_similarity, margin=settings.shard_margin)
        self._kinds = QuestionKinds(ledger, encoder)
        self._tasks = TaskAnswers(ledger, language_model, settings)

    def answer(
        self,
        questions: Sequence[str],
        *,
        scope: Scope,
        mode: Mode,
        task: str | None = None,
        filters: Filters | None = None,
        as_of: datetime | None = None,
        known_at: datetime | None = None,
        passages: int | None = None,
        neighbours: int = 0,
        max_new_tokens: int | None = None,
        on_text: Callable[[str], None] | None = None,
        progress: Progress | None = None,
    ) -> list[Answer]:
        """Return one answer per question; questions that share adapters are generated together.

        What is streamed to `on_text` is the answer's text, also when it abstains or quotes: then it comes at the end.
        """
        if not questions:
            return []
        if task is not None:
            return self._tasks.answer(
                task,
                questions,
                scope=scope,
                mode=mode,
                as_of=as_of,
                known_at=known_at,
                max_new_tokens=max_new_tokens,
                on_text=on_text,
                progress=progress,
            )
        seconds: dict[str, float] = {}
        grounds = _Grounds(
            scope=scope,
            mode=mode,
            filters=filters,
            as_of=as_of,
            known_at=known_at,
            passages=self._settings.passages if passages is None else passages,
            neighbours=neighbours,
            sentences=0 if neighbours else self._settings.sentences,  # who asks for what stands beside wants to see it
        )
        cases = self._prepare(questions, grounds, seconds)
        started = time.monotonic()
        longest = max_new_tokens or self._settings.max_new_tokens
        fit_window(cases, language_model=self._language_model, max_new_tokens=longest, dated=self._settings.dated)
        written = write(
            cases,
            language_model=self._language_model,
            settings=self._settings,
            max_new_tokens=longest,
            on_text=None if len(cases) > 1 or self._may_change(cases[0]) else on_text,
            progress=progress,
        )
        seconds["generate"] = time.monotonic() - started
        share = {stage: spent / len(cases) for stage, spent in seconds.items()}
        answers = [self._finish(case, written[place], mode, share) for place, case in enumerate(cases)]
        if on_text is not None and len(cases) == 1 and self._may_change(cases[0]):
            on_text(answers[0].text)
        return answers

    def context(
        self,
        question: str,
        *,
        scope: Scope,
        mode: Mode,
        task: str | None = None,
        filters: Filters | None = None,
        as_of: datetime | None = None,
        known_at: datetime | None = None,
        passages: int | None = None,
        neighbours: int = 0,
        max_tokens: int | None = None,
    ) -> Context:
        """Return what would be sent to the model, for the caller's own model."""
        room = None if max_tokens is None else Room.of(self._language_model(), max_tokens)
        if task is not None:
            return self._tasks.context(
                task, question, scope=scope, mode=mode, as_of=as_of, known_at=known_at, room=room
            )
        grounds = _Grounds(
            scope=scope,
            mode=mode,
            filters=filters,
            as_of=as_of,
            known_at=known_at,
            passages=self._settings.passages if passages is None else passages,
            neighbours=neighbours,
            sentences=0,  # whole passages: the caller's own model is likely a larger one, which reads them
        )
        case = self._prepare([question], grounds, {})[0]
        if room is not None:
            fit(case, room, dated=self._settings.dated)
        return Context(
            messages=case.turns,
            sources=case.hits,
            adapters=tuple(version.id for version in case.choice.adapters),
            masked=case.choice.masked,
            trace=tuple(case.trace),
            shown=tuple(hit.record.id for hit in case.shown),
        )

    def explain(
        self,
        question: str,
        text: str,
        *,
        answer_id: str,
        task: Record | None = None,
        records: Sequence[Record],
        excerpts: Mapping[str, str],
        written: Sequence[Stretch],
        vote: Mapping[str, float],
        adapters: Mapping[str, AdapterVersion],
        scope: Scope,
        mode: Mode,
    ) -> Explanation:
        """Return what an answer's text came from, by scoring it without each part; see `protocols.Answerer`.

        Raises:
            AdapterError: a version it was written with is deleted since.
        """
        if not written:
            return unattributed(answer_id, text, "it abstained: nothing wrote these words")
        first, *closing = written
        spoke = [adapters[name] for name in first.adapters]
        if task is not None and first.text:
            return self._tasks.explain(
                task, question, first.text, answer_id=answer_id, shown=bool(records), adapters=spoke
            )
        if vote:
            return attribute_label(
                self._language_model(),
                first.text,
                answer_id=answer_id,
                question=ask(question),
                vote=vote,
                adapters=spoke,
                trust=self._settings.label_trust,
            )
        if not first.text:
            return unattributed(answer_id, text, "the model said nothing that could be scored")
        serving = [*adapters.values(), *self._chooser.behaviour(scope)]
        rules = [] if mode is Mode.WEIGHTS_ONLY else self._stated(self._rules(scope, None, None), serving)
        lm, dated = self._language_model(), self._settings.dated
        room = Room.beside_answer(lm, len(lm.chat_tokens((Turn("assistant", first.text),))))
        hits = [replace(as_hit(record), excerpt=excerpts.get(record.id)) for record in records]
        kept = fitted(question, hits, rules, room, dated=dated)

        def chat(shown: Sequence[Hit]) -> tuple[Turn, ...]:
            return prompt(question, shown, kept.rules, dated=dated)

        explained = attribute(
            lm,
            first.text,
            answer_id=answer_id,
            whole=kept.turns,
            bare=prompt(question, (), (), dated=dated),
            without={one.id: chat([other for other in kept.hits if other is not one]) for one in kept.hits},
            adapters=spoke,
            closing=closing,
        )
        return replace(explained, text=text)

    def _prepare(self, questions: Sequence[str], grounds: _Grounds, seconds: dict[str, float]) -> list[Case]:
        """Return the questions with evidence, adapters and prompt; `seconds` gets those of each step."""
        scope, filters, wanted = grounds.scope, grounds.filters, grounds.passages
        as_of, known_at = grounds.as_of, grounds.known_at
        started = time.monotonic()
        vectors = question_vectors(self._encoder, questions)
        cases = [Case(question) for question in questions]
        unlike = self._kinds.unlike(questions, vectors, scope, filters)
        if grounds.mode is not Mode.WEIGHTS_ONLY:
            for case, vector, groups in zip(cases, vectors, unlike, strict=True):
                within = of_kind(filters, {"ne": Kind.EXAMPLE.value}) if EXAMPLES in groups else filters
                case.hits = self._evidence.find(
                    case.question, vector, scope, filters=within, as_of=as_of, known_at=known_at, wanted=wanted
                )
        seconds["retrieve"] = time.monotonic() - started
        started = time.monotonic()
        count = self._settings.second_look
        learned = (
            self._chooser.nearest_facts(vectors, scope, unlike, count) if grounds.by_weights else [[] for _ in cases]
        )
        looks = self._look_again(cases, learned)
        if grounds.by_weights:
            # where an example is nearest, no learned fact was read: what evidence came to says nothing about a shard
            among_facts = [look if known else UNSEEN for look, known in zip(looks, learned, strict=True)]
            choices = self._chooser.choose(vectors, scope, unlike, among_facts)
            for case, vector, choice, look in zip(cases, vectors, choices, among_facts, strict=True):
                case.choice = _unless_evidence_is_nearer(choice, case.hits, look)
                if grounds.mode is Mode.HYBRID and choice.stale is not None and wanted:
                    self._pin(
                        case, self._evidence.correction(case.question, vector, scope, filters, stale=choice.stale)
                    )
        rules = [] if grounds.mode is Mode.WEIGHTS_ONLY else self._rules(scope, as_of, known_at)
        for case, vector, look in zip(cases, vectors, looks, strict=True):
            case.hits = best(case.hits, wanted, first=case.choice.record if case.choice.routed else None)
            case.hits = excerpted(case.question, vector, case.hits, encoder=self._encoder, sentences=grounds.sentences)
            case.choice = with_reason(case.choice, case.hits, grounds.mode, present=grounds.present)
            case.known = self._ledger.get(case.choice.record).text if case.choice.routed else ""
            spared = not look and self._knows(case.choice, case.hits)
            case.shown = () if spared else case.hits
            if grounds.neighbours and case.shown:
                # only now, when adapter and evidence are chosen: what stands beside evidence has no say in that
                self._add_neighbours(
                    case,
                    self._evidence.around(
                        case.hits, scope, count=grounds.neighbours, filters=filters, as_of=as_of, known_at=known_at
                    ),
                )
            self._compose(case, rules, spared=spared)
        seconds["choose"] = time.monotonic() - started
        return cases

    @staticmethod
    def _add_neighbours(case: Case, stretches: Sequence[tuple[Hit, ...]]) -> None:
        """Put stretches of documents in place of the hits: as they read among the sources, and in the prompt too."""
        case.hits = tuple(hit for stretch in stretches for hit in stretch)
        # the prompt turns the order round, so that the best stands next to the question: a stretch is turned before
        case.shown = tuple(hit for stretch in stretches for hit in reversed(stretch))
        if beside := sum(hit.beside is not None for hit in case.hits):
            case.trace.append(f"{beside} of the passages stand beside those found")

    def _look_again(self, cases: Sequence[Case], learned: Sequence[Sequence[Candidate]]) -> list[Looks]:
        """Read the best candidates of undecided questions again; puts each case's facts in their order."""
        count = self._settings.second_look
        if not count:
            looks = [UNSEEN] * len(cases)
        else:
            found = [[] if are_demonstrations(case.hits) else candidates(case.hits, count) for case in cases]
            asked = [(case.question, near, known) for case, near, known in zip(cases, found, learned, strict=True)]
            looks = look_again(asked, self._language_model)
        for case, look in zip(cases, looks, strict=True):
            if look:
                case.trace.append(f"the encoder could not tell, so {len(look)} records were read again")
            if not are_demonstrations(case.hits):
                case.hits = trusted_first(case.question, reordered(case.hits, look))
        return looks

    @staticmethod
    def _pin(case: Case, correction: Hit | None) -> None:
        """Put what replaced a stale learned record first, whether or not it was found."""
        if correction is None or any(hit.record.id == correction.record.id for hit in case.hits[:1]):
            return
        case.trace.append(f"{correction.record.id} is pinned: it replaced what was learned")
        case.hits = (correction, *(hit for hit in case.hits if hit.record.id != correction.record.id))

    def _rules(self, scope: Scope, as_of: datetime | None, known_at: datetime | None) -> list[Record]:
        """Return the preferences to state outright, newest first: those no serving adapter has learned."""
        filters = {"kind": Kind.PREFERENCE.value}
        found = self._ledger.find(scope=scope, filters=filters, as_of=as_of, known_at=known_at)
        return [record for record in reversed(found) if shapes_behaviour(record)][: self._settings.rules]

    def _knows(self, choice: Choice, hits: Sequence[Hit]) -> bool:
        """Tell whether the shard that answers surely knows the best evidence, so that tokens may be saved.

        Of a record that makes several statements it may know some, and its vector is near to all of them.
        """
        least = self._settings.without_evidence_from
        if least is None or not choice.routed or not hits:
            return False
        record = hits[0].record
        return record.id == choice.record and choice.similarity >= least and len(statements(record.text)) == 1

    def _compose(self, case: Case, rules: Sequence[Record], *, spared: bool) -> None:
        case.preferences = tuple(rule.text for rule in rules)
        case.rules = tuple(self._stated(rules, case.choice.adapters))
        case.turns = prompt(case.question, case.shown, case.rules, dated=self._settings.dated)
        case.trace.append(f"{len(case.shown)} passages of evidence, {len(case.rules)} rules stated")
        if cut := sum(hit.excerpt is not None for hit in case.shown):
            case.trace.append(f"{cut} of the passages cut to what is nearest to the question: answer.sentences")
        if case.choice.masked:
            case.trace.append(f"{', '.join(case.choice.masked)} masked until the next window: some of it is stale")
        if spared:
            case.trace.append("the evidence is left out of the prompt: the shard that answers has learned it")
        case.trace.append(case.choice.reason)

    @staticmethod
    def _stated(rules: Sequence[Record], adapters: Sequence[AdapterVersion]) -> list[Record]:
        learned = {record_id for version in adapters for record_id in version.record_ids}
        return [rule for rule in rules if not (rule.id in learned and rule.learning is Learning.LEARNED)]

    def _may_change(self, case: Case) -> bool:
        """Tell whether what is written may not be what is said, so that nothing can be streamed before it is whole.

        Standing on nothing it may abstain; standing on a statement it may be replaced by it.
        """
        return quotable(case.shown, self._settings) is not None or abstains(
            evidence=bool(case.hits),
            learned=bool(case.choice.routed),
            confidence=0.0,
            threshold=self._settings.min_confidence,
        )

    def _finish(self, case: Case, written: Generation, mode: Mode, seconds: dict[str, float]) -> Answer:
        confidence = math.exp(min(0.0, written.mean_logprob))
        silent = abstains(
            evidence=bool(case.hits),
            learned=bool(case.choice.routed),
            confidence=confidence,
            threshold=self._settings.min_confidence,
        )
        if silent:
            case.trace.append(f"abstained: no evidence, no adapter, confidence {confidence:.2f}")
        unknown = written.text.startswith(UNKNOWN)  # a preference may add its closing
        if unknown:
            case.trace.append("abstained: that nothing is known is what was learned for such questions")
        return Answer(
            id=str(ULID()),
            question=case.question,
            text=UNKNOWN if silent else written.text,
            mode=mode,
            sources=case.hits,
            adapters=case.spoke,
            abstained=silent or unknown,
            trace=tuple(case.trace),
            prompt_tokens=written.prompt_tokens,
            completion_tokens=written.completion_tokens,
            seconds=seconds,
            confidence=confidence,
            masked=case.choice.masked,
            shown=tuple(hit.record.id for hit in case.shown),
            written=() if silent else case.written,
            vote=case.vote,
            no_adapter=no_adapter(case),
        )


def _unless_evidence_is_nearer(choice: Choice, hits: Sequence[Hit], looks: Looks) -> Choice:
    """Leave a shard out when the best evidence is nearer to the question than anything the shard learned.

    The question is then about something that is only in retrieval, such as a price; a shard that knows
    its neighbours would answer with one of them.
    """
    if not choice.routed or not hits or hits[0].record.id in choice.routed[0].record_ids:
        return choice
    lead = BY_MEANING * (looks.behind(hits[0].record.id) - looks.behind(choice.record))
    if not hits[0].similarity + lead > choice.similarity:
        return choice
    reason = f"{choice.routed[0].id} left out: evidence is nearer ({hits[0].similarity:.2f} > {choice.similarity:.2f})"
    return replace(choice, routed=(), reason=reason, group="")
