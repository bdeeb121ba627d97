"""Export a memory into one file, and restore it.

Imports: errors, protocols.
"""

from __future__ import annotations

import os.path
import re
import tarfile
import tempfile
import tomllib
import zlib
from pathlib import Path

from hybrid_memory.errors import InputError
from hybrid_memory.protocols import Ledger

__all__ = ["ADAPTERS", "LEDGER", "SETTINGS", "export", "restore"]

LEDGER = "ledger.sqlite"
ADAPTERS = "adapters"
SETTINGS = "memory.toml"


def export(folder: Path, ledger: Ledger, path: Path) -> Path:
    """Write a consistent copy of the ledger, the adapters and the settings into a .tar.gz; return its path.

    The index is left out: it is a cache, and the vectors are in the ledger. Written aside and renamed.

    Raises:
        InputError: the file exists already, or it cannot be written there.
    """
    if os.path.exists(path):  # Path.exists raises where a name is too long for any file
        raise InputError(f"{path} exists already; choose another name, an export never overwrites")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _pack(folder, ledger, path)
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({error.strerror}); give a folder that this user may write to and that has room"
        ) from error
    return path


def _pack(folder: Path, ledger: Ledger, path: Path) -> None:
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".export-") as aside:
        ledger.backup(Path(aside) / LEDGER)
        packed = Path(aside) / "export.tar.gz"
        with tarfile.open(packed, "w:gz") as archive:
            archive.add(Path(aside) / LEDGER, LEDGER)
            if (folder / ADAPTERS).exists():
                archive.add(folder / ADAPTERS, ADAPTERS, filter=_without_hidden)
            if (folder / SETTINGS).exists():
                (Path(aside) / SETTINGS).write_text(_portable(folder / SETTINGS), encoding="utf-8")
                archive.add(Path(aside) / SETTINGS, SETTINGS)
        packed.replace(path)


def _portable(settings: Path) -> str:
    """Return the settings without ledger.url: what is restored must not write to the old ledger."""
    lines, table = [], ""
    for line in settings.read_text(encoding="utf-8").split("\n"):  # splitlines() would also cut at U+2028
        table = line.strip() if line.strip().startswith("[") else table
        if not re.match(r"\s*ledger\.url\s*=" if table != "[ledger]" else r"\s*url\s*=", line):
            lines.append(line)
    text = "\n".join(lines)
    if "url" in tomllib.loads(text).get("ledger", {}):
        raise InputError(f"{settings} names the ledger's database inside another line; write url = … on its own")
    return text


def _without_hidden(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Leave out locks and candidates: they belong to processes that are running."""
    return None if Path(member.name).name.startswith(".") else member


def restore(path: Path, folder: Path) -> Path:
    """Unpack an export into an empty or new folder and return the folder.

    Raises:
        InputError: there is no such file, it is no export, or the folder is not empty.
    """
    if not os.path.isfile(path):
        raise InputError(f"there is no export {path}; `hybrid-memory export PATH` writes one")
    if folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder} is not empty; restore into a new folder, so that nothing is overwritten")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".restore-") as aside:
        try:
            with tarfile.open(path, "r:gz") as archive:
                if LEDGER not in archive.getnames():
                    raise InputError(f"{path} holds no {LEDGER}; it is no export of hybrid_memory")
                archive.extractall(Path(aside) / "memory", filter="data")
        except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
            raise InputError(
                f"{path} cannot be unpacked ({error}); it is damaged or no export of hybrid_memory"
            ) from error
        (Path(aside) / "memory").replace(folder)
    return folder
