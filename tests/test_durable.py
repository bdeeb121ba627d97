"""Folders and files that are either whole or not there."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from hybrid_memory import durable


def folder_with(path: Path, text: str) -> Path:
    (path / "deep").mkdir(parents=True)
    (path / "deep" / "file").write_text(text, encoding="utf-8")
    return path


def test_the_hash_is_that_of_the_whole_file(tmp_path: Path) -> None:
    """Compared with hashlib on the same bytes, longer than any buffer."""
    data = bytes(range(256)) * 10_000
    (tmp_path / "file").write_bytes(data)

    assert durable.sha256(tmp_path / "file") == hashlib.sha256(data).hexdigest()


def test_files_are_named_from_the_folder_in_order(tmp_path: Path) -> None:
    """Forward slashes on every system, so that manifests can travel."""
    folder_with(tmp_path / "b", "x")
    (tmp_path / "a").write_text("", encoding="utf-8")

    assert [name for name, _ in durable.files_in(tmp_path)] == ["a", "b/deep/file"]


def test_a_folder_moves_into_place(tmp_path: Path) -> None:
    """Nothing stays behind."""
    durable.move_into_place(folder_with(tmp_path / "part", "new"), tmp_path / "final")

    assert [name for name, _ in durable.files_in(tmp_path)] == ["final/deep/file"]


def test_a_folder_in_the_way_is_replaced_as_a_whole(tmp_path: Path) -> None:
    """Files of the old folder do not survive in the new one."""
    old = folder_with(tmp_path / "final", "old")
    (old / "more").write_text("old", encoding="utf-8")

    durable.move_into_place(folder_with(tmp_path / "part", "new"), old)

    assert [(name, path.read_text(encoding="utf-8")) for name, path in durable.files_in(tmp_path)] == [
        ("final/deep/file", "new")
    ]


def test_text_is_replaced_in_one_step(tmp_path: Path) -> None:
    """No temporary file is left."""
    durable.write_text(tmp_path / "file", "one")
    durable.write_text(tmp_path / "file", "zwölf")

    assert [(name, path.read_text(encoding="utf-8")) for name, path in durable.files_in(tmp_path)] == [
        ("file", "zwölf")
    ]


def test_text_that_cannot_be_written_leaves_the_old_text(tmp_path: Path) -> None:
    """A lone surrogate has no UTF-8; the file keeps what it had."""
    durable.write_text(tmp_path / "file", "one")

    with pytest.raises(UnicodeEncodeError, match="surrogates not allowed"):
        durable.write_text(tmp_path / "file", "\ud800")
    assert (tmp_path / "file").read_text(encoding="utf-8") == "one"


def test_removing_counts_files(tmp_path: Path) -> None:
    """Folders do not count; a folder that is not there counts nothing."""
    folder = folder_with(tmp_path / "folder", "x")

    assert durable.remove(folder) == 1
    assert durable.remove(folder) == 0
    assert list(tmp_path.iterdir()) == []
