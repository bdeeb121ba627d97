"""A language model that says what a test wrote down, and remembers what it was asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hybrid_memory.types import AdapterVersion, Generation, Turn


class Writer:
    """A language model that writes what the test wrote down, in order, again and again."""

    fingerprint = "writer"
    window: int | None = None

    def __init__(self, answers: Sequence[str] = (), questions: Sequence[str] = ()) -> None:
        self.answers, self.questions = answers, questions
        self.asked: list[str] = []
        self.chats: list[tuple[Turn, ...]] = []
        self.batches: list[tuple[int, tuple[str, ...]]] = []
        """Per call of generate: how many prompts, with which adapters."""
        self.begun: list[tuple[str, ...]] = []
        """Per call of generate that goes on with answers: what they began with."""
        self.scores: dict[str, float] = {}
        """What `score` gives to each response."""
        self.read: dict[str, float] = {}
        """What `score` gives to any response after a turn that begins so: first of all."""
        self.scored: list[str] = []
        """The last turn before each response that was scored."""

    def chat_tokens(self, turns: Sequence[Turn]) -> list[int]:
        """A token a word."""
        return [0 for turn in turns for _ in turn.content.split()]

    def generate(
        self,
        prompts: Sequence[Sequence[Turn]],
        *,
        adapters: Sequence[AdapterVersion] = (),
        max_new_tokens: int,
        temperature: float = 0.0,
        seed: int = 0,
        begun: Sequence[str] | None = None,
        on_text: Callable[[str], None] | None = None,
    ) -> list[Generation]:
        self.asked += [turns[-1].content for turns in prompts]
        self.chats += [tuple(turns) for turns in prompts]
        self.batches.append((len(prompts), tuple(version.id for version in adapters)))
        self.begun += [tuple(begun)] if begun else []
        texts = [self.answers[place % len(self.answers)] for place in range(len(prompts))]
        if on_text is not None and len(texts) == 1:
            for letter in texts[0]:
                on_text(letter)
        return [Generation(text=text, prompt_tokens=1, completion_tokens=1, mean_logprob=-1.0) for text in texts]

    def complete(
        self,
        prompts: Sequence[str],
        *,
        max_new_tokens: int,
        temperature: float,
        seed: int,
        stop: str = "\n",
        samples: int = 1,
    ) -> list[list[str]]:
        self.asked += prompts
        return [list(self.questions[:samples]) for _ in prompts]

    def score(
        self, pairs: Sequence[tuple[Sequence[Turn], str]], *, adapters: Sequence[AdapterVersion] = ()
    ) -> list[float]:
        self.batches.append((len(pairs), tuple(version.id for version in adapters)))
        self.scored += [turns[-1].content for turns, _ in pairs]
        return [self._score(turns[-1].content, response) for turns, response in pairs]

    def _score(self, asked: str, response: str) -> float:
        found = [score for text, score in self.read.items() if asked.startswith(text)]
        return found[0] if found else self.scores[response]

    def drift(self, prompts: Sequence[Sequence[Turn]], *, adapters: Sequence[AdapterVersion]) -> float:
        raise NotImplementedError

    def release(self, adapter_id: str) -> None:
        raise NotImplementedError
