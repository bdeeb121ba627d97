"""What a shard of facts should leave alone: ordinary questions, and questions about what nobody told.

Flow:    verified material -> [restraint] -> trainer
Imports: types, protocols, evidence, ordinary; the other modules of this stage.

A shard that is asked about a neighbour of what it learned says what it learned: plain questions about six facts that
nobody told got a learned value in 6 of 6 answers (benchmarks/LOG.md, Gate). So a record's questions can be studied once
more with one of its words exchanged, and the answer that nothing is known; and ordinary questions with the base's own
answers, whose whole distribution is followed (KL to the frozen base). Both are pure functions of the material, the seed
and the base, so that a rebuilt shard studies the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from random import Random

from hybrid_memory.evidence import UNKNOWN, ask
from hybrid_memory.ordinary import study_prompts
from hybrid_memory.protocols import LanguageModel
from hybrid_memory.selfedit.compiled import random_of
from hybrid_memory.statements import content_words
from hybrid_memory.types import SelfEdit, StudyItem

__all__ = ["ordinary_answers", "with_ordinary", "with_unknown"]

ANSWER_TOKENS = 48
"""Of the ordinary prompts the default model answers 15 of 48 to the end within these."""
OTHERS = (
    "apprentices", "balcony", "bicycles", "candles", "carpet", "chimney", "choir", "curtains", "dentist", "ferry",
    "fountain", "garden", "guitar", "horses", "kitchen", "lanterns", "laundry", "library", "lighthouse", "magazine",
    "mirror", "museum", "orchard", "organ", "painters", "parrot", "piano", "poem", "saddle", "sailors",
    "sculpture", "staircase", "sundial", "swimmers", "tailor", "telescope", "theatre", "toys", "umbrella", "vineyard",
)  # fmt: skip
"""What a question is asked about instead: concrete things from all over."""


def with_unknown(edits: Sequence[SelfEdit], *, seed: int, count: int) -> list[SelfEdit]:
    """Add per record up to `count` of its questions about something else, answered with not knowing."""
    return [replace(edit, items=(*edit.items, *_elsewhere(edit, seed, count))) for edit in edits]


def with_ordinary(edits: Sequence[SelfEdit], answers: Mapping[str, str], *, seed: int, count: int) -> list[SelfEdit]:
    """Add per record of facts up to `count` ordinary questions with the base's own answers.

    Args:
        edits: verified material; only records with questions get any.
        answers: prompt -> what the base says, as `ordinary_answers` gives it.
        seed: decides which prompts, together with what the record says.
        count: per record.
    """
    prompts = sorted(answers)
    extended = []
    for edit in edits:
        random = _random(edit, seed, "ordinary")
        chosen = random.sample(prompts, min(count, len(prompts))) if _questions(edit) else []
        items = [StudyItem(prompt=one, response=answers[one], form="general", own=True) for one in chosen]
        extended.append(replace(edit, items=(*edit.items, *items)))
    return extended


def ordinary_answers(language_model: LanguageModel) -> dict[str, str]:
    """Return what the base says to ordinary prompts that material may use, where it ends by itself within 48 tokens.

    An answer that is cut off would teach to stop there.
    """
    prompts = study_prompts()
    written = language_model.generate([ask(prompt) for prompt in prompts], max_new_tokens=ANSWER_TOKENS)
    return {
        prompt: one.text
        for prompt, one in zip(prompts, written, strict=True)
        if one.text and one.completion_tokens < ANSWER_TOKENS
    }


def _elsewhere(edit: SelfEdit, seed: int, count: int) -> Iterator[StudyItem]:
    """Yield questions in which one of the words that the statement has is another one."""
    random = _random(edit, seed, "unknown")
    asked = _questions(edit)
    for item in random.sample(asked, min(count, len(asked))):
        there = set(_words(item.basis))
        shared = [word for word in _words(item.prompt) if word in there]
        other = random.choice([word for word in OTHERS if word not in there])
        if shared:
            swapped = re.sub(rf"\b{re.escape(random.choice(shared))}\b", other, item.prompt, flags=re.IGNORECASE)
            yield replace(item, prompt=swapped, response=UNKNOWN, form="unknown", source="")


def _questions(edit: SelfEdit) -> list[StudyItem]:
    return [item for item in edit.items if item.asks and not (item.held_out or item.evidence)]


def _words(text: str) -> list[str]:
    return [word.casefold() for word in content_words(text)]


def _random(edit: SelfEdit, seed: int, purpose: str) -> Random:
    return random_of(purpose + "".join(sorted({item.response for item in _questions(edit)})), seed)
