"""A stream of windows for one made-up company: facts, updates, rumours, a rule, examples, prices, deletions.

Flow:     a company (or a public set) -> [stream] -> forgetting
Imports:  company_data, the public API

Everything is drawn from a seed: the same company and seed give the same stream. What arrives when, and what happens to
which fact, stands in `PLAN`. Facts that are never told serve as controls: nobody may know them.
"""

from __future__ import annotations

import itertools
import json
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from benchmarks.company_data import Company, CompanyFact, Ticket
from hybrid_memory import Example, Fact, Preference
from hybrid_memory.errors import NotFoundError
from hybrid_memory.grading import said

__all__ = ["Question", "Step", "Stream", "company_stream", "passage_stream", "reworded_value"]

COLOURS = ("teal", "crimson", "amber", "mauve", "olive", "magenta", "ivory", "russet")
NUMBERS = ("seven", "nine", "twelve", "thirteen", "sixteen", "eighteen", "twenty", "twenty-two")
KNOWN_COLOURS = {"lilac", "turquoise", "ochre", "indigo", "saffron", "tangerine", *COLOURS}
KNOWN_NUMBERS = {"eight", "ten", "eleven", "fourteen", "fifteen", "nineteen", *NUMBERS}
SYLLABLES = (
    ("Bren", "Cal", "Dor", "Fen", "Hal", "Mar", "Nor", "Pel", "Quen", "Tar", "Ul", "Ves"),
    ("ba", "di", "ga", "lo", "mi", "ra", "so", "tu"),
    ("ck", "dale", "field", "mont", "ra", "rick", "ster", "wyn"),
)


@dataclass(frozen=True, slots=True)
class Question:
    """One question with the values that are right from one window on."""

    id: str
    window: int
    """Which window brought what it asks for, from 0."""
    kind: str
    """"plain", "hard", "ticket", "rule" (of the accuracy matrix), "price", "updated", "rumoured" or "deleted"."""
    text: str
    record: str
    """Key of the step that holds the answer."""
    values: tuple[tuple[int, str], ...]
    """(window from which it is right, value), oldest first."""
    score: Callable[[str, str], float]
    """(value, answer) -> in [0, 1]."""

    def value(self, window: int) -> str:
        """Return the right value after a window."""
        return [value for start, value in self.values if start <= window][-1]

    def right(self, answer: str, window: int) -> float:
        """Return the score of an answer given after a window."""
        return self.score(self.value(window), answer)

    def stale(self, answer: str, window: int) -> bool:
        """Tell whether the answer says a value that was right once."""
        return any(
            said(value, answer) for start, value in self.values if start <= window and value != self.value(window)
        )


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that is told in a window."""

    key: str
    x: object
    source: str = "handbook"
    trust: str = "operator"
    route: str | None = "learn"
    supersedes: str | None = None
    """Key of the step it replaces."""
    valid_from: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """All windows, all questions, and what is done after the last window."""

    name: str
    steps: tuple[tuple[Step, ...], ...]
    """What is told, window by window."""
    deletions: tuple[tuple[str, ...], ...] = ()
    """Keys of the steps to forget, window by window."""
    questions: tuple[Question, ...]
    contradictions: tuple[tuple[str, str, str, str], ...] = ()
    """(key, question, new statement, new value): told after the last window and not learned any more."""
    to_forget: tuple[str, ...] = ()
    """Keys to forget at the end, in both halves at once."""
    controls: tuple[str, ...] = ()
    """Statements of the same company that were never told."""
    unknown: tuple[str, ...] = ()
    """Questions about them."""
    statements: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Key of a fact -> (statement, answer)."""

    @property
    def windows(self) -> int:
        """How many windows there are."""
        return len(self.steps)

    def asked_after(self, window: int) -> list[Question]:
        """Return the questions about what has been told up to a window."""
        return [question for question in self.questions if question.window <= window]


