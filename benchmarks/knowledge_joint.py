"""Many passages learned together, as a memory does it: shards of a few neighbouring statements, chosen by the question.

Every sentence of every passage is a record of its own, placed as in a learning window (weights/sharding.py). A
question goes to the shard of the sentence that the encoder finds nearest; what no question is sent to is not
trained, because no outcome depends on it. The control learns each asked passage alone, by the same recipe and the
same number of steps, so that what differs is what an adapter was learned with, and that the right one must be found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.inner_loop_speed import recipe
from benchmarks.knowledge_material import record_of
from benchmarks.squad_seal import Passage
from hybrid_memory.config import TrainingSettings, WindowSettings
from hybrid_memory.protocols import Encoder
from hybrid_memory.statements import statements
from hybrid_memory.types import StudyItem
from hybrid_memory.weights.sharding import place

TRAINING = TrainingSettings(batch_size=4, epochs=1, min_steps=30)
"""30 steps whatever there is to learn: a passage alone has about five sentences, a full shard six."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence with the passage it stands in."""

    passage: Passage
    text: str

    @property
    def named(self) -> str:
        """The sentence after its passage's title, as the encoder reads it."""
        return f"{self.passage.title}: {self.text}"


@dataclass(frozen=True, slots=True)
class Shards:
    """Sentences of many passages in shards, and where a question goes."""

    sentences: Sequence[Sentence]
    vectors: np.ndarray
    """Shape (len(sentences), dim), unit rows."""
    names: Sequence[str]
    """The shard of each sentence."""

    def chosen(self, encoder: Encoder, passage: Passage) -> list[str]:
        """Return the shard that each of a passage's questions is sent to."""
        asked = encoder.encode([f"{passage.title}: {question.text}" for question in passage.questions])
        return [self.names[int(row.argmax())] for row in asked @ self.vectors.T]

    def holds(self, name: str, passage: Passage) -> bool:
        """Tell whether a shard has a sentence of a passage."""
        return any(
            shard == name and one.passage.id == passage.id
            for one, shard in zip(self.sentences, self.names, strict=True)
        )

    def items(self, name: str) -> list[StudyItem]:
        """Return what a shard is trained on."""
        inside = [one for one, shard in zip(self.sentences, self.names, strict=True) if shard == name]
        return [item for one in inside for item in recipe(one.passage, [one.text])]


def shards_of(passages: Sequence[Passage], encoder: Encoder) -> Shards:
    """Place the sentences of all passages in shards of at most `window.shard_cap`."""
    sentences = [Sentence(passage, text) for passage in passages for text in statements(passage.context)]
    vectors = encoder.encode([one.named for one in sentences])
    records = [
        replace(record_of(one.passage), id=str(number), text=one.named, content_hash=one.named)
        for number, one in enumerate(sentences)
    ]
    placed = place((records, vectors), {}, cap=WindowSettings().shard_cap)
    return Shards(sentences, vectors, [shard.id for shard in placed])
