"""What the weights stage offers: the language model, training, the gate, and the versions on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from hybrid_memory.protocols.shared import Progress
from hybrid_memory.types import AdapterVersion, Directives, Generation, Json, SelfEdit, StudyItem, Turn, Verdict

__all__ = ["AdapterStore", "CandidateTrainer", "Candidates", "Gate", "LanguageModel", "Trainer"]


class LanguageModel(Protocol):
    """Writes and scores text, with or without adapters."""

    @property
    def fingerprint(self) -> str:
        """Names the base weights; adapters of another base are refused."""
        ...

    @property
    def window(self) -> int | None:
        """Tokens that a chat and its answer may have together; None when there is no limit."""
        ...

    def chat_tokens(self, turns: Sequence[Turn]) -> Sequence[int]:
        """Return the token ids of a chat, ready for the assistant's words."""
        ...

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
        """Answer each chat; `adapters` are summed. `on_text` streams the text of a single prompt.

        `begun`: what each answer begins with already, one per chat; what is returned goes on from there.
        """
        ...

    def complete(
        self,
        prompts: Sequence[str],
        *,
        max_new_tokens: int,
        temperature: float,
        seed: int,
        stop: str | None = "\n",
        samples: int = 1,
    ) -> list[list[str]]:
        """Continue each plain text with the base model, `samples` times, up to `stop` (None: to the end token)."""
        ...

    def score(
        self, pairs: Sequence[tuple[Sequence[Turn], str]], *, adapters: Sequence[AdapterVersion] = ()
    ) -> list[float]:
        """Return the mean natural log-probability per token of each response after its chat."""
        ...

    def drift(self, prompts: Sequence[Sequence[Turn]], *, adapters: Sequence[AdapterVersion]) -> float:
        """Return the mean KL(base || adapted) per token, in nats, over the base's own answers."""
        ...

    def release(self, adapter_id: str) -> None:
        """Drop an adapter from memory; nothing happens when it is not loaded."""
        ...


class Trainer(Protocol):
    """The inner loop: study material in, adapter files out."""

    def train(
        self,
        items: Sequence[StudyItem],
        *,
        seed: int,
        folder: Path,
        directives: Directives | None = None,
        learning_rate_scale: float = 1.0,
        progress: Progress | None = None,
        deadline_s: float | None = None,
    ) -> Mapping[str, Json]:
        """Train a fresh adapter, write it into `folder`, return tokens, steps, seconds, losses."""
        ...

    def refuses(self, item: StudyItem, *, more: int = 0) -> str:
        """Say why an item, or one with `more` tokens after it, cannot be trained on; "" when it can."""
        ...


class Candidates(Protocol):
    """Adapters that were trained together, in memory only."""

    @property
    def reports(self) -> Sequence[Mapping[str, Json]]:
        """What each one's training was: steps, tokens, losses, and `failure` ("" if there was none)."""
        ...

    def score(self, pairs: Sequence[tuple[Sequence[Turn], str]]) -> list[list[float]]:
        """Return each candidate's mean natural log-probability per token of each response after its chat."""
        ...

    def generate(self, prompts: Sequence[Sequence[Sequence[Turn]]], *, max_new_tokens: int) -> list[list[Generation]]:
        """Return each candidate's greedy answers to its own prompts, one list of chats per candidate."""
        ...


class CandidateTrainer(Protocol):
    """The inner loop over several self-edits of one passage at once."""

    def train(
        self,
        candidates: Sequence[Sequence[StudyItem]],
        *,
        seed: int,
        directives: Sequence[Directives] | None = None,
    ) -> Candidates:
        """Train one adapter per candidate from one initialisation; siblings differ by their material only."""
        ...


class Gate(Protocol):
    """Decides whether a trained adapter may serve."""

    def judge(
        self,
        candidate: AdapterVersion,
        self_edits: Sequence[SelfEdit],
        *,
        learned_before: Sequence[str],
        always_on: bool,
        beside: Sequence[AdapterVersion] = (),
    ) -> Verdict:
        """Measure the candidate on held-out material; see Verdict."""
        ...


class AdapterStore(Protocol):
    """Immutable adapter versions on disk."""

    def stage(self, shard_id: str, number: int) -> AbstractContextManager[Path]:
        """Give a folder to write a candidate in; it is deleted unless `publish` is called on it."""
        ...

    def publish(self, folder: Path, manifest: Mapping[str, Json], metrics: Mapping[str, Json]) -> Path:
        """Write manifest (with file hashes) and metrics, fsync, rename into place; return the final folder."""
        ...

    def verify(self, path: str) -> None:
        """Raise AdapterError when a file of the version is missing or differs from its manifest."""
        ...

    def purge(self, path: str) -> int:
        """Delete the version's files; return how many there were."""
        ...

    def sweep(self, known: Iterable[str]) -> list[str]:
        """Delete candidates and folders that no ledger row names; return what was removed."""
        ...
