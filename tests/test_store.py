"""Adapter versions on disk: whole or not there, never changed, gone when purged."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from hybrid_memory.errors import AdapterError, LockedError
from hybrid_memory.protocols import AdapterStore
from hybrid_memory.weights.store import FolderAdapterStore


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "adapters"


@pytest.fixture
def store(folder: Path) -> FolderAdapterStore:
    return FolderAdapterStore(folder)


def write_candidate(candidate: Path, weights: bytes = b"weights") -> None:
    (candidate / "adapter_model.safetensors").write_bytes(weights)
    (candidate / "adapter_config.json").write_text("{}", encoding="utf-8")


def published(store: FolderAdapterStore, shard_id: str = "facts", number: int = 1) -> Path:
    with store.stage(shard_id, number) as candidate:
        write_candidate(candidate)
        return store.publish(candidate, {"seed": 7}, {"learned": 0.9})


def names(folder: Path) -> list[str]:
    """The folders a reader of the store sees, without the locks."""
    return sorted(path.name for path in folder.iterdir() if path.name != ".locks")


def test_it_is_an_adapter_store(store: FolderAdapterStore) -> None:
    """The type checker compares it with the protocol here."""
    kept: AdapterStore = store

    assert kept is store


def test_a_published_version_is_named_after_shard_and_number(store: FolderAdapterStore, folder: Path) -> None:
    """The folder's name is the version's id."""
    assert published(store, "facts", 3) == folder / "facts-v3"
    assert names(folder) == ["facts-v3"]


def test_the_manifest_has_the_hash_of_every_other_file(store: FolderAdapterStore) -> None:
    """The SHA-256 of the two bytes {} begins as `printf {} | sha256sum` prints it."""
    manifest = json.loads((published(store) / "manifest.json").read_text(encoding="utf-8"))

    assert manifest["seed"] == 7
    assert sorted(manifest["files"]) == ["adapter_config.json", "adapter_model.safetensors", "metrics.json"]
    assert manifest["files"]["adapter_config.json"].startswith("44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e83")


def test_metrics_lie_beside_the_weights(store: FolderAdapterStore) -> None:
    """What the gate measured can be read without the ledger."""
    assert json.loads((published(store) / "metrics.json").read_text(encoding="utf-8")) == {"learned": 0.9}


def test_a_candidate_that_is_not_published_disappears(store: FolderAdapterStore, folder: Path) -> None:
    """A rejected candidate leaves the disk as it was."""
    with store.stage("facts", 1) as candidate:
        write_candidate(candidate)

    assert names(folder) == []


def test_a_candidate_disappears_when_training_fails(store: FolderAdapterStore, folder: Path) -> None:
    """An error passes through and cleans up."""

    def train() -> None:
        with store.stage("facts", 1) as candidate:
            write_candidate(candidate)
            raise ValueError("the loss is nan")

    with pytest.raises(ValueError, match="the loss is nan"):
        train()

    assert names(folder) == []


def test_a_rejected_number_can_be_staged_again(store: FolderAdapterStore) -> None:
    """Only publishing uses a number up."""
    with store.stage("facts", 1) as candidate:
        write_candidate(candidate, b"first try")

    with store.stage("facts", 1) as candidate:
        assert list(candidate.iterdir()) == []


def test_a_version_is_never_written_twice(store: FolderAdapterStore) -> None:
    """Versions are immutable: a new one takes the next number."""
    published(store)

    with pytest.raises(AdapterError, match="facts-v1 exists already and is immutable"), store.stage("facts", 1):
        pytest.fail("a folder was given")


def test_two_writers_of_one_version_are_kept_apart(store: FolderAdapterStore, folder: Path) -> None:
    """The second one is told, and the first one's files stay."""
    with store.stage("facts", 1) as candidate:
        write_candidate(candidate)
        second = FolderAdapterStore(folder).stage("facts", 1)
        with pytest.raises(LockedError, match="facts-v1 is being written"), second:
            pytest.fail("a folder was given")

        assert (candidate / "adapter_model.safetensors").is_file()


@pytest.mark.parametrize("shard_id", ["../facts", "a/b", "a\\b", ".hidden"])
def test_a_shard_id_that_leads_elsewhere_is_refused(store: FolderAdapterStore, shard_id: str) -> None:
    """Nothing is written outside the store."""
    with pytest.raises(AdapterError, match="cannot name an adapter version"), store.stage(shard_id, 1):
        pytest.fail("a folder was given")


def test_a_candidate_without_weights_is_refused(store: FolderAdapterStore) -> None:
    """A version without weights would be found out at query time only."""
    with store.stage("facts", 1) as candidate, pytest.raises(AdapterError, match=r"has no adapter_model\.safetensors"):
        store.publish(candidate, {}, {})


def test_pickled_weights_are_refused(store: FolderAdapterStore) -> None:
    """They would run code when they are loaded."""
    with store.stage("facts", 1) as candidate:
        write_candidate(candidate)
        (candidate / "optimizer.pt").write_bytes(b"")

        with pytest.raises(AdapterError, match=r"holds optimizer\.pt; accepted are .*\.safetensors"):
            store.publish(candidate, {}, {})


