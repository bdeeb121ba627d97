"""Adapter versions on disk: immutable folders, published whole, deleted whole.

Flow:    consolidation stages a candidate here, publishes it when the gate passed, and then promotes it in the ledger.
Imports: errors, types, durable (no torch: a version is a folder of files here).

    <folder>/<shard id>-v<number>/             adapter_model.safetensors, adapter_config.json, metrics, manifest
    <folder>/.candidate-<shard id>-v<number>/  while it is written
    <folder>/.locks/<shard id>-v<number>       held by the process that writes it

A version is found by its folder's name, whatever folder its path named when it was
published; so a memory can be moved, and nothing outside the store is ever deleted.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from hybrid_memory import durable
from hybrid_memory.errors import AdapterError, LockedError
from hybrid_memory.types import Json, quoted

__all__ = ["MANIFEST", "FolderAdapterStore", "check_files"]

CANDIDATE = ".candidate-"
LOCKS = ".locks"
MANIFEST = "manifest.json"
METRICS = "metrics.json"
WEIGHTS = "adapter_model.safetensors"
PLAIN_FILES = {".safetensors", ".json", ".md", ".txt", ".jinja"}
"""What a version may hold. Pickled weights run code when they are loaded, so they are refused."""


class FolderAdapterStore:
    """Keeps each adapter version as one immutable folder (protocols.AdapterStore)."""

    def __init__(self, folder: Path) -> None:
        """Keep versions in `folder`; it is created with the first candidate."""
        self._folder = folder.absolute()

    @contextmanager
    def stage(self, shard_id: str, number: int) -> Iterator[Path]:
        """Give an empty folder to write a candidate in; it is deleted unless `publish` is called on it.

        Until the block ends, `sweep` of any process leaves candidate and version alone: promote
        the version in the ledger inside the block.

        Raises:
            AdapterError: that version exists already; versions are never written twice.
            LockedError: another process is writing the same version.
        """
        name = _name(shard_id, number)
        if (self._folder / name).exists():
            raise AdapterError(f"adapter version {name} exists already and is immutable; take the next number")
        lock = self._lock(name)
        if lock is None:
            raise LockedError(f"adapter version {name} is being written by another process; wait until it is done")
        candidate = self._folder / f"{CANDIDATE}{name}"
        try:
            durable.remove(candidate)  # left by a process that was killed
            candidate.mkdir()
            yield candidate
        finally:
            durable.remove(candidate)
            lock.release()

    def publish(self, folder: Path, manifest: Mapping[str, Json], metrics: Mapping[str, Json]) -> Path:
        """Write metrics and manifest (with each file's SHA-256), flush, rename into place; return the final folder.

        Raises:
            AdapterError: the folder is no candidate of this store, has no weights, or holds a file
                that is neither safetensors nor text.
        """
        name = folder.name.removeprefix(CANDIDATE)
        if folder.parent != self._folder or name == folder.name:
            raise AdapterError(f"{folder} is no candidate of this store; write into the folder that stage() gives")
        if not (folder / WEIGHTS).is_file():
            raise AdapterError(f"candidate {name} has no {WEIGHTS}; training must save its adapter before publish()")
        _refuse_pickles(folder, name)
        _write_json(folder / METRICS, metrics)
        hashes = {file: durable.sha256(path) for file, path in durable.files_in(folder) if file != MANIFEST}
        _write_json(folder / MANIFEST, {**manifest, "files": hashes})
        durable.move_into_place(folder, self._folder / name)
        return self._folder / name

    def verify(self, path: str) -> None:
        """Read every file of the version and compare it with the manifest.

        Raises:
            AdapterError: the version, its manifest or a file is missing, or a file was changed.
        """
        check_files(self._locate(path))

    def purge(self, path: str) -> int:
        """Delete the version's files for good; return how many there were, 0 when it is gone already.

        Raises:
            LockedError: another process is writing or deleting the same version.
        """
        folder = self._locate(path)
        if not durable.is_there(folder):
            return 0
        lock = self._lock(folder.name)
        if lock is None:
            raise LockedError(f"adapter version {folder.name} is in use by another process; purge it when that is done")
        with lock:
            return durable.remove(folder)

    def sweep(self, known: Iterable[str]) -> list[str]:
        """Delete candidates and versions that are not `known` and that no process is writing.

        Args:
            known: paths (or ids) of the versions that the ledger still names.

        Returns:
            The names of the folders that were removed, sorted.
        """
        children = self._children()  # before `known` is read: what is promoted meanwhile is known then
        keep = {Path(item).name for item in known}
        found = [path for path in children if path.name not in keep and path.name != LOCKS]
        return sorted(path.name for path in found if self._removed(path))

    def _children(self) -> list[Path]:
        return [path for path in self._folder.iterdir() if path.is_dir()] if self._folder.is_dir() else []

    def _removed(self, folder: Path) -> bool:
        lock = self._lock(folder.name.removeprefix(CANDIDATE).removeprefix(".").removesuffix(".gone"))
        if lock is None:
            return False
        with lock:
            durable.remove(folder)
        return True

    def _locate(self, path: str) -> Path:
        return self._folder / _plain_name(Path(path).name)

    def _lock(self, name: str) -> FileLock | None:
        """Take the lock of one version; None when somebody has it. The system frees it when a process dies."""
        locks = self._folder / LOCKS
        locks.mkdir(parents=True, exist_ok=True)
        lock = FileLock(locks / name)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return None
        return lock


def check_files(folder: Path) -> None:
    """Compare a version's files with its manifest; see `FolderAdapterStore.verify`."""
    for file, expected in _manifest_hashes(folder).items():
        if not (folder / file).is_file():
            raise AdapterError(f"adapter version {folder.name} lacks {file}; {_REMEDY}")
        found = durable.sha256(folder / file)
        if found != expected:
            raise AdapterError(
                f"adapter version {folder.name}: {file} has SHA-256 {found[:12]}…, "
                f"its manifest says {expected[:12]}…; {_REMEDY}"
            )


_REMEDY = "roll back to another version, or consolidate again: the ledger still has all it was made from"


def _name(shard_id: str, number: int) -> str:
    return _plain_name(f"{shard_id}-v{number}")


def _plain_name(name: str) -> str:
    if not name or name.startswith(".") or "/" in name or "\\" in name:
        raise AdapterError(
            f"{quoted(name)} cannot name an adapter version; accepted is one plain folder name without / or \\"
        )
    return name


def _refuse_pickles(folder: Path, name: str) -> None:
    odd = [file for file, path in durable.files_in(folder) if path.suffix not in PLAIN_FILES]
    if odd:
        raise AdapterError(
            f"candidate {name} holds {', '.join(odd)}; accepted are {', '.join(sorted(PLAIN_FILES))} "
            "(save weights as safetensors: other formats run code when they are loaded)"
        )


def _write_json(path: Path, value: Mapping[str, Json]) -> None:
    path.write_text(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def _manifest_hashes(folder: Path) -> dict[str, str]:
    """Read file name -> SHA-256 from the manifest of a version."""
    if not folder.is_dir():
        raise AdapterError(f"there is no adapter version {folder.name} in {folder.parent}; {_REMEDY}")
    try:
        hashes = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"].items()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise AdapterError(f"adapter version {folder.name} has no readable {MANIFEST} ({error}); {_REMEDY}") from error
    return {str(file): str(digest) for file, digest in hashes}
