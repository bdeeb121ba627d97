"""Read the made-up companies that the benchmarks and the example learn from.

Flow:     data/companies/*.json, the demo's company -> [company_data] -> every benchmark that teaches a company
Imports:  hybrid_memory.errors, hybrid_memory.types

"dev" is for tuning; results are reported on "juniper", "halden" and "ostrava" only.
All text is written for this project: no company, product or person in it exists.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hybrid_memory.errors import NotFoundError
from hybrid_memory.types import Example

__all__ = [
    "REPORTED_COMPANIES",
    "TUNING_COMPANY",
    "Company",
    "CompanyFact",
    "Price",
    "PriceVersion",
    "Style",
    "Ticket",
    "load_company",
]

TUNING_COMPANY = "dev"
REPORTED_COMPANIES = ("juniper", "halden", "ostrava")

COMPANIES_FOLDER = Path(__file__).parent / "data" / "companies"


@dataclass(frozen=True, slots=True)
class CompanyFact:
    """One durable statement, three hard questions for it in other words, and a plain one in its vocabulary."""

    id: str
    statement: str
    question: str
    answer: str
    """One to four words that stand verbatim in `statement` and in no other statement of the company."""
    more_questions: tuple[str, ...]
    """Share few words with `statement`, as `question` does."""
    plain_question: str
    """How a colleague who knows the company's words asks: about a third to a half of the content words are shared."""

    @property
    def questions(self) -> tuple[str, ...]:
        """The three hard questions; they and `plain_question` are never training material."""
        return (self.question, *self.more_questions)


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a customer wrote, and the code of the desk that takes it."""

    text: str
    label: str


@dataclass(frozen=True, slots=True)
class Style:
    """A preference about answers that can be checked: they end with fixed words."""

    rule: str
    closing: str
    train: tuple[Example, ...]
    test: tuple[str, ...]
    """Questions on other topics than those of `train`."""

    def is_followed_by(self, answer: str) -> bool:
        """Tell whether `answer` ends with the closing words; space after them does not count."""
        return answer.rstrip().endswith(self.closing)


@dataclass(frozen=True, slots=True)
class PriceVersion:
    """One value of a price, from when it holds, and the sentence that says so."""

    value: str
    """Digits without a unit, as they stand in `sentence`; no value is part of another."""
    valid_from: datetime
    """Midnight UTC."""
    sentence: str


@dataclass(frozen=True, slots=True)
class Price:
    """One number of the company that has changed twice."""

    subject: str
    attribute: str
    question: str
    history: tuple[PriceVersion, ...]
    """Oldest first."""

    @property
    def current(self) -> PriceVersion:
        """The newest version."""
        return self.history[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Company:
    """Everything one made-up company can teach a memory, and what to test it with."""

    name: str
    about: str
    facts: tuple[CompanyFact, ...]
    desks: Mapping[str, str]
    """Label code -> what the desk is for; the meaning is for readers and is never shown to the model."""
    train_tickets: tuple[Ticket, ...]
    test_tickets: tuple[Ticket, ...]
    preference: Style
    prices: tuple[Price, ...]
    volatile: tuple[str, ...]
    """Statements that are stale within days; they belong in retrieval only."""
    chatter: tuple[str, ...]
    """Messages that are worth no memory at all."""

    def part(self, step: int) -> "Company":
        """Return a smaller company: every `step`-th of everything."""
        style = self.preference
        return replace(
            self,
            facts=self.facts[::step],
            train_tickets=self.train_tickets[::step],
            test_tickets=self.test_tickets[::step],
            preference=replace(style, train=style.train[::step], test=style.test[::step]),
            prices=self.prices[::step],
        )


def load_company(name: str | Path) -> Company:
    """Return a company by its name in data/companies ("dev"), or from the path of its JSON file.

    Raises:
        NotFoundError: there is no such file.
    """
    path = name if isinstance(name, Path) else COMPANIES_FOLDER / f"{name}.json"
    if not path.is_file():
        known = ", ".join(sorted(found.stem for found in COMPANIES_FOLDER.glob("*.json")))
        raise NotFoundError(f"no company file {path.name!r}; known names are {known}, or give the Path of a JSON file")
    data = json.loads(path.read_text(encoding="utf-8"))
    return Company(
        name=data["name"],
        about=data["about"],
        facts=tuple(CompanyFact(**{**row, "more_questions": tuple(row["more_questions"])}) for row in data["facts"]),
        desks=data["desks"],
        train_tickets=tuple(Ticket(**row) for row in data["tickets"]["train"]),
        test_tickets=tuple(Ticket(**row) for row in data["tickets"]["test"]),
        preference=_style(data["preference"]),
        prices=tuple(_price(row) for row in data["prices"]),
        volatile=tuple(data["volatile"]),
        chatter=tuple(data["chatter"]),
    )


def _style(row: Mapping[str, Any]) -> Style:
    train = tuple(Example(**example) for example in row["train"])
    return Style(rule=row["rule"], closing=row["closing"], train=train, test=tuple(row["test"]))


def _price(row: Mapping[str, Any]) -> Price:
    history = tuple(
        PriceVersion(step["value"], datetime.fromisoformat(step["valid_from"]).replace(tzinfo=UTC), sentence)
        for step, sentence in zip(row["history"], row["sentences"], strict=True)
    )
    return Price(row["subject"], row["attribute"], row["question"], history)
