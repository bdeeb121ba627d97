"""What benchmarks share: where results lie, what stands above them, and an adapter that was just trained."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hybrid_memory import AdapterVersion, Settings
from hybrid_memory.types import AdapterStatus

RESULTS = Path(__file__).parent / "results"


def header(name: str, *, seed: int) -> dict[str, Any]:
    """Return what every result says about its run: name, seed, settings, versions, machine."""
    return {
        "benchmark": name,
        "seed": seed,
        "settings": Settings().fingerprint(),
        "versions": {one: version(one) for one in ("torch", "transformers", "peft", "hybrid-memory-sdk")},
        "machine": f"{platform.machine()}, {platform.system()}, {os.cpu_count()} cores",
    }


def adapter_in(folder: Path, name: str = "bench") -> AdapterVersion:
    """Return the adapter that lies in a folder as a version that a language model can load."""
    return AdapterVersion(
        id=f"{name}-v1",
        shard_id=name,
        number=1,
        status=AdapterStatus.ACTIVE,
        path=str(folder),
        created_at=datetime.now(UTC),
        record_ids=(),
        manifest={},
        metrics={},
    )