@dataclass(frozen=True, slots=True)
class _Plan:
    """What happens when: windows and the windows whose facts it concerns, counted from 0."""

    facts: tuple[int, ...]
    """How many new facts each window brings; their number is the number of windows."""
    tickets_at: int
    rule_at: int
    prices_at: tuple[int, int, int]
    updates: tuple[tuple[int, int], ...]
    rumours: tuple[tuple[int, int], ...]
    deletions: tuple[tuple[int, int], ...]
    contradicted: tuple[int, ...]
    forgotten: tuple[int, ...]


PLAN = _Plan((2, 0, 0, 2, 2, 0, 2, 2), 1, 2, (0, 3, 6), ((5, 0),), ((6, 3),), ((6, 4),), (3, 6, 7), (6, 7))
SMOKE = _Plan((2, 2, 2), 1, 1, (0, 1, 2), ((2, 0),), (), ((2, 1),), (1,), (2,))
TICKETS, TICKETS_ASKED, RULE_ASKED, PRICES = 16, 8, 6, 4
UNTOLD = 8
"""Facts that are never told: controls."""


def company_stream(company: Company, *, seed: int, smoke: bool = False) -> Stream:
    """Return the stream of one company; see the module's head.

    Args:
        company: facts, tickets, a rule and prices.
        seed: of the order of facts and of every new value.
        smoke: three windows and a few tickets.
    """
    plan, rng = (SMOKE if smoke else PLAN), random.Random(f"{company.name} {seed}")
    changeable = [fact for fact in company.facts if reworded_value(fact.answer, random.Random(0)) is not None]
    fixed = [fact for fact in company.facts if fact not in changeable]
    rng.shuffle(changeable)
    rng.shuffle(fixed)
    order = [*changeable, *fixed]
    ends = list(itertools.accumulate(plan.facts))
    told = [order[end - count : end] for end, count in zip(ends, plan.facts, strict=True)]
    untold = order[ends[-1] :][:UNTOLD]
    teller = _Teller(plan, told, rng)
    teller.tell_facts()
    teller.tell_tickets(company, smoke=smoke)
    teller.tell_rule(company)
    teller.tell_prices(company)
    return Stream(
        name=company.name,
        steps=tuple(tuple(steps) for steps in teller.steps),
        deletions=tuple(tuple(keys) for keys in teller.deletions),
        questions=tuple(teller.questions),
        contradictions=tuple(teller.contradict(told[window][1]) for window in plan.contradicted),
        to_forget=tuple(told[window][0].id for window in plan.forgotten),
        controls=tuple(fact.statement for fact in untold),
        unknown=tuple(fact.plain_question for fact in untold),
        statements={fact.id: (fact.statement, fact.answer) for facts in told for fact in facts},
    )


