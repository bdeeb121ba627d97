"""SEAL's family of self-edit prompts, in the form for base models and in the form for chat models.

Flow:    passage -> [prompts] -> written generator
Imports: types.

The base form is SEAL's own text (knowledge-incorporation code of Continual-Intelligence/SEAL, MIT), ended by a cue
that the model continues. The chat form is the same words as a user's turn, without the cue: a chat model answers.
Which prompt is used matters as much as SEAL's reinforcement learning: without any, "rewrite" and "implications-long"
reach 49 % where "implications" reaches 40 % (SEAL's result files, Qwen2.5-7B, 200 passages).
"""

from __future__ import annotations

from dataclasses import dataclass

from hybrid_memory.types import Turn

__all__ = ["FAMILY", "SelfEditPrompt", "base_form", "chat_form"]


@dataclass(frozen=True, slots=True)
class SelfEditPrompt:
    """What is asked for, and the words that the completion begins after."""

    instruction: str
    """Follows "Let's read the following passage and"; empty for none."""
    cue: str


IMPLICATIONS = "Implications:\n"
FAMILY: dict[str, SelfEditPrompt] = {
    "implications": SelfEditPrompt(
        "produce a list of implications derived directly or indirectly from the content.", IMPLICATIONS
    ),
    "implications-long": SelfEditPrompt(
        "produce a long list of implications derived directly or indirectly from the content.", IMPLICATIONS
    ),
    "implications-very-long": SelfEditPrompt(
        "produce a very long list of implications derived directly or indirectly from the content.", IMPLICATIONS
    ),
    "rewrite": SelfEditPrompt(
        "rewrite it in a few different ways, each one separated by a newline.", "Rewritten passages:\n"
    ),
    "self-qa": SelfEditPrompt("rewrite it in a question-answer format.", "Question 1: "),
    "implications-chain-of-thought": SelfEditPrompt(
        "think step by step, and then produce a list of implications derived directly or indirectly from the content. "
        'We should first generate a "Thought Process" and then "Implications"',
        "Thought Process:",
    ),
    "none": SelfEditPrompt("", ""),
}


def base_form(name: str, *, title: str, context: str) -> str:
    r"""Return the text that a base model continues.

    >>> base_form("self-qa", title="Barn", context="It is red.")[-38:]
    'Passage:\nBarn\nIt is red.\n\nQuestion 1: '
    """
    prompt = FAMILY[name]
    opening = f"Let's read the following passage and {prompt.instruction}\n\n" if prompt.instruction else ""
    return f"{opening}Passage:\n{title}\n{context}\n\n{prompt.cue}"


def chat_form(name: str, *, title: str, context: str) -> tuple[Turn, ...]:
    """Return the chat that a chat model answers: the same words without the cue."""
    whole = base_form(name, title=title, context=context)
    return (Turn("user", whole.removesuffix(FAMILY[name].cue).strip()),)
