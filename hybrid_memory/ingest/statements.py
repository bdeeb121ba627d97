"""Facts, examples, preferences and tasks -> contents.

Flow:    Fact, Example, Preference, Task -> [statements] -> stamp -> drafts
Imports: errors, types, and the modules beside it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from hybrid_memory.errors import InputError
from hybrid_memory.ingest.slots import SlotRules
from hybrid_memory.ingest.stamp import Content
from hybrid_memory.ingest.text import has_unseen, is_blank, normalise
from hybrid_memory.types import Example, Fact, Kind, Preference, Slot, Task, quoted

__all__ = ["read_example", "read_fact", "read_preference", "read_task"]

TASK = "(task)"
"""Attribute of the slot that a task fills under its name; no sentence and no fact fills it."""
LONGEST_NAME = 64
MOST_SHOWN = 8000
"""Characters of all demonstrations of a task: as chat turns they must fit before a question, and a grid's digits are a
token each (the default model reads 8,192)."""

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
    if attribute.casefold() == TASK:
        raise InputError(f"the attribute {TASK!r} is kept for tasks; ingest Task(name, demonstrations)")
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
        InputError: the rule or a part of an example is empty or too long, or the examples are none.
    """
    _require_examples("the rule", preference.examples)
    return Content(
        text=normalise(preference.rule, what="the rule", max_chars=max_chars),
        kind=Kind.PREFERENCE,
        examples=tuple(
            _clean(example, f"example {number} of the rule", max_chars)
            for number, example in enumerate(preference.examples)
        ),
        source="preference",
    )


def read_task(task: Task, *, max_chars: int) -> Content:
    """Return a task as one record, its demonstrations letter by letter: blanks and line ends are part of a grid.

    Raises:
        InputError: the name is empty, too long or more than a line; fewer than two demonstrations, or some that
            contradict each other, are empty or have characters that cannot be seen; or they are too long together.
    """
    if not isinstance(task.name, str):
        raise InputError(f"a task's name is text, got {quoted(task.name)}")
    name = normalise(task.name, what="the task's name", max_chars=max_chars)
    if "\n" in name or len(name) > LONGEST_NAME:
        raise InputError(f"a task's name is one line of up to {LONGEST_NAME} characters, got {quoted(name)}")
    shown = _demonstrations(f"task {quoted(name)}", task.demonstrations, min(max_chars, MOST_SHOWN))
    pairs = "\n\n".join(f"Input:\n{one.prompt}\nOutput:\n{one.response}" for one in shown)
    return Content(
        text=f"Task {name}\n\n{pairs}",
        kind=Kind.TASK,
        slot=Slot(name, TASK),
        examples=shown,
        source="task",
    )


def _demonstrations(what: str, given: Sequence[Example], most: int) -> tuple[Example, ...]:
    """Return the demonstrations, each once."""
    _require_examples(what, given)
    shown = tuple(dict.fromkeys(given))
    answers: dict[str, str] = {}
    for number, one in enumerate(shown):
        _require_seen(one.prompt, f"the prompt of demonstration {number} of {what}")
        _require_seen(one.response, f"the response of demonstration {number} of {what}")
        if answers.setdefault(one.prompt, one.response) != one.response:
            raise InputError(
                f"{what} answers {quoted(one.prompt)} with {quoted(answers[one.prompt])} and with "
                f"{quoted(one.response)}; keep the demonstration that is right"
            )
    if len(shown) < 2:
        raise InputError(f"{what} needs at least two different demonstrations, got {len(shown)}")
    length = sum(len(one.prompt) + len(one.response) for one in shown)
    if length > most:
        raise InputError(
            f"the demonstrations of {what} have {length} characters, accepted are up to {most}: they must fit into "
            "the model's context; give fewer or shorter ones"
        )
    return shown


def _require_examples(what: str, given: object) -> None:
    if not isinstance(given, list | tuple) or not all(isinstance(one, Example) for one in given):
        raise InputError(f"{what} is shown by a list of Example(prompt, response), got {quoted(given)}")


def _require_seen(text: object, what: str) -> None:
    if not isinstance(text, str) or is_blank(text):
        raise InputError(f"{what} is {'empty' if isinstance(text, str) else quoted(text)}; give it some text")
    if has_unseen(text):
        raise InputError(f"{what} has characters that nobody can see; remove them, for it is kept as it is")


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