class _Teller:
    """Writes the steps and questions of one stream, window by window."""

    def __init__(self, plan: _Plan, told: Sequence[Sequence[CompanyFact]], rng: random.Random) -> None:
        self.plan, self.told, self.rng = plan, told, rng
        self.steps: list[list[Step]] = [[] for _ in plan.facts]
        self.deletions: list[list[str]] = [[] for _ in plan.facts]
        self.questions: list[Question] = []

    def tell_facts(self) -> None:
        """The first fact of some windows is later updated, contradicted by a rumour, or deleted; the others stay."""
        updated = {source: at for at, source in self.plan.updates}
        rumoured = {source: at for at, source in self.plan.rumours}
        deleted = {source: at for at, source in self.plan.deletions}
        for window, facts in enumerate(self.told):
            for fact in facts:
                self.steps[window].append(Step(fact.id, fact.statement))
            if not facts:
                continue
            first, *others = facts
            for fact in others:
                self._ask(fact, window, "")
            if window in updated:
                self._update(first, window, updated[window])
            elif window in rumoured:
                self._spread(first, window, rumoured[window])
            elif window in deleted:
                self.deletions[deleted[window]].append(first.id)
                self._ask(first, window, "deleted")
            else:
                self._ask(first, window, "")

    def tell_tickets(self, company: Company, *, smoke: bool) -> None:
        """Labelled examples in one window, asked about by unseen ones; they are asked again ever after."""
        count, asked = (8, 4) if smoke else (TICKETS, TICKETS_ASKED)
        labels = sorted(company.desks)
        window = self.plan.tickets_at
        for number, ticket in enumerate(_spread_over(company.train_tickets, labels, count)):
            self.steps[window].append(Step(f"ticket-{number}", Example(ticket.text, ticket.label), "ticket history"))
        for number, ticket in enumerate(_spread_over(company.test_tickets, labels, asked)):
            self.questions.append(
                Question(f"ticket-{number}", window, "ticket", ticket.text, "", ((0, ticket.label),), _only(labels))
            )

    def tell_rule(self, company: Company) -> None:
        """One rule about how to answer, in one window."""
        style, window = company.preference, self.plan.rule_at
        self.steps[window].append(Step("rule", Preference(style.rule, style.train), route=None))
        for number, text in enumerate(style.test[:RULE_ASKED]):
            self.questions.append(
                Question(f"rule-{number}", window, "rule", text, "rule", ((0, style.closing),), _ends_with)
            )

    def tell_prices(self, company: Company) -> None:
        """Prices that change twice: their place is retrieval."""
        for price in company.prices[:PRICES]:
            values = tuple(zip(self.plan.prices_at, (one.value for one in price.history), strict=True))
            for window, one in zip(self.plan.prices_at, price.history, strict=True):
                fact = Fact(price.subject, price.attribute, one.value, one.sentence)
                key = f"price-{price.subject}-{window}"
                self.steps[window].append(Step(key, fact, "price list", route=None, valid_from=one.valid_from))
            self.questions.append(
                Question(f"price-{price.subject}", 0, "price", price.question, f"price-{price.subject}", values, _says)
            )

    def contradict(self, fact: CompanyFact) -> tuple[str, str, str, str]:
        """Return a new value for a learned fact, to be told after the last window."""
        value = self._new(fact)
        return (fact.id, fact.plain_question, fact.statement.replace(fact.answer, value), value)

    def _update(self, fact: CompanyFact, window: int, at: int) -> None:
        value = self._new(fact)
        statement = fact.statement.replace(fact.answer, value)
        self.steps[at].append(Step(f"{fact.id}-new", statement, supersedes=fact.id))
        self._ask(fact, window, "updated", ((at, value),))

    def _spread(self, fact: CompanyFact, window: int, at: int) -> None:
        wrong = fact.statement.replace(fact.answer, self._new(fact))
        self.steps[at].append(Step(f"{fact.id}-rumour", wrong, "e-mail", "external", route=None))
        self._ask(fact, window, "rumoured")

    def _ask(self, fact: CompanyFact, window: int, kind: str, later: tuple[tuple[int, str], ...] = ()) -> None:
        values = ((0, fact.answer), *later)
        forms = ("plain", fact.plain_question), ("hard", fact.question), ("hard", fact.more_questions[0])
        for number, (form, text) in enumerate(forms):
            key = f"{fact.id}-{form}-{number}"
            self.questions.append(Question(key, window, kind or form, text, fact.id, values, _says))

    def _new(self, fact: CompanyFact) -> str:
        value = reworded_value(fact.answer, self.rng)
        if value is None:
            raise NotFoundError(f"no other value can be made for {fact.answer!r} of fact {fact.id}")
        return value


