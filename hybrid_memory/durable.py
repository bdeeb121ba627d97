"""Folders that are either whole or not there: hash, flush, rename.

Flow:    models.py and weights/ write a folder aside, flush it, then move it into place.
Imports: nothing of this package.

A rename inside one parent folder is atomic on POSIX file systems; that the new name
survives a power cut needs an fsync of the files, of their folders and of the parent.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

__all__ = ["files_in", "is_there", "move_into_place", "remove", "sha256", "sync", "write_text"]


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hex digits.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_in(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield (name inside the folder with forward slashes, path) of every file below it, sorted by name."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path.relative_to(folder).as_posix(), path


def write_text(path: Path, text: str) -> None:
    """Replace a file's text in one step: readers see the old text or the new one, never a part."""
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8")
    _flush(part)
    part.replace(path)


def sync(folder: Path) -> None:
    """Flush every file and folder below `folder`, and itself, to the disk."""
    for path in folder.rglob("*"):
        _flush(path)
    _flush(folder)


def move_into_place(part: Path, final: Path) -> None:
    """Flush `part` and rename it to `final`, replacing a folder that is there.

    Both must lie on one file system. A crash leaves the old folder, the new one, or (for the
    instant between two renames) none; never a mixture.
    """
    sync(part)
    old = final.with_name(f".{final.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if final.exists():
        final.replace(old)
    part.replace(final)
    _flush(final.parent)
    shutil.rmtree(old, ignore_errors=True)


def is_there(folder: Path) -> bool:
    """Tell whether a folder is there, or what a crash left of it while it was removed."""
    return folder.is_dir() or _while_removed(folder).is_dir()


def remove(folder: Path) -> int:
    """Delete a folder; return how many files it had (0 when it is not there).

    It is renamed first, so that a crash half-way leaves no folder that looks whole.
    """
    gone = _while_removed(folder)
    shutil.rmtree(gone, ignore_errors=True)
    if not folder.is_dir():
        return 0
    count = sum(1 for _ in files_in(folder))
    folder.replace(gone)
    shutil.rmtree(gone)
    _flush(gone.parent)
    return count


def _while_removed(folder: Path) -> Path:
    return folder.with_name(f".{folder.name.lstrip('.')}.gone")


def _flush(path: Path) -> None:
    if path.is_dir() and os.name == "nt":
        return  # Windows cannot open a folder for fsync; its renames are journalled
    descriptor = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
