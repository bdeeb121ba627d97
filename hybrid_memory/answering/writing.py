"""Write the answers: labels are chosen, the rest is generated, and behaviour has the last word.

The shard that knows about a question answers it alone. Summed with a behaviour adapter, an adapter of examples gave
38 of 64 labels right and adapters of facts 34 of 72 hard questions; alone 44 and 37 (development company). It also
means that what is learned later, about anything else, does not change how a shard answers.

Flow:    prompts and adapters -> [writing] -> texts
Imports: types, protocols, config; the other modules of this stage.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from hybrid_memory.answering.adapter_choice import Choice
from hybrid_memory.answering.faithfulness import quotable, unfaithful
from hybrid_memory.answering.labels import choose, vote
from hybrid_memory.answering.prompting import as_shown
from hybrid_memory.config import AnswerSettings
from hybrid_memory.evidence import ask
from hybrid_memory.protocols import LanguageModel, Progress
from hybrid_memory.types import EXAMPLES, FACTS, AdapterVersion, Generation, Hit, Kind, Record, Stretch, Turn

__all__ = ["LAST_WORDS", "Case", "write"]

LAST_WORDS = 32
"""Most tokens that behaviour adds to what a shard of facts has said."""


@dataclass(slots=True)
class Case:
    """One question on its way to an answer."""

    question: str
    hits: tuple[Hit, ...] = ()
    choice: Choice = field(default_factory=lambda: Choice((), (), (), -1.0, "weights are left out"))
    turns: tuple[Turn, ...] = ()
    trace: list[str] = field(default_factory=list)
    shown: tuple[Hit, ...] = ()
    """The evidence in the prompt."""
    rules: tuple[Record, ...] = ()
    """The preferences that the prompt states, newest first."""
    preferences: tuple[str, ...] = ()
    """What answers should be like: the preferences that the prompt states, and those that were learned."""
    written: tuple[Stretch, ...] = ()
    """The answer as it came about."""
    known: str = ""
    """Text of the learned record for which the shard that answers was chosen."""
    vote: Mapping[str, float] = field(default_factory=dict)
    """The labels it was chosen from, with their shares."""
    unfaithful: str = ""
    """Why the evidence was quoted in place of what had been written; empty when it was not."""

    @property
    def spoke(self) -> tuple[str, ...]:
        """The adapters that had a part in the answer, in the order in which they spoke."""
        return tuple(dict.fromkeys(adapter for stretch in self.written for adapter in stretch.adapters))


def write(
    cases: Sequence[Case],
    *,
    language_model: Callable[[], LanguageModel],
    settings: AnswerSettings,
    max_new_tokens: int,
    on_text: Callable[[str], None] | None = None,
    progress: Progress | None = None,
) -> list[Generation]:
    """Return what is written for each case; cases that share adapters are written together.

    Args:
        cases: with evidence, adapters and prompt.
        language_model: called when something has to be generated or scored.
        settings: how much an adapter's word counts in a label, and what is quoted.
        max_new_tokens: longest answer, without behaviour's last words.
        on_text: told the text of a single case as it grows.
        progress: told after each group of adapters.
    """
    written: dict[int, Generation] = {}
    shares = [vote(case.hits) for case in cases]
    for adapters, places in _grouped(cases, range(len(cases)), _speaking):
        labelled = [place for place in places if shares[place]]
        written |= _labels(cases, labelled, shares, language_model, settings.label_trust)
        free = [place for place in places if not shares[place]]
        if free:
            texts = language_model().generate(
                [cases[place].turns for place in free],
                adapters=adapters,
                max_new_tokens=max_new_tokens,
                on_text=on_text,
            )
            written |= zip(free, texts, strict=True)
            for place in free:
                cases[place].written = (Stretch(written[place].text, _names(adapters)),)
        if progress is not None:
            progress("answer", len(written), len(cases))
    if on_text is not None and len(cases) == 1 and shares[0]:
        on_text(written[0].text)
    free = [place for place in written if not shares[place]]
    written |= _quotes(cases, free, written, language_model, settings)
    closing = [
        place
        for place in written
        if not shares[place] and (cases[place].unfaithful or written[place].completion_tokens < max_new_tokens)
    ]
    written |= _last_words(cases, closing, written, language_model, on_text)
    return [written[place] for place in range(len(cases))]


def _speaking(case: Case) -> tuple[AdapterVersion, ...]:
    return case.choice.routed or case.choice.always


def _labels(
    cases: Sequence[Case],
    places: Sequence[int],
    shares: Sequence[Mapping[str, float]],
    language_model: Callable[[], LanguageModel],
    trust: float,
) -> dict[int, Generation]:
    """Choose among the labels of the neighbours; a shard that learned the task is asked, the bare model is not."""
    asked = [place for place in places if cases[place].choice.group == EXAMPLES and len(shares[place]) > 1]
    pairs = [(ask(cases[place].question), label) for place in asked for label in shares[place]]
    adapters = cases[asked[0]].choice.routed if asked else ()
    scored = iter(language_model().score(pairs, adapters=adapters) if pairs else ())
    chosen: dict[int, Generation] = {}
    for place in places:
        scores = {label: next(scored) for label in shares[place]} if place in asked else {}
        label, probability = choose(shares[place], scores, trust=trust)
        cases[place].written = (Stretch(label, _names(adapters if scores else ())),)
        cases[place].vote = shares[place]
        cases[place].trace.append(
            f"label {label} ({probability:.2f}): the {len(cases[place].hits)} nearest examples give it "
            f"{shares[place][label]:.2f}" + (", its adapter was asked too" if scores else "")
        )
        chosen[place] = Generation(text=label, prompt_tokens=0, completion_tokens=0, mean_logprob=math.log(probability))
    return chosen


def _quotes(
    cases: Sequence[Case],
    places: Sequence[int],
    written: Mapping[int, Generation],
    language_model: Callable[[], LanguageModel],
    settings: AnswerSettings,
) -> dict[int, Generation]:
    """Quote the evidence where nothing bears out what was written; the base says how likely it finds the quote.

    What the shard that answers has learned bears out as well: evidence about something else does not silence it.
    """
    quotes: dict[int, str] = {}
    for place in places:
        case, quote = cases[place], quotable(cases[place].shown, settings)
        if quote is None or quote == written[place].text:
            continue
        case.unfaithful = unfaithful(
            written[place].text,
            evidence=[*map(as_shown, case.shown), case.known],
            given=[case.question, *case.preferences],
            least=settings.quote_below,
        )
        if case.unfaithful:
            case.trace.append(f"the evidence is quoted in place of what was written: {case.unfaithful}")
            case.written = (Stretch(quote),)
            quotes[place] = quote
    scores = language_model().score([(cases[place].turns, quote) for place, quote in quotes.items()]) if quotes else ()
    return {
        place: replace(written[place], text=quote, mean_logprob=score)
        for (place, quote), score in zip(quotes.items(), scores, strict=True)
    }


def _last_words(
    cases: Sequence[Case],
    places: Sequence[int],
    written: Mapping[int, Generation],
    language_model: Callable[[], LanguageModel],
    on_text: Callable[[str], None] | None,
) -> dict[int, Generation]:
    """Go on with the behaviour adapters alone where a quote, or a shard of facts or of examples in free form, ended.

    A shard has learned to stop after its statement, whatever the scope's preferences want: with the last word left
    to behaviour a preference was followed in 24 of 24 answers about facts (development company).
    """
    closing = [
        place
        for place in places
        if cases[place].choice.group == FACTS or cases[place].unfaithful or _in_free_form(cases[place])
    ]
    whole: dict[int, Generation] = {}
    for always, group in _grouped(cases, closing, lambda case: case.choice.always):
        if not always:
            continue
        rests = language_model().generate(
            [cases[place].turns for place in group],
            adapters=always,
            begun=[written[place].text for place in group],
            max_new_tokens=LAST_WORDS,
            on_text=None if on_text is None else _spaced(on_text),
        )
        for place, rest in zip(group, rests, strict=True):
            whole[place] = _joined(written[place], rest)
            cases[place].written += (Stretch(rest.text, _names(always)),)
    return whole


def _names(adapters: Sequence[AdapterVersion]) -> tuple[str, ...]:
    return tuple(version.id for version in adapters)


def _in_free_form(case: Case) -> bool:
    """Tell whether examples that are no labels were shown; without any shown, a label is likelier."""
    return case.choice.group == EXAMPLES and any(hit.record.kind is Kind.EXAMPLE for hit in case.hits)


def _grouped(
    cases: Sequence[Case], places: Iterable[int], key: Callable[[Case], tuple[AdapterVersion, ...]]
) -> list[tuple[tuple[AdapterVersion, ...], list[int]]]:
    """Return the places that share adapters, with those adapters."""
    groups: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
    for place in places:
        groups[tuple(version.id for version in key(cases[place]))].append(place)
    return [(key(cases[group[0]]), group) for group in groups.values()]


def _joined(first: Generation, rest: Generation) -> Generation:
    """Put two generations of one answer together; the tokens of the prompt were read once for each."""
    tokens = first.completion_tokens + rest.completion_tokens
    mean = first.mean_logprob * first.completion_tokens + rest.mean_logprob * rest.completion_tokens
    return replace(
        first,
        text=first.text + _space_before(rest.text) + rest.text,
        completion_tokens=tokens,
        mean_logprob=mean / max(tokens, 1),
    )


def _space_before(text: str) -> str:
    return "" if not text or text[0] in ".,;:!?)" else " "


def _spaced(on_text: Callable[[str], None]) -> Callable[[str], None]:
    """Put the space between two generations before the first piece of the second."""
    begun = False

    def passed_on(piece: str) -> None:
        nonlocal begun
        on_text(piece if begun else _space_before(piece) + piece)
        begun = True

    return passed_on
