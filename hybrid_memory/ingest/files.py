"""Files and folders -> what they hold: pages of text, or values written as JSON lines.

Flow:    path -> [files] -> reader
Imports: errors, types, and the modules beside it. llama_index only for PDF, inside the function.
"""

from __future__ import annotations

import importlib.util
import json
import os.path
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

from hybrid_memory.errors import InputError, MissingExtraError
from hybrid_memory.types import Example, Fact, Json, Preference, Scope, Task, named, quoted

__all__ = ["SUFFIXES", "Piece", "held_in", "read_path"]

SUFFIXES = (".txt", ".md", ".jsonl", ".pdf", ".html", ".htm")
LINE_FORMS = (
    '{"text"}, {"prompt", "response"}, {"subject", "attribute", "value"}, {"rule"}, {"name", "demonstrations"} or '
    '{"messages"}'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One thing found in a file."""

    held: object
    """Text, Example, Preference, Fact, Task, or a list of messages."""
    document: str
    """The file, relative to the folder that was given."""
    metadata: Mapping[str, Json]
    where: str
    """How an error message calls it: "notes.jsonl line 3"."""


def read_path(path: Path, *, max_chars: int) -> Iterator[Piece]:
    """Yield what a file holds, or all readable files of a folder in the order of their names.

    Empty files yield nothing. Hidden files and files with other suffixes are passed over in a folder.

    Raises:
        InputError: no such path, nothing readable there, a damaged file, or one that is too long.
        MissingExtraError: PDF needs a package that is not installed.
    """
    if os.path.isdir(path):  # Path.is_dir raises where a name is too long for any file
        files = [file for file in sorted(path.rglob("*")) if _readable(file, path)]
        if not files:
            raise InputError(f"folder {path} has no file that can be read; accepted are {', '.join(SUFFIXES)}")
        for file in files:
            yield from _pieces(file, file.relative_to(path).as_posix(), max_chars)
    elif not os.path.isfile(path):
        raise InputError(f"there is no file or folder {path}; a plain string would be taken as text")
    elif path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{path.name} has suffix {quoted(path.suffix)}; accepted are {', '.join(SUFFIXES)}")
    else:
        yield from _pieces(path, path.name, max_chars)


def _readable(file: Path, folder: Path) -> bool:
    hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
    return file.is_file() and not hidden and file.suffix.lower() in SUFFIXES


def _pieces(file: Path, document: str, max_chars: int) -> Iterator[Piece]:
    suffix = file.suffix.lower()
    if suffix == ".pdf":
        for number, page in enumerate(_pdf_pages(file), start=1):
            if page.strip():
                yield Piece(held=page, document=document, metadata={"page": number}, where=f"{document} page {number}")
        return
    text = _text(file, max_chars)
    if suffix == ".jsonl":
        yield from _lines(text, document)
    elif held := (_visible_text(text) if suffix in (".html", ".htm") else text).strip():
        yield Piece(held=held, document=document, metadata={}, where=document)


def _text(file: Path, max_chars: int) -> str:
    # UTF-8 has at most 4 bytes per character: a larger file is too long without reading it.
    if file.suffix.lower() != ".jsonl" and file.stat().st_size > 4 * max_chars:
        raise InputError(f"{file.name} has {file.stat().st_size} bytes; accepted are up to {max_chars} characters")
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{file.name} is not UTF-8 text (byte {error.start}); convert it first") from error


# ---------------------------------------------------------------- JSON lines


def _lines(text: str, document: str) -> Iterator[Piece]:
    for number, line in enumerate(text.split("\n"), start=1):  # splitlines() would also cut at U+2028 inside a text
        if not line.strip():
            continue
        where = f"{document} line {number}"
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError(f"{where} is not JSON: {error}") from error
        if not isinstance(row, dict):
            raise InputError(f"{where} is {quoted(row)}; a line is an object: {LINE_FORMS}")
        if named := [key for key in ("scope", *Scope().keys()) if row.get(key) is not None]:
            raise InputError(
                f"{where} names {', '.join(named)}, but a file is ingested into the scope of the call; "
                "import_from(path, 'jsonl') keeps each line's own"
            )
        metadata = row.get("metadata", {})
        if not isinstance(metadata, dict):
            raise InputError(f"{where}: metadata must be an object, got {quoted(metadata)}")
        yield Piece(held=held_in(row, where), document=document, metadata={**metadata, "line": number}, where=where)


def held_in(row: Mapping[str, object], where: str) -> object:
    """Return what a JSON line says: text, Example, Preference, Fact, Task, or a list of messages.

    Raises:
        InputError: it has none of these forms.
    """
    if "messages" in row:
        return row["messages"]
    if "rule" in row:
        return Preference(_field(row, "rule", where), tuple(_examples(row.get("examples", []), where)))
    if "name" in row and "demonstrations" in row:
        return Task(_field(row, "name", where), tuple(_examples(row["demonstrations"], where, "demonstrations")))
    if "prompt" in row and "response" in row:
        return Example(_field(row, "prompt", where), _field(row, "response", where))
    if "subject" in row and "attribute" in row and "value" in row:
        text = _field(row, "text", where) if "text" in row else None
        subject, attribute, value = (_field(row, name, where) for name in ("subject", "attribute", "value"))
        return Fact(subject, attribute, value, text)
    if "text" in row:
        return _field(row, "text", where)
    raise InputError(f"{where} has the keys {named(row) or 'none'}; a line is one of {LINE_FORMS}")


def _field(row: Mapping[str, object], name: str, where: str) -> str:
    value = row.get(name)
    if not isinstance(value, str):
        raise InputError(f"{where}: {name} must be text, got {quoted(value)}")
    return value


def _examples(rows: object, where: str, name: str = "examples") -> Iterator[Example]:
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
        raise InputError(f'{where}: {name} must be a list of {{"prompt", "response"}}, got {quoted(rows)}')
    for row in rows:
        yield Example(_field(row, "prompt", where), _field(row, "response", where))


# ---------------------------------------------------------------- PDF and HTML


def _pdf_pages(file: Path) -> list[str]:
    if importlib.util.find_spec("pypdf") is None:
        raise MissingExtraError(f"reading {file.name} needs pypdf: pip install 'hybrid-memory-sdk[pdf]'")
    from llama_index.readers.file import PDFReader
    from tenacity import RetryError

    try:
        pages = PDFReader().load_data(file)
    except RetryError as error:  # the reader tries three times and hides the cause in this one
        raise InputError(f"{file.name} cannot be read as PDF: {quoted(error.last_attempt.exception())}") from error
    return [page.get_content() for page in pages]


class _VisibleText(HTMLParser):
    """Collects what a browser shows: block elements begin a line, scripts and styles are passed over."""

    # llama-index's HTMLTagReader glues neighbouring blocks ("<p>One</p><p>Two</p>" is "OneTwo")
    # and returns the code in <script>, so this is ours, over the standard library's parser.
    HIDDEN = frozenset({"script", "style", "template", "noscript", "head"})
    LINES = re.compile(
        r"address|article|aside|blockquote|br|caption|dd|div|dl|dt|figcaption|footer|form|h[1-6]|header|hr|li|main|nav"
        r"|ol|option|p|pre|section|table|tr|ul"
    )

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002 - fixed name
        self._hidden += tag in self.HIDDEN
        self._space(tag)

    def handle_endtag(self, tag: str) -> None:
        self._hidden = max(0, self._hidden - (tag in self.HIDDEN))
        self._space(tag)

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.parts.append(re.sub(r"\s+", " ", data))

    def _space(self, tag: str) -> None:
        if self.LINES.fullmatch(tag):
            self.parts.append("\n")
        elif tag in ("td", "th"):
            self.parts.append(" ")


def _visible_text(html: str) -> str:
    parser = _VisibleText()
    parser.feed(html)
    parser.close()
    lines = (line.strip() for line in "".join(parser.parts).split("\n"))
    return "\n".join(line for line in lines if line)
