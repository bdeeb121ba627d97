"""Receipts of forgetting: signed with a local key, checked from their JSON, refused when anything was changed."""

from __future__ import annotations

import json
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tiny_flow import KEYS, LAMPS, PARCELS, SHIFT, learn, open_memory

from hybrid_memory import ConfigError, InputError, Receipt
from hybrid_memory.receipts import check, key_in, sign

KEY, OTHER = b"k" * 32, b"o" * 32
RECEIPT = Receipt(
    records=("r1",),
    retrieval={"passages": 1, "still_found": 0},
    weights={"state": "clean", "shards": []},
    not_promised=("exports – made before",),
    at=datetime(2025, 6, 1, tzinfo=UTC),
)


def test_a_signed_receipt_is_checked_from_its_json() -> None:
    """Written to a file and read again, in whatever order of keys."""
    written = json.loads(json.dumps(sign(RECEIPT, KEY).to_json(), indent=4, sort_keys=True))

    assert check(written, KEY)
    assert check(sign(RECEIPT, KEY), KEY)


def test_the_signature_is_the_hmac_of_the_canonical_json() -> None:
    """Worked out by another tool: openssl dgst -sha256 -hmac over the sorted JSON without spaces."""
    import subprocess

    said = {name: value for name, value in RECEIPT.to_json().items() if name != "signature"}
    text = json.dumps(said, sort_keys=True, separators=(",", ":"))
    try:
        run = subprocess.run(
            ["openssl", "dgst", "-sha256", "-hmac", KEY.decode()], input=text.encode(), capture_output=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("there is no openssl here")

    assert str(sign(RECEIPT, KEY).signature).rpartition(":")[2] == run.stdout.decode().split()[-1]


@pytest.mark.parametrize("change", [{"records": ["r2"]}, {"at": "2025-06-02T00:00:00+00:00"}, {"more": 1}])
def test_a_changed_receipt_fails(change: dict[str, object]) -> None:
    """One value, or one more."""
    assert not check({**sign(RECEIPT, KEY).to_json(), **change}, KEY)  # type: ignore[dict-item]


def test_another_key_and_no_signature_are_told_apart_from_a_forgery() -> None:
    """The message names the keys."""
    with pytest.raises(InputError, match=r"signed with key [0-9a-f]{8}, this one is [0-9a-f]{8}"):
        check(sign(RECEIPT, KEY), OTHER)
    with pytest.raises(InputError, match="no signed receipt"):
        check(RECEIPT, KEY)
    with pytest.raises(InputError, match="no signed receipt"):
        check({"anything": 1}, KEY)


def test_a_key_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    """Nobody else on the machine may read it."""
    file = tmp_path / "receipt.key"

    first = key_in(file)

    assert key_in(file) == first
    assert len(first) == 64
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_short_key_or_an_unusable_file_is_refused(tmp_path: Path) -> None:
    """An empty file signs nothing."""
    (tmp_path / "short").write_bytes(b"abc\n")

    with pytest.raises(ConfigError, match="has 3 bytes, at least 16"):
        key_in(tmp_path / "short")
    with pytest.raises(ConfigError, match="cannot be read"):
        key_in(tmp_path / "nowhere" / "key")


def test_a_memory_with_a_key_signs_what_it_forgets(tmp_path: Path) -> None:
    """The key lies in its folder, but not in what it exports."""
    with open_memory(tmp_path / "memory", forget={"key_file": "receipt.key"}) as memory:
        (record,) = learn(memory, SHIFT)
        receipt = memory.forget(record)

        assert memory.check_receipt(receipt.to_json())
        assert (tmp_path / "memory" / "receipt.key").is_file()
        memory.export(tmp_path / "out.tar.gz")
    import tarfile

    with tarfile.open(tmp_path / "out.tar.gz") as archive:
        assert not [name for name in archive.getnames() if "key" in name]


def test_a_bad_key_stops_before_anything_is_forgotten(tmp_path: Path) -> None:
    """A receipt that cannot be signed is not found out afterwards."""
    with open_memory(tmp_path / "memory", forget={"key_file": "no/such/key"}) as memory:
        (record,) = learn(memory, SHIFT)
        memory.ingest(SHIFT, source="b.pdf")

        for named in ({"record_id": record}, {"filters": {"source": memory.get(record).source}}):
            with pytest.raises(ConfigError, match=r"forget\.key_file"):
                memory.forget(**named)
        assert (memory.get(record).text, memory.get(record).source) == (SHIFT, "text")


def test_without_a_key_receipts_are_not_signed(tmp_path: Path) -> None:
    """And there is nothing to check them with."""
    with open_memory(tmp_path / "memory") as memory:
        receipt = memory.forget(learn(memory, SHIFT))

        assert receipt.signature is None
        with pytest.raises(ConfigError, match=r"set forget\.key_file"):
            memory.check_receipt(receipt)


def test_forgetting_again_completes_a_receipt_that_was_due(tmp_path: Path) -> None:
    """After the window it says rebuilt, for the record that was forgotten before; nothing is counted twice."""
    with open_memory(tmp_path / "memory") as memory:
        shift, _ = learn(memory, SHIFT, LAMPS)
        memory.consolidate()
        first = memory.forget(shift)
        early = memory.forget(shift)
        memory.consolidate()

        late = memory.forget(shift)

    assert (first.weights["state"], first.already) == ("due", ())
    assert (early.weights["state"], early.records, early.already) == ("due", (shift,), (shift,))
    assert (late.records, late.already) == ((shift,), (shift,))
    assert (late.weights["state"], late.weights["due"]) == ("rebuilt", [])
    assert late.weights["shards"] == first.weights["shards"] == ["facts-1"]
    assert late.weights["adapters_deleted"] == first.weights["adapters_deleted"] == ["facts-1-v1"]
    assert (late.retrieval["passages"], late.retrieval["still_found"], late.weights["extracted"]) == (0, 0, None)


def test_another_forgetting_does_not_undo_a_completed_receipt(tmp_path: Path) -> None:
    """The shard is due again for the second record; what knew it of the first was rebuilt, and is gone as well."""
    with open_memory(tmp_path / "memory") as memory:
        shift, lamps, _ = learn(memory, SHIFT, LAMPS, PARCELS)
        memory.consolidate()
        memory.forget(shift, weights="now")
        memory.ingest(KEYS, route="learn", trust="operator")

        assert memory.forget(shift).weights["state"] == "rebuilt"
        assert memory.forget(lamps, weights="now").weights["state"] == "rebuilt"
        assert memory.forget([shift, lamps]).weights["state"] == "rebuilt"