def test_only_a_staged_folder_can_be_published(store: FolderAdapterStore, tmp_path: Path) -> None:
    """A folder from elsewhere has no lock and no number."""
    with pytest.raises(AdapterError, match=r"is no candidate of this store; write into .* stage\(\) gives"):
        store.publish(tmp_path, {}, {})


def test_an_untouched_version_passes_verification(store: FolderAdapterStore) -> None:
    """Silence means that every hash is right."""
    store.verify(str(published(store)))


def test_a_changed_byte_is_noticed(store: FolderAdapterStore) -> None:
    """Same length, one letter different."""
    version = published(store)
    (version / "adapter_model.safetensors").write_bytes(b"weighty")

    with pytest.raises(AdapterError, match=r"facts-v1: adapter_model\.safetensors has SHA-256 .*; roll back"):
        store.verify(str(version))


def test_a_missing_file_is_noticed(store: FolderAdapterStore) -> None:
    """The message names the file."""
    version = published(store)
    (version / "adapter_config.json").unlink()

    with pytest.raises(AdapterError, match=r"facts-v1 lacks adapter_config\.json"):
        store.verify(str(version))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"files": 3}'], ids=["empty", "list", "no files", "files no table"])
def test_a_damaged_manifest_is_noticed(store: FolderAdapterStore, text: str) -> None:
    """A manifest that cannot be read proves nothing."""
    version = published(store)
    (version / "manifest.json").write_text(text, encoding="utf-8")

    with pytest.raises(AdapterError, match=r"facts-v1 has no readable manifest\.json"):
        store.verify(str(version))


def test_a_missing_version_is_noticed(store: FolderAdapterStore, folder: Path) -> None:
    """The message says where it was looked for and how to go on."""
    with pytest.raises(AdapterError, match=r"there is no adapter version facts-v9 in .*; roll back"):
        store.verify(str(folder / "facts-v9"))


def test_a_moved_store_still_finds_its_versions(store: FolderAdapterStore, folder: Path) -> None:
    """Paths in the ledger are old then; the folder's name is enough."""
    old = published(store)
    moved = folder.rename(folder.with_name("elsewhere"))

    FolderAdapterStore(moved).verify(str(old))


def test_purging_deletes_every_file_and_counts_them(store: FolderAdapterStore, folder: Path) -> None:
    """Weights, configuration, metrics and manifest are four."""
    version = published(store)

    assert store.purge(str(version)) == 4
    assert names(folder) == []


def test_purging_twice_counts_nothing_the_second_time(store: FolderAdapterStore) -> None:
    """Forgetting can be repeated after a crash."""
    version = str(published(store))
    store.purge(version)

    assert store.purge(version) == 0


def test_purging_never_leaves_the_store(store: FolderAdapterStore, tmp_path: Path) -> None:
    """A path to somewhere else names nothing here."""
    stranger = tmp_path / "stranger"
    stranger.mkdir()

    assert store.purge(str(stranger)) == 0
    assert stranger.is_dir()


def test_sweeping_removes_what_the_ledger_does_not_name(store: FolderAdapterStore, folder: Path) -> None:
    """A version that was published but never promoted (a crash between the two) goes."""
    kept, lost = published(store, "facts", 1), published(store, "facts", 2)

    assert store.sweep([str(kept)]) == [lost.name]
    assert names(folder) == ["facts-v1"]


def test_sweeping_knows_versions_by_id_too(store: FolderAdapterStore) -> None:
    """Path and id have the same last part."""
    published(store)

    assert store.sweep(["facts-v1"]) == []


def test_sweeping_leaves_a_candidate_that_is_being_written(store: FolderAdapterStore, folder: Path) -> None:
    """Another process may open the memory while this one trains."""
    with store.stage("facts", 1) as candidate:
        write_candidate(candidate)

        assert FolderAdapterStore(folder).sweep([]) == []
        assert candidate.is_dir()


def test_sweeping_leaves_a_version_until_its_writer_is_done(store: FolderAdapterStore, folder: Path) -> None:
    """Between publish and the ledger's promotion nobody else may delete it."""
    with store.stage("facts", 1) as candidate:
        write_candidate(candidate)
        version = store.publish(candidate, {}, {})

        assert FolderAdapterStore(folder).sweep([]) == []
        assert version.is_dir()


def test_sweeping_an_empty_place_is_nothing(store: FolderAdapterStore) -> None:
    """A new memory has no folder yet."""
    assert store.sweep([]) == []


@pytest.mark.skipif(os.name == "nt", reason="kills with a POSIX signal")
def test_a_killed_writer_leaves_only_what_sweeping_removes(store: FolderAdapterStore, folder: Path) -> None:
    """The system frees a dead process's lock, so its candidate is known to be dead."""
    script = f"""
        import os, signal
        from pathlib import Path
        from hybrid_memory.weights.store import FolderAdapterStore
        with FolderAdapterStore(Path({str(folder)!r})).stage("facts", 1) as candidate:
            (candidate / "adapter_model.safetensors").write_bytes(b"half")
            os.kill(os.getpid(), signal.SIGKILL)
    """
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False)
    assert run.returncode == -signal.SIGKILL
    assert names(folder) == [".candidate-facts-v1"]

    assert store.sweep([]) == [".candidate-facts-v1"]
    assert names(folder) == []
