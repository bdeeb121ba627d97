"""Few-shot tasks: a task is its demonstrations; the self-edit says how to study them (SEAL's second domain).

Flow:    demonstrations -> self-edit (augmentations, rate, epochs) -> test-time training -> answers, voted over views
Imports: types, protocols, evidence, grids; the other modules of this stage.

Any input -> output examples are a task; views (`grids.VIEWS`) need texts that they can turn. A self-edit is one line
"Directives: {…}" that is begun for the model and read as strictly as any other; what it asks for is bounded by the
trainer. It is worth 1 when every query is answered right, else 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hybrid_memory.evidence import ask
from hybrid_memory.grids import VIEWS, View, views, vote
from hybrid_memory.protocols import CandidateTrainer, LanguageModel
from hybrid_memory.selfedit.compiled import random_of
from hybrid_memory.selfedit.directives import read_directives
from hybrid_memory.types import AdapterVersion, Directives, Example, StudyItem

__all__ = [
    "FewShotSolver",
    "Puzzle",
    "TaskEdit",
    "demonstration",
    "propose",
    "read",
    "reward",
    "study",
    "written",
]

_REQUEST = (
    "How should a model study this task? Choose augmentations out of {names}, a learning rate and epochs.\n\n{shown}"
)
_EXAMPLES = (
    (("12\n30", "03\n21"), ("colours",), 0.002, 8),
    (("500\n050", "600\n060"), ("flips", "transposition"), 0.001, 6),
    (("1\n2", "2\n1"), ("colours", "flips"), 0.001, 8),
)
EDIT_TOKENS = 48
TEMPERATURE = 0.8
"""Of sampled self-edits, as SEAL samples them in this domain."""
BEGUN = 'Directives: {"augmentations": ["'
"""What every self-edit begins with: left to itself, a model of 135M samples a line that can be read hardly ever."""


@dataclass(frozen=True, slots=True)
class Puzzle:
    """What is demonstrated, and what is asked with the gold answers, which nothing but the reward looks at."""

    demonstrations: tuple[Example, ...]
    queries: tuple[Example, ...]


@dataclass(frozen=True, slots=True)
class TaskEdit:
    """One sampled self-edit of a task."""

    text: str
    directives: Directives
    refused: tuple[str, ...]
    """Why what was refused; a self-edit of which nothing is left is worth nothing."""

    @property
    def usable(self) -> bool:
        """Tell whether it asks for anything."""
        return self.directives != Directives()


def study(demonstrations: Sequence[Example], directives: Directives) -> list[StudyItem]:
    """Return every demonstration under every view; what a view does not change is studied once."""
    items = [
        StudyItem(prompt=view.forward(one.prompt), response=view.forward(one.response), form="demonstration")
        for view in views(directives.augmentations)
        for one in demonstrations
    ]
    return list(dict.fromkeys(items))


def written(directives: Directives) -> str:
    """Return directives as the line in which a self-edit writes them.

    >>> written(Directives(augmentations=("flips",), learning_rate=0.001, epochs=6))
    'Directives: {"augmentations": ["flips"], "learning_rate": 0.001, "epochs": 6}'
    """
    names = ", ".join(f'"{name}"' for name in directives.augmentations or ())
    return (
        f'Directives: {{"augmentations": [{names}], "learning_rate": {directives.learning_rate}, '
        f'"epochs": {directives.epochs}}}'
    )


def propose(
    task: Puzzle,
    language_model: LanguageModel,
    *,
    samples: int,
    seed: int,
    adapters: Sequence[AdapterVersion] = (),
) -> list[TaskEdit]:
    """Return sampled self-edits of a task; the same task, seed and generator give the same ones."""
    prompt = _prompt(task.demonstrations)
    written_ones = language_model.generate(
        [ask(prompt, shots=_shots())] * samples,
        adapters=adapters,
        max_new_tokens=EDIT_TOKENS,
        temperature=TEMPERATURE,
        seed=random_of(prompt, seed).getrandbits(63),
        begun=[BEGUN] * samples,
    )
    return [read(f"{BEGUN}{one.text}") for one in written_ones]


def read(text: str) -> TaskEdit:
    """Return the self-edit that a text's first line is."""
    first = text.partition("\n")[0]
    _, directives, refused = read_directives(first, augmentations=tuple(VIEWS))
    return TaskEdit(first, directives, tuple(refused))


def demonstration(task: Puzzle, directives: Directives) -> StudyItem:
    """Return what teaches the generator to ask for these directives in such a task.

    Give what was honoured: of a line that was refused in part, the rest is noise that it would learn to write.
    """
    line = written(directives)
    return StudyItem(prompt=_prompt(task.demonstrations), response=line, form="demonstration", shots=_shots())


class FewShotSolver:
    """Answers a task's queries by test-time training, for several self-edits at once."""

    def __init__(self, language_model: LanguageModel, trainer: CandidateTrainer, *, max_new_tokens: int) -> None:
        self._lm = language_model
        self._trainer = trainer
        self._max_new_tokens = max_new_tokens

    def in_context(self, task: Puzzle) -> list[str]:
        """Return the answers without training: the demonstrations are chat turns before each query."""
        chats = [ask(one.prompt, shots=task.demonstrations) for one in task.queries]
        return [one.text for one in self._lm.generate(chats, max_new_tokens=self._max_new_tokens)]

    def solve(self, task: Puzzle, edits: Sequence[Directives], *, seed: int) -> list[list[str]]:
        """Return each self-edit's answers to the queries, voted over its own views.

        Args:
            task: studied by its demonstrations alone.
            edits: trained together from one initialisation, each by its own directives.
            seed: of the inner loops.
        """
        distinct = list(dict.fromkeys(edits))
        material = [study(task.demonstrations, one) for one in distinct]
        stack = self._trainer.train(material, seed=seed, directives=distinct)
        sides = [views(edit.augmentations) for edit in distinct]
        chats = [[ask(view.forward(one.prompt)) for one in task.queries for view in seen] for seen in sides]
        said = stack.generate(chats, max_new_tokens=self._max_new_tokens)
        solved = {
            edit: _voted(seen, [answer.text for answer in answers])
            for edit, seen, answers in zip(distinct, sides, said, strict=True)
        }
        return [solved[one] for one in edits]


def reward(task: Puzzle, answers: Sequence[str]) -> float:
    """Return 1 when every query is answered right to the letter, else 0."""
    return float(all(one.response == answer for one, answer in zip(task.queries, answers, strict=True)))


def _voted(seen: Sequence[View], answers: Sequence[str]) -> list[str]:
    """Return one answer a query from the answers under each view, query by query, turned back."""
    queries = [answers[start : start + len(seen)] for start in range(0, len(answers), len(seen))]
    return [next(iter(vote([view.back(text) for view, text in zip(seen, row, strict=True)]))) for row in queries]


def _prompt(examples: Sequence[Example]) -> str:
    shown = "\n\n".join(f"Input:\n{one.prompt}\nOutput:\n{one.response}" for one in examples)
    return _REQUEST.format(names=", ".join(VIEWS), shown=shown)


def _shots() -> tuple[Example, ...]:
    return tuple(
        Example(
            _prompt([Example(*pair)]),
            written(Directives(augmentations=augmentations, learning_rate=rate, epochs=epochs)),
        )
        for pair, augmentations, rate, epochs in _EXAMPLES
    )