def reworded_value(answer: str, rng: random.Random) -> str | None:
    """Return another value of the same form, or None when the form is not understood.

    >>> reworded_value("640 kilograms", random.Random(0)) not in (None, "640 kilograms")
    True
    >>> reworded_value("quince tart", random.Random(0)) is None
    True
    """
    number = re.search(r"\d[\d,.]*", answer)
    if number:
        digits = int(re.sub(r"\D", "", number[0]))
        other = digits + rng.choice([-1, 1]) * max(3, digits // rng.randint(3, 6))
        return answer.replace(number[0], str(max(2, other)))
    if answer in KNOWN_COLOURS:
        return rng.choice([colour for colour in COLOURS if colour != answer])
    if answer in KNOWN_NUMBERS:
        return rng.choice([word for word in NUMBERS if word != answer])
    name = re.search(r"\b[A-Z][a-z]+", answer)
    return answer.replace(name[0], "".join(rng.choice(part) for part in SYLLABLES)) if name else None


def passage_stream(name: str, folder: Path, *, seed: int, windows: int = 8) -> Stream:
    """Return a stream of public passages with questions: "squad_seal" (SEAL's protocol) or "tofu".

    Each window brings one passage (squad_seal) or three statements about one author (tofu) and its questions.
    Nothing is updated or deleted.

    Args:
        name: "squad_seal" or "tofu".
        folder: --data-dir; `<folder>/<name>/dev.jsonl` is read.
        seed: which passages.
        windows: how many.

    Raises:
        NotFoundError: the file is not there.
    """
    file = folder / name / "dev.jsonl"
    if not file.is_file():
        raise NotFoundError(f"there is no {file}; give the folder of the public sets with --data-dir")
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    rng = random.Random(f"{name} {seed}")
    chosen = _squad_windows(rows, rng, windows) if name == "squad_seal" else _tofu_windows(rows, rng, windows)
    steps, questions = [], []
    for window, (texts, asked) in enumerate(chosen):
        steps.append(tuple(Step(f"{window}-{number}", text) for number, text in enumerate(texts)))
        for number, (question, answer, record) in enumerate(asked):
            score = _says if name == "squad_seal" else _recall
            key = f"{window}-{record}"
            questions.append(Question(f"{window}-{number}", window, "plain", question, key, ((0, answer),), score))
    return Stream(name=name, steps=tuple(steps), deletions=((),) * windows, questions=tuple(questions))


def _squad_windows(
    rows: list[dict[str, object]], rng: random.Random, windows: int
) -> list[tuple[list[str], list[tuple[str, str, int]]]]:
    found = []
    for row in rng.sample(rows, windows):
        questions = row["questions"]
        assert isinstance(questions, list)
        asked = [(f"{row['title']}: {one['question']}", str(one["answer"]), 0) for one in questions]
        found.append(([f"{row['title']}\n{row['context']}"], asked))
    return found


def _tofu_windows(
    rows: list[dict[str, object]], rng: random.Random, windows: int
) -> list[tuple[list[str], list[tuple[str, str, int]]]]:
    authors = sorted({str(row["author"]) for row in rows})
    found = []
    for author in rng.sample(authors, min(windows, len(authors))):
        own = [row for row in rows if str(row["author"]) == author]
        picked = rng.sample(own, 3)
        texts = [str(row["answer"]) for row in picked]
        found.append(
            (
                texts,
                [
                    (str(row["question"]), text, number)
                    for number, (row, text) in enumerate(zip(picked, texts, strict=True))
                ],
            )
        )
    return found


def _spread_over(tickets: Sequence[Ticket], labels: Sequence[str], count: int) -> list[Ticket]:
    """Return `count` tickets, as many of each label as possible, in the order they stand."""
    by_label = [[ticket for ticket in tickets if ticket.label == label] for label in labels]
    return [of_label[place] for place in range(-(-count // len(labels))) for of_label in by_label][:count]


def _says(value: str, answer: str) -> float:
    return float(said(value, answer))


def _ends_with(value: str, answer: str) -> float:
    return float(answer.rstrip().endswith(value))


def _only(labels: Sequence[str]) -> Callable[[str, str], float]:
    return lambda value, answer: float(
        said(value, answer) and not any(said(other, answer) for other in labels if other != value)
    )


def _recall(value: str, answer: str) -> float:
    """Return the share of the expected words that the answer has (ROUGE-1 recall, as TOFU reports ROUGE recall)."""
    words = re.findall(r"\w+", value.casefold())
    there = set(re.findall(r"\w+", answer.casefold()))
    return sum(word in there for word in words) / max(1, len(words))
