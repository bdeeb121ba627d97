"""A candidate that the gate refuses leaves no trace: not on disk, not in what serves, not in the model."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from tiny_adapters import logits

from hybrid_memory import HybridMemory
from hybrid_memory.testing import open_tiny_memory
from hybrid_memory.types import AdapterStatus, Learning

QUICK = {
    "training": {"min_steps": 40, "epochs": 1, "learning_rate": 0.02, "lora_rank": 4, "lora_alpha": 8.0},
    "self_edit": {"generator": "compiled"},
}
ALL_PASS = {"min_learned": 0.0, "max_kept_drop": 1.0, "max_following_drop": 1.0}
NONE_PASSES = {"min_learned": 1.0, "min_gain": 50.0}
FERRY, LAMP = "The night ferry leaves from pier twelve.", "The night lamp shines from pier twelve."


def opened(folder: Path, gate: dict[str, float]) -> HybridMemory:
    return open_tiny_memory(folder, gate=gate, **QUICK)  # type: ignore[arg-type]


def disk(folder: Path) -> dict[str, str]:
    """Every adapter file with its SHA-256; lock files are none."""
    files = (path for path in (folder / "adapters").rglob("*") if path.is_file() and ".locks" not in path.parts)
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture
def served(tmp_path: Path) -> Path:
    """A memory in which one fact was learned and serves."""
    torch.set_num_threads(1)
    with opened(tmp_path, ALL_PASS) as memory:
        memory.ingest(FERRY, route="learn", trust="operator")
        report = memory.consolidate()
        assert report.shards[0].promoted, report
    return tmp_path


def test_a_rejected_candidate_leaves_disk_and_active_version_untouched(served: Path) -> None:
    """Both rungs of the ladder fail; the new record stays in retrieval, with the reason."""
    before = disk(served)
    with opened(served, NONE_PASSES) as memory:
        active = [version.id for version in memory.adapters.list() if version.status is AdapterStatus.ACTIVE]
        receipt = memory.ingest(LAMP, route="learn", trust="operator")

        report = memory.consolidate()

        assert receipt.record_id is not None
        assert [shard.promoted for shard in report.shards] == [False]
        assert len(report.shards[0].attempts) == 2
        versions = memory.adapters.list()
        assert [version.id for version in versions if version.status is AdapterStatus.ACTIVE] == active
        assert [version.status for version in versions[1:]] == [AdapterStatus.REJECTED] * 2
        record = memory.get(receipt.record_id)
        assert record.learning is Learning.DECLINED
        assert "0% of the new records' held-out questions were learned" in record.learning_detail
        assert memory.search("lamp pier")[0].text == LAMP
    assert disk(served) == before


def test_a_rejected_candidate_leaves_nothing_in_the_model(tmp_path: Path) -> None:
    """Without adapters its logits are the base's, bit by bit; no adapter is left in memory."""
    torch.set_num_threads(1)
    with opened(tmp_path, NONE_PASSES) as memory:
        lm = memory._parts.language_model()
        before = logits(lm)  # type: ignore[arg-type]
        memory.ingest(FERRY, route="learn", trust="operator")

        report = memory.consolidate()

        assert [shard.promoted for shard in report.shards] == [False]
        assert list(lm.peft.peft_config) == []  # type: ignore[attr-defined]
        assert torch.equal(logits(lm), before)  # type: ignore[arg-type]
    assert disk(tmp_path) == {}


def test_a_shard_that_is_rebuilt_has_the_same_bytes(served: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Adapters are caches: another memory that learned the same has the same weights."""
    again = tmp_path_factory.mktemp("again")
    with opened(again, ALL_PASS) as memory:
        memory.ingest(FERRY, route="learn", trust="operator")
        memory.consolidate()

    first, second = (
        [digest for name, digest in disk(folder).items() if name.endswith(".safetensors")] for folder in (served, again)
    )
    assert len(first) == 1
    assert first == second
