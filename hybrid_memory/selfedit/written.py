"""Study material in the language model's own words about a passage: SEAL's self-edit, by the prompts of its family.

Flow:    records -> [written generator] -> verification, consolidation
Imports: types, protocols; the other modules of this stage.

A long record is cut into pieces at sentence ends, each piece is asked about by itself, and the k samples of a piece
share its prefix: it is read once. Nothing of what comes back is trusted: see material.py and directives.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from hybrid_memory.protocols import LanguageModel
from hybrid_memory.selfedit.compiled import random_of
from hybrid_memory.selfedit.directives import read_directives
from hybrid_memory.selfedit.material import Material
from hybrid_memory.selfedit.passages import write_about
from hybrid_memory.selfedit.prompts import base_form, chat_form
from hybrid_memory.selfedit.sequences import after_thoughts, question_answer_pairs, written_lines
from hybrid_memory.types import Directives, Record, SelfEdit

__all__ = ["FACTS", "Family", "WrittenGenerator"]

FACTS = "facts"
FACT_SHOTS = """Passage: The Osprey group, founded in 1988, trains new volunteers on the first Monday of each month.
Facts:
The Osprey group was founded in 1988.
The Osprey group trains new volunteers.
New volunteers are trained on the first Monday of each month.

Passage: {}
Facts:
"""
PARAPHRASE_SHOTS = """Sentence: The Osprey group trains new volunteers.
In other words: New volunteers are taught by the Osprey group.

Sentence: Parcels heavier than 30 kilos leave the depot from gate Maple.
In other words: Gate Maple is where parcels above 30 kilos go out of the depot.

Sentence: {}
In other words:"""
PARAPHRASE_TOKENS = 48
MOST_FACTS = 8
"""Atomic facts of one piece that are put in other words."""


@dataclass(frozen=True, slots=True)
class Family:
    """Which prompts are asked, how often, and how."""

    prompts: tuple[str, ...]
    """Names of prompts.FAMILY, or "facts": atomic facts, each put in other words."""
    samples: int = 1
    """Completions a prompt and piece; paraphrases a fact."""
    temperature: float = 1.0
    max_new_tokens: int = 400
    """Longest completion, in the model's tokens."""
    budget: int = 0
    """Most words and marks of material a record; 0 is no limit."""
    chat: bool = False
    """Ask in the chat form instead of the base form."""
    titled: bool = False
    """Every sequence begins with the record's title, and the whole passage is one more sequence, as SEAL has it."""


class WrittenGenerator:
    """Asks the language model to write about each record; see Family."""

    name = "written"

    def __init__(self, language_model: LanguageModel, family: Family) -> None:
        """Write with this model by these prompts."""
        self._lm = language_model
        self._family = family

    def write(self, record: Record, *, seed: int) -> SelfEdit:
        """Return a record's self-edit; an example or a preference gets an empty one, it is no passage."""
        return write_about(
            record,
            partial(self._piece, seed),
            generator=f"{self.name}({'+'.join(self._family.prompts)})",
            budget=self._family.budget,
            seed=seed,
        )

    def _piece(self, seed: int, title: str, piece: str, material: Material) -> Directives:
        """Add what the model writes about a piece by every prompt; return the last directives it gave."""
        directives = Directives()
        for prompt in self._family.prompts:
            drawn = random_of(f"{prompt}\n{piece}", seed).getrandbits(63)
            asked = self._write(prompt, title, piece, drawn, material)
            directives = asked if asked != Directives() else directives
        if self._family.titled:
            material.state(piece, title=title)
        return directives

    def _write(self, prompt: str, title: str, piece: str, seed: int, material: Material) -> Directives:
        """Add what the model writes about a piece by one prompt; return what directives it gave, the last ones."""
        if prompt == FACTS:
            self._facts(piece, seed, material)
            return Directives()
        directives = Directives()
        for completion in self._completions(prompt, title, piece, seed):
            text, asked, refused = read_directives(completion)
            directives = asked if asked != Directives() else directives
            for reason in refused:
                material.refuse(reason)
            if not text.strip():
                material.refuse("empty completion")
            _READERS.get(prompt, _read_lines)(text, title if self._family.titled else "", material)
        return directives

    def _completions(self, prompt: str, title: str, piece: str, seed: int) -> list[str]:
        family = self._family
        if family.chat:
            asked = [chat_form(prompt, title=title, context=piece)] * family.samples
            written = self._lm.generate(
                asked, max_new_tokens=family.max_new_tokens, temperature=family.temperature, seed=seed
            )
            return [one.text for one in written]
        (completions,) = self._lm.complete(
            [base_form(prompt, title=title, context=piece)],
            max_new_tokens=family.max_new_tokens,
            temperature=family.temperature,
            seed=seed,
            stop=None,
            samples=family.samples,
        )
        return completions

    def _facts(self, piece: str, seed: int, material: Material) -> None:
        """State the piece's atomic facts, then each in other words."""
        (written,) = self._lm.complete(
            [FACT_SHOTS.format(piece)],
            max_new_tokens=self._family.max_new_tokens,
            temperature=self._family.temperature,
            seed=seed,
            stop="\n\n",
            samples=1,
        )
        before = len(material.items)
        for line in written[0].splitlines():
            material.state(line)
        facts = [item.response for item in material.items[before:]][:MOST_FACTS]
        if not facts:
            return
        paraphrases = self._lm.complete(
            [PARAPHRASE_SHOTS.format(fact) for fact in facts],
            max_new_tokens=PARAPHRASE_TOKENS,
            temperature=self._family.temperature,
            seed=seed,
            samples=self._family.samples,
        )
        for line in (line for lines in paraphrases for line in lines):
            material.state(line)


def _read_lines(text: str, title: str, material: Material) -> None:
    for line in written_lines(text):
        material.state(line, title=title)


def _read_pairs(text: str, title: str, material: Material) -> None:
    pairs = question_answer_pairs(text)
    if text.strip() and not pairs:
        material.refuse("no question with an answer in it")
    for question, answer in pairs:
        material.ask(f"{title}\n{question}" if title else question, answer, form="self-qa")


def _read_thoughts(text: str, title: str, material: Material) -> None:
    kept = after_thoughts(text)
    if text.strip() and not kept:
        material.refuse("a chain of thought that came to no implications")
    _read_lines(kept, title, material)


_READERS: dict[str, Callable[[str, str, Material], None]] = {
    "self-qa": _read_pairs,
    "implications-chain-of-thought": _read_thoughts,
}
