"""Study material that the language model writes itself: SEAL's self-edit, in question form.

Flow:    records -> [model generator] -> verification, consolidation
Imports: types, protocols, forms; the other modules of this stage.

The model is shown three statements with a question each and continues with questions for the new
one. Plain completion, not chat: small instruct models write better questions that way
(parametric.md, section 8).
"""

from __future__ import annotations

from collections.abc import Sequence

from hybrid_memory.forms import is_shown
from hybrid_memory.protocols import LanguageModel, Progress
from hybrid_memory.selfedit.compiled import random_of
from hybrid_memory.selfedit.statements import statements
from hybrid_memory.types import Record, SelfEdit, StudyItem

__all__ = ["ModelGenerator"]

SHOTS = """Statement: Parcels heavier than 30 kilos leave the depot from gate Maple.
Question: Which gate do very heavy parcels go out through?

Statement: New volunteers are trained by the Osprey group on the first Monday of each month.
Question: Who teaches people who have just joined as volunteers?

Statement: The museum shop gives a discount of 15 percent to holders of a blue card.
Question: How much cheaper is the shop with a blue card?

Statement: {}
Question:"""
MAX_QUESTION_TOKENS = 24
MIN_WORDS = 4


class ModelGenerator:
    """Samples questions for each statement; the answer is always the statement, so it is supported."""

    name = "model"

    def __init__(self, language_model: LanguageModel, *, samples: int, temperature: float) -> None:
        """Write `samples` questions per statement at `temperature`."""
        self._lm = language_model
        self._samples = samples
        self._temperature = temperature

    def write(self, records: Sequence[Record], *, seed: int, progress: Progress | None = None) -> list[SelfEdit]:
        """Return one self-edit per record: questions for each statement, none about what is shown."""
        items: dict[str, list[StudyItem]] = {record.id: [] for record in records}
        places = [
            (record.id, sentence) for record in records if not is_shown(record) for sentence in statements(record.text)
        ]
        dropped: dict[str, int] = dict.fromkeys(items, 0)
        for done, (record_id, sentence) in enumerate(places, start=1):
            # one statement at a time: what is sampled for it must not depend on what else is in the window,
            # or a shard rebuilt without a record would differ from one that never had it
            (questions,) = self._lm.complete(
                [SHOTS.format(sentence)],
                max_new_tokens=MAX_QUESTION_TOKENS,
                temperature=self._temperature,
                seed=random_of(sentence, seed).getrandbits(63),
                samples=self._samples,
            )
            kept = [one for one in dict.fromkeys(questions) if is_question(one)]
            dropped[record_id] += len(questions) - len(kept)
            items[record_id] += [StudyItem(prompt=one, response=sentence, form="question") for one in kept]
            if progress is not None:
                progress("write", done, len(places), self.name)
        return [
            SelfEdit(
                record_id=record.id,
                items=tuple(items[record.id]),
                generator=self.name,
                seed=seed,
                dropped={"no question": dropped[record.id]} if dropped[record.id] else {},
            )
            for record in records
        ]


def is_question(text: str) -> bool:
    """Tell whether a written line is one whole question.

    >>> is_question("Which gate is it?"), is_question("It is gate 4."), is_question("Why?")
    (True, False, False)
    """
    return text.endswith("?") and len(text.split()) >= MIN_WORDS and "Statement:" not in text
