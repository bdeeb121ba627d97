"""What is written to be learned."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from hybrid_memory.types.inputs import Example
from hybrid_memory.types.values import Value

__all__ = ["Directives", "SelfEdit", "StudyItem"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyItem(Value):
    """One training sequence: a prompt with its response, or plain text when the prompt is empty."""

    prompt: str
    response: str
    form: str
    """"statement", "question", "self-qa", "completion", "demonstration", "evidence", "deference", "unknown", "general",
    or an augmentation. A "question" is answered with its statement, a "self-qa" with a few words of its source."""
    held_out: bool = False
    """True: kept for the gate, never trained on."""
    evidence: tuple[str, ...] = ()
    """Texts shown in the prompt as evidence, so that the model learns to read them."""
    shots: tuple[Example, ...] = ()
    """Demonstrations shown before the prompt, least similar first."""
    source: str = ""
    """What the response comes from, for context distillation; "" where the response says it all."""
    own: bool = False
    """True: the response is the base model's own, brought into another form."""

    @property
    def asks(self) -> bool:
        """Whether it is a question about its record, whoever wrote it."""
        return self.form in ("question", "self-qa")

    @property
    def basis(self) -> str:
        """The text that bears the response out."""
        return self.source or self.response

    @property
    def restrains(self) -> bool:
        """Whether it teaches nothing of its record: an ordinary question, or one about what nobody told."""
        return self.form in ("general", "unknown")


@dataclass(frozen=True, slots=True, kw_only=True)
class Directives(Value):
    """What a self-edit asks of the inner loop; None leaves it to the settings."""

    learning_rate: float | None = None
    epochs: int | None = None
    loss_on: str | None = None
    """"answer" or "all"."""
    targets: tuple[str, ...] | None = None
    """Linear layers that get LoRA, by name."""
    acts_on: str | None = None
    """Where the adapter acts: "answer" or "all". Only rules of ours ask for it, no written self-edit."""
    soft: bool = True
    """Whether the base's own distribution may be the target beside the words. Only the ladder's plain rung says no."""
    augmentations: tuple[str, ...] | None = None
    """Forms in which the material is studied once more, such as "reverse"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfEdit(Value):
    """The study material that was written for one record."""

    record_id: str
    items: tuple[StudyItem, ...]
    generator: str
    seed: int
    directives: Directives = Directives()
    dropped: Mapping[str, int] = field(default_factory=dict)
    """How many written items verification refused, by reason."""

    @property
    def content_hash(self) -> str:
        """SHA-256 of all of it as sorted JSON, 64 hex digits."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()
