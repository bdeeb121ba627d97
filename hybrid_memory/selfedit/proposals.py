"""Self-edits that can be learned to be written: a prompt, sampled answers to it, and what they make to study.

Flow:    passage -> [proposals] -> outer loop; with a trained generator also -> verification, consolidation
Imports: types, protocols, config, forms; the other modules of this stage.

One example stands before the passage, because a model of 135M does not keep a form it is only told. The
passage's own statements are always studied too, as in SEAL, so that a poor sample is never worse than none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from hybrid_memory.config import OuterLoopSettings
from hybrid_memory.evidence import ask
from hybrid_memory.forms import is_shown
from hybrid_memory.protocols import LanguageModel
from hybrid_memory.selfedit.compiled import random_of
from hybrid_memory.selfedit.graders import contains
from hybrid_memory.statements import statements
from hybrid_memory.types import AdapterVersion, Example, Record, SelfEdit, StudyItem

__all__ = ["Proposal", "TrainedGenerator", "demonstration", "propose", "read_pairs"]

_REQUEST = "Write questions about the text, and a short answer to each.\n\nText: {}"
SHOTS = (
    Example(
        _REQUEST.format(
            "The old lighthouse of Varn was built by Ida Holm in 1871. It stands on a black rock north of the harbour "
            "and has been a museum since the lamp was put out."
        ),
        "Q: Who built the lighthouse of Varn?\nA: Ida Holm\nQ: When was the lighthouse built?\nA: 1871\n"
        "Q: Where does it stand?\nA: on a black rock north of the harbour\n"
        "Q: What is the lighthouse today?\nA: a museum",
    ),
)
_PAIR = re.compile(r"^Q: *(?P<question>.+?) *\n+A: *(?P<answer>.+?) *$", re.MULTILINE)
MOST_PAIRS = 12
"""Questions of one sample that are studied; a sample that repeats itself to the end is cut here."""
MIN_WORDS = 3
LONGEST_ANSWER = 24
"""Words; a longer one is no short answer."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """One sampled self-edit: the text, and what it makes to study beside the passage's statements."""

    text: str
    items: tuple[StudyItem, ...]


def propose(
    text: str,
    language_model: LanguageModel,
    *,
    samples: int,
    seed: int,
    temperature: float,
    max_new_tokens: int,
    adapters: Sequence[AdapterVersion] = (),
) -> list[Proposal]:
    """Return sampled self-edits of one passage; the same passage, seed and generator give the same ones."""
    chats = [ask(_REQUEST.format(text), shots=SHOTS)] * samples
    written = language_model.generate(
        chats,
        adapters=adapters,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        seed=random_of(text, seed).getrandbits(63),
    )
    return [Proposal(one.text, tuple(read_pairs(one.text, text))) for one in written]


def read_pairs(written: str, text: str) -> list[StudyItem]:
    r"""Return the pairs of a sample whose answers stand in the text; another form and repetitions are left out.

    >>> sample = "Q: Who was it?\nA: Ida\nQ: Why was it her?\nA: Chance\nQ: Who"
    >>> [(item.prompt, item.response) for item in read_pairs(sample, "Ida did it.")]
    [('Who was it?', 'Ida')]
    """
    found: dict[str, StudyItem] = {}
    for pair in _PAIR.finditer(written):
        question, answer = pair["question"], pair["answer"]
        whole = question.endswith("?") and len(question.split()) >= MIN_WORDS
        if whole and len(answer.split()) <= LONGEST_ANSWER and contains(text, answer):
            found.setdefault(question.casefold(), StudyItem(prompt=question, response=answer, form="self-qa"))
    return list(found.values())[:MOST_PAIRS]


def studied(text: str, proposal: Proposal) -> list[StudyItem]:
    """Return all that is trained on for a passage and a proposal: its statements, then the pairs."""
    return [StudyItem(prompt="", response=one, form="statement") for one in statements(text)] + list(proposal.items)


def demonstration(text: str, proposal: Proposal) -> StudyItem:
    """Return what teaches the generator to write this: the same prompt, with the sample's usable pairs as answer."""
    clean = "\n".join(f"Q: {item.prompt}\nA: {item.response}" for item in proposal.items)
    return StudyItem(prompt=_REQUEST.format(text), response=clean, form="demonstration", shots=SHOTS)


class TrainedGenerator:
    """Writes about statement-like records with the generator that the outer loop promoted."""

    name = "trained"

    def __init__(self, language_model: LanguageModel, adapter: AdapterVersion, *, settings: OuterLoopSettings) -> None:
        """Sample with the generator's adapter on, as it was trained: at the same temperature and length."""
        self._lm = language_model
        self._adapter = adapter
        self._settings = settings

    def write(self, record: Record, *, seed: int) -> SelfEdit:
        """Return pairs of question and short answer; none for examples and preferences."""
        items: tuple[StudyItem, ...] = ()
        dropped: dict[str, int] = {}
        if not is_shown(record):
            (proposal,) = propose(
                record.text,
                self._lm,
                samples=1,
                seed=seed,
                temperature=self._settings.temperature,
                max_new_tokens=self._settings.max_new_tokens,
                adapters=[self._adapter],
            )
            items = tuple(replace(item, source=record.text) for item in proposal.items)
            dropped = {} if items else {"no pair of question and answer": 1}
        return SelfEdit(record_id=record.id, items=items, generator=self._adapter.id, seed=seed, dropped=dropped)
