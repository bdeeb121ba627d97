"""Practise a preference: ordinary questions, answered as the rule wants.

Flow:    preference -> [practice] -> demonstrations
Imports: types, protocols, forms.

A small model does not follow a rule it is told (0 of 12 with the rule in the system prompt,
benchmarks/LOG.md, first trials), but it learns from answers that follow it. When the rule has a form that can
be checked, those answers are made from the model's own ones: they keep its knowledge and its style.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from hybrid_memory.forms import checkable_form
from hybrid_memory.protocols import LanguageModel
from hybrid_memory.types import StudyItem, Turn

__all__ = ["practice"]

_SENTENCE = re.compile(r"[^\s.!?][^\n]*?[.!?]+(?=\s|$)", re.MULTILINE)
ANSWER_TOKENS = 48
DISTRACTED = 3
"""One prompt in so many stands beside a fact that does not answer it."""


def practice(
    rule: str,
    prompts: Sequence[str],
    language_model: LanguageModel,
    *,
    facts: Sequence[tuple[str, str]] = (),
    held_out: int,
) -> list[StudyItem]:
    """Return the model's own short answers to the prompts, brought into the rule's form; empty without a form.

    The facts are answered with what they say, in the same form: an adapter that is always on must not unlearn
    to read evidence. Some prompts are studied with a fact beside them that has nothing to do with them, so that it
    does not learn to repeat whatever it is shown.

    Args:
        rule: the preference.
        prompts: ordinary questions.
        facts: (fact, question) pairs, studied with the fact in evidence.
        language_model: answers them without adapters.
        held_out: how many, evenly spread, are kept for the gate; at most half of those that were answered.
    """
    form = checkable_form(rule)
    if form is None:
        return []
    chats = [(Turn("user", prompt),) for prompt in prompts]
    answers = [short(one.text) for one in language_model.generate(chats, max_new_tokens=ANSWER_TOKENS)]
    items = [
        StudyItem(prompt=prompt, response=form(answer), form="demonstration", own=True)
        for prompt, answer in zip(prompts, answers, strict=True)
        if answer
    ]
    held_out = min(held_out, len(items) // 2)
    step = max(1, len(items) // max(1, held_out))
    studied = [
        replace(item, held_out=True) if number % step == 0 and number // step < held_out else item
        for number, item in enumerate(items)
    ]
    read = [
        StudyItem(prompt=question, response=form(fact), form="evidence", evidence=(fact,)) for fact, question in facts
    ]
    return [*_distracted(studied, [fact for fact, _ in facts]), *read]


def _distracted(items: Sequence[StudyItem], facts: Sequence[str]) -> list[StudyItem]:
    """Put a fact that does not answer it beside every third item that is studied."""
    if not facts:
        return list(items)
    return [
        replace(item, evidence=(facts[number // DISTRACTED % len(facts)],))
        if number % DISTRACTED == 1 and not item.held_out
        else item
        for number, item in enumerate(items)
    ]


def short(answer: str) -> str:
    r"""Return the first two whole sentences, on one line; empty when there is none.

    >>> short("Yes. It is open.\nCome in! Or n")
    'Yes. It is open.'
    >>> short("It is 3.5 km away")
    ''
    """
    return " ".join(part.strip() for part in _SENTENCE.findall(answer)[:2])
