"""Cut what a model wrote about a passage into training sequences, by SEAL's released rules.

Flow:    completion -> [sequences] -> written generator
Imports: nothing of this package.
"""

from __future__ import annotations

import re

__all__ = ["after_thoughts", "question_answer_pairs", "seal_sequences", "written_lines"]

_SEGMENTS = "---"
_QUESTION = re.compile(r"(?=Question \d+:)")
_PAIR = re.compile(r"Question\s*\d*:\s*(?P<question>.+?)\s*Answer\s*\d*:\s*(?P<answer>.+?)\s*$", re.DOTALL)
_THOUGHTS = re.compile(r"\nImplications:")
_FIRST_ITEM = "1."


def seal_sequences(completion: str, *, title: str, context: str) -> list[str]:
    r"""Return the training sequences of one passage as the released code makes them; the passage is the last.

    Every sequence begins with the title. Source: knowledge-incorporation code of Continual-Intelligence/SEAL
    at 4cb1e7d.

    >>> seal_sequences("Here are some:\n1. It is red.\n\n2. It is old.", title="Barn", context="A barn.")
    ['Barn\n1. It is red.', 'Barn\n2. It is old.', 'Barn\nA barn.']
    """
    return [f"{title}\n{text}" for text in [*written_lines(completion), context]]


def written_lines(completion: str) -> list[str]:
    """Return what a completion says, line by line.

    Segments stand between `---`. A text of questions and answers is cut before each question, any other at its line
    ends; a first line before a line "1." is filler and goes.
    """
    return [line for segment in completion.split(_SEGMENTS) for line in _lines(segment)]


def _lines(text: str) -> list[str]:
    if _is_question_answer(text):
        text = text if text.lstrip().startswith("Question 1:") else f"Question 1: {text}"
        return [part.strip() for part in _QUESTION.split(text) if part.strip()]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[1:] if len(lines) > 1 and lines[1].startswith(_FIRST_ITEM) else lines


def _is_question_answer(text: str) -> bool:
    return bool(re.search(r"Question \d+:", text) and re.search(r"Answer(?: \d+)?:", text))


def question_answer_pairs(completion: str) -> list[tuple[str, str]]:
    r"""Return the (question, answer) pairs of a self-QA completion; a question without an answer is left out.

    >>> question_answer_pairs("Who waits?\nAnswer 1: Ann.\n\nQuestion 2: Where?\nAnswer 2: Here.\nQuestion 3: Why")
    [('Who waits?', 'Ann.'), ('Where?', 'Here.')]
    """
    text = completion if completion.lstrip().startswith("Question") else f"Question 1: {completion}"
    found = [_PAIR.match(part.strip()) for part in _QUESTION.split(text) if part.strip()]
    return [(" ".join(one["question"].split()), " ".join(one["answer"].split())) for one in found if one]


def after_thoughts(completion: str) -> str:
    r"""Return what a chain of thought came to: the text after the first line "Implications:"; "" without one.

    >>> after_thoughts("It is old.\nImplications:\nIt may fall.")
    '\nIt may fall.'
    """
    found = _THOUGHTS.search(completion)
    return completion[found.end() :] if found else ""
