"""Facts, examples and preferences -> contents.

Flow:    Fact, Example, Preference -> [statements] -> stamp -> drafts
Imports: types, and the modules beside it.
"""

from __future__ import annotations

import re

from hybrid_memory.ingest.slots import SlotRules
from hybrid_memory.ingest.stamp import Content
from hybrid_memory.ingest.text import normalise
from hybrid_memory.types import Example, Fact, Kind, Preference

__all__ = ["read_example", "read_fact", "read_preference"]

DETERMINED = re.compile(r"(?:the|an?|my|our|your|his|her|its|their|this|that)\s|.*['’]s?\s", re.IGNORECASE)
"""Begins with an article or a possessive: needs no other."""
PLURAL = re.compile(r"(?!(?:news|series)$).*(?<![sui])s$", re.IGNORECASE)
""""hours" and "prices", but not "address", "status" or "analysis"."""


def read_fact(fact: Fact, *, rules: SlotRules, max_chars: int) -> Content:
    """Return a fact's sentence with its slot; synonyms of an attribute share one slot.

    Raises:
        InputError: subject, attribute or value is empty, or one is too long.
    """
    subject, attribute, value = (
        " ".join(normalise(part, what=f"the fact's {name}", max_chars=max_chars).split())
        for name, part in (("subject", fact.subject), ("attribute", fact.attribute), ("value", fact.value))
    )
    text = _sentence(subject, attribute, value) if fact.text is None else fact.text
    return Content(
        text=normalise(text, what="the fact's text", max_chars=max_chars),
        kind=Kind.FACT,
        slot=rules.slot(subject, attribute, value.rstrip(". ")),
        value=value.rstrip(". "),
        source="fact",
    )


def read_example(example: Example, *, max_chars: int) -> Content:
    """Return one demonstration; it is found by its prompt.

    Raises:
        InputError: prompt or response is empty or too long.
    """
    clean = _clean(example, "the example", max_chars)
    return Content(
        text=f"Input: {clean.prompt}\nOutput: {clean.response}",
        kind=Kind.EXAMPLE,
        examples=(clean,),
        passages=(clean.prompt,),
        source="example",
    )


def read_preference(preference: Preference, *, max_chars: int) -> Content:
    """Return a rule with its demonstrations.

    Raises:
        InputError: the rule or a part of an example is empty or too long.
    """
    return Content(
        text=normalise(preference.rule, what="the rule", max_chars=max_chars),
        kind=Kind.PREFERENCE,
        examples=tuple(
            _clean(example, f"example {number} of the rule", max_chars)
            for number, example in enumerate(preference.examples)
        ),
        source="preference",
    )


def _clean(example: Example, what: str, max_chars: int) -> Example:
    return Example(
        normalise(example.prompt, what=f"{what}'s prompt", max_chars=max_chars),
        normalise(example.response, what=f"{what}'s response", max_chars=max_chars),
    )


def _sentence(subject: str, attribute: str, value: str) -> str:
    """Write "The <attribute> of <subject> is <value>."; a subject that ends in a common noun gets an article."""
    name = re.sub(r"^the\s+", "", attribute.replace("_", " "), flags=re.IGNORECASE)
    common = subject.split()[-1][0].islower() and not DETERMINED.match(subject)
    owner = f"the {subject}" if common else re.sub(r"^(?:The|A|An|My|Our)(?= )", lambda word: word[0].lower(), subject)
    verb = "are" if PLURAL.match(name) else "is"
    return f"The {name} of {owner} {verb} {value.rstrip('. ')}."
