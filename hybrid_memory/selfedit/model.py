"""Study material that the language model writes itself: SEAL's self-edit, in question form.

Flow:    records -> [model generator] -> verification, consolidation
Imports: types, protocols, forms; the other modules of this stage.

The model is shown three statements with a question each and continues with questions for the new
one. Plain completion, not chat: small instruct models write better questions that way
(benchmarks/LOG.md, first trials).
"""

from __future__ import annotations

from hybrid_memory.forms import is_shown
from hybrid_memory.protocols import LanguageModel
from hybrid_memory.selfedit.compiled import random_of
from hybrid_memory.statements import statements
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

    def write(self, record: Record, *, seed: int) -> SelfEdit:
        """Return questions for each statement of a record; none about one that is shown."""
        items: list[StudyItem] = []
        dropped = 0
        for sentence in [] if is_shown(record) else statements(record.text):
            (questions,) = self._lm.complete(
                [SHOTS.format(sentence)],
                max_new_tokens=MAX_QUESTION_TOKENS,
                temperature=self._temperature,
                seed=random_of(sentence, seed).getrandbits(63),
                samples=self._samples,
            )
            kept = [one for one in dict.fromkeys(questions) if is_question(one)]
            dropped += len(questions) - len(kept)
            items += [StudyItem(prompt=one, response=sentence, form="question") for one in kept]
        return SelfEdit(
            record_id=record.id,
            items=tuple(items),
            generator=self.name,
            seed=seed,
            dropped={"no question": dropped} if dropped else {},
        )


def is_question(text: str) -> bool:
    """Tell whether a written line is one whole question.

    >>> is_question("Which gate is it?"), is_question("It is gate 4."), is_question("Why?")
    (True, False, False)
    """
    return text.endswith("?") and len(text.split()) >= MIN_WORDS and "Statement:" not in text
