"""Words to tokens and back: chats as their template writes them, and nothing that a text could smuggle in.

Flow:    turns, texts -> [tokens] -> rows -> [tokens] -> texts
Imports: errors, types.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from hybrid_memory.errors import InputError
from hybrid_memory.types import Turn

__all__ = ["Tokens"]


class Tokens:
    """A tokenizer with its chat template; control tokens spelt out in a text stay text."""

    def __init__(self, tokenizer: Any) -> None:
        """Take a tokenizer of transformers; one without a padding token pads with its end token."""
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        self.tokenizer = tokenizer
        self._control = _control_tokens(tokenizer)
        self._holding: dict[str, Tensor] = {}

    @property
    def pad(self) -> int:
        """The token to pad with."""
        return int(self.tokenizer.pad_token_id)

    def chat(self, turns: Sequence[Turn]) -> list[int]:
        """Return the token ids of a chat, ready for the assistant's words."""
        messages = [{"role": turn.role, "content": self._plain(turn.content)} for turn in turns]
        if self.tokenizer.chat_template is None:
            text = "\n".join(message["content"] for message in messages) + "\n"
        else:
            text = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        return self._encode(text)

    @cached_property
    def header(self) -> list[int]:
        """Token ids with which the assistant's turn begins, such as those of "<|im_start|>assistant"."""
        if self.tokenizer.chat_template is None:
            return self._encode("\n")
        turns = [{"role": "user", "content": "?"}]
        closed, opened = (
            self._encode(self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=wanted))
            for wanted in (False, True)
        )
        return opened[len(closed) :] or opened[-1:]

    def answered(self, turns: Sequence[Turn], response: str) -> tuple[list[int], int]:
        """Return (token ids, index of the first token of the response); no chat means plain text."""
        if not response:
            raise InputError("a response without a single token cannot be scored or trained on; drop it")
        prompt = self.chat(turns) if turns else [self._first()]
        return [*prompt, *self.plain(response), self.tokenizer.eos_token_id], len(prompt)

    def plain(self, text: str) -> list[int]:
        """Return the token ids of a text that stands for itself; none for an empty one."""
        return self._encode(self._plain(text))

    def opening(self, text: str) -> list[int]:
        """Return the token ids of a text to go on from: at least the token that texts begin with."""
        return self.plain(text) or [self._first()]

    def text(self, tokens: Sequence[int], stop: str | None = None) -> str:
        """Return the words up to `stop`, without control tokens and surrounding space."""
        text: str = self.tokenizer.decode(tokens, skip_special_tokens=True)
        return (text.partition(stop)[0] if stop else text).strip()

    def holding(self, text: str) -> Tensor:
        """Return the tokens whose words hold a text, int64."""
        if text not in self._holding:
            words = self.tokenizer.batch_decode([[token] for token in range(len(self.tokenizer))])
            held = [token for token, word in enumerate(words) if text in word]
            self._holding[text] = torch.tensor(held, dtype=torch.long)
        return self._holding[text]

    def _plain(self, text: str) -> str:
        """Put a space into control tokens that are spelt out, so that they are read letter by letter."""
        return self._control.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text)

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def _first(self) -> int:
        first = self.tokenizer.bos_token_id
        return int(first if first is not None else self.tokenizer.eos_token_id)


def _control_tokens(tokenizer: Any) -> re.Pattern[str]:
    """Return what finds the tokens that only a chat template may write, such as "<|im_end|>"."""
    added = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
    names = sorted({*tokenizer.all_special_tokens, *added}, key=len, reverse=True)
    return re.compile("|".join(re.escape(name) for name in names if len(name) > 1) or r"(?!)")
