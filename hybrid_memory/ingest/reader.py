"""Read anything a user hands in and return stamped drafts.

Flow:    str, path, messages, document, Example, Preference, Fact, Task -> [read] -> screens, router, ledger
Imports: errors, types, protocols, and the modules beside it.

Everything is read and checked before anything is returned, so a bad line in a file stores nothing.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from hybrid_memory.errors import InputError
from hybrid_memory.ingest.asked_slots import AskedSlotRules
from hybrid_memory.ingest.conversation import read_conversation
from hybrid_memory.ingest.files import read_path
from hybrid_memory.ingest.imports import Brought, Row, read_row, rows_of
from hybrid_memory.ingest.slots import SlotRules
from hybrid_memory.ingest.stamp import DEEPEST, Content, as_metadata, make_stamp
from hybrid_memory.ingest.statements import read_example, read_fact, read_preference, read_task
from hybrid_memory.ingest.text import normalise, split
from hybrid_memory.protocols import TextModel
from hybrid_memory.types import Draft, Example, Fact, Json, Preference, Scope, Task, Trust, nested_deeper

__all__ = ["Reader"]

ACCEPTED = (
    "text, a pathlib.Path, a list of chat messages, a llama-index document or node, an Example, a Preference, a Fact "
    "or a Task"
)


class Reader:
    """Turns one input into drafts; one passage is one record.

    Args:
        chunk_tokens: longest passage, in word pieces (estimated).
        max_chars: longest single text; longer ones are refused, not cut.
        attributes: attribute -> "single" or "many", see SlotRules.
        proposer: a language model that is asked about sentences the rules do not read.
    """

    def __init__(
        self,
        chunk_tokens: int,
        max_chars: int,
        *,
        attributes: Mapping[str, str] | None = None,
        proposer: TextModel | None = None,
    ) -> None:
        self._chunk_tokens = chunk_tokens
        self._max_chars = max_chars
        self.rules = SlotRules(attributes) if proposer is None else AskedSlotRules(proposer, attributes)
        """How it looks for slots."""

    def read(
        self,
        x: object,
        *,
        scope: Scope,
        source: str | None = None,
        observed_at: datetime | None = None,
        valid_from: datetime | None = None,
        valid_to: datetime | None = None,
        ttl_s: float | None = None,
        trust: Trust | str | None = None,
        supersedes: str | None = None,
        metadata: Mapping[str, Json] | None = None,
        idempotency_key: str | None = None,
    ) -> list[Draft]:
        """Return one draft per passage, in the order of the input; at least one.

        A string is always text; a `pathlib.Path` is a file or folder. Times default to now
        (messages: their own), `valid_from` to `observed_at`. Trust defaults to "user"; files,
        documents and assistant turns to "external". Words like "yesterday" are resolved against the time at which
        they were said, in metadata "dates" and in the passage; in files only when a time is given.

        Args:
            x: text, path, list of messages, llama-index document, Example, Preference, Fact or Task.
            scope: whose knowledge it is.
            source: where it comes from; None takes the file name, "conversation", "text", ….
            observed_at: when it was seen or said.
            valid_from: when it begins to be true.
            valid_to: when it stops being true; after `valid_from`.
            ttl_s: lifetime after `observed_at`, seconds, greater than 0.
            trust: who vouches for it.
            supersedes: id of the record it replaces; only for an input that is one record.
            metadata: plain JSON data for every draft.
            idempotency_key: makes a repeated call harmless; several drafts get "<key>#0", "<key>#1", ….

        Raises:
            InputError: the input or an argument cannot be used; says why.
            MissingExtraError: the file needs a package that is not installed.
        """
        stamp = make_stamp(
            scope=scope,
            source=source,
            observed_at=observed_at,
            valid_from=valid_from,
            valid_to=valid_to,
            ttl_s=ttl_s,
            trust=trust,
            supersedes=supersedes,
            metadata=metadata,
            idempotency_key=idempotency_key,
        )
        contents = self._contents(x, stamp.trust)
        if supersedes is not None and len(contents) > 1:
            raise InputError(
                f"supersedes names one record, but this input became {len(contents)}; ingest the new version "
                "as one text, or forget the old record"
            )
        keys = _keys(idempotency_key, len(contents))
        drafts = [stamp.draft(content, key=key) for content, key in zip(contents, keys, strict=True)]
        return drafts

    def imported(self, source: object, form: str) -> list[object]:
        """Return the rows of another memory's export; `read` takes each of them, see `imports.rows_of`."""
        return [*rows_of(source, form)]

    def _contents(self, x: object, trust: Trust | None) -> list[Content]:
        if isinstance(x, Row):
            return self._brought(read_row(x), trust)
        if isinstance(x, str):
            return self._text(x, propose=trust is not Trust.EXTERNAL)
        if isinstance(x, Path):
            return self._files(x, propose=trust in (Trust.OPERATOR, Trust.USER))
        if isinstance(x, list | tuple):
            return self._conversation(x, propose=trust is not Trust.EXTERNAL)
        if callable(getattr(x, "get_content", None)) and isinstance(getattr(x, "metadata", None), Mapping):
            return self._document(x)
        return [self._statement(x)]

    def _statement(self, x: object) -> Content:
        if isinstance(x, Example):
            return read_example(x, max_chars=self._max_chars)
        if isinstance(x, Preference):
            return read_preference(x, max_chars=self._max_chars)
        if isinstance(x, Fact):
            return read_fact(x, rules=self.rules, max_chars=self._max_chars)
        if isinstance(x, Task):
            return read_task(x, max_chars=self._max_chars)
        raise InputError(f"cannot ingest a {type(x).__name__}; accepted are {ACCEPTED}")

    def _text(self, text: str, *, propose: bool) -> list[Content]:
        clean = normalise(text, max_chars=self._max_chars)
        pieces = split(clean, chunk_tokens=self._chunk_tokens)
        if len(pieces) > 1:
            document = "text-" + hashlib.sha256(clean.encode()).hexdigest()[:12]
            return _parts(pieces, document)
        slot, value = (self.rules.propose(clean) if propose else None) or (None, None)
        return [Content(text=clean, slot=slot, value=value)]

    def _conversation(self, messages: Sequence[object], *, propose: bool) -> list[Content]:
        rules = self.rules if propose else None
        return read_conversation(messages, chunk_tokens=self._chunk_tokens, max_chars=self._max_chars, rules=rules)

    def _document(self, document: object) -> list[Content]:
        # Documents are recognised by their members, so that llama_index need not be imported to read text.
        text: str = document.get_content()  # type: ignore[attr-defined]
        facts = _plain_metadata(document.metadata)  # type: ignore[attr-defined]
        name = str(facts.get("file_name") or getattr(document, "node_id", None) or "document")
        clean = normalise(text, what=f"document {name}", max_chars=self._max_chars)
        parts = _parts(split(clean, chunk_tokens=self._chunk_tokens), name)
        if isinstance(title := facts.get("title"), str) and title.strip():
            # The third part of a page names its subject nowhere: what is indexed begins with the title.
            parts = [dataclasses.replace(part, passages=(f"{title.strip()}\n{part.text}",)) for part in parts]
        return [_from_outside(part, source=str(facts.get("file_name") or "document"), metadata=facts) for part in parts]

    def _files(self, path: Path, *, propose: bool) -> list[Content]:
        contents: list[Content] = []
        for piece in read_path(path, max_chars=self._max_chars):
            try:
                held = self._held(piece.held, propose=propose)
            except InputError as error:
                raise InputError(f"{piece.where}: {error}") from error
            metadata = {**piece.metadata, "document": piece.document}
            contents.extend(_from_outside(content, source=piece.document, metadata=metadata) for content in held)
        if not contents:
            raise InputError(f"{path} holds no text (a scanned PDF has only pictures of it)")
        return contents

    def _brought(self, brought: Brought, trust: Trust | None) -> list[Content]:
        propose = (trust or brought.trust) is not Trust.EXTERNAL
        return [
            dataclasses.replace(
                content,
                scope=brought.scope,
                source=brought.source or content.source,
                observed_at=content.observed_at or brought.observed_at,
                valid_from=brought.valid_from,
                valid_to=brought.valid_to,
                expires_at=brought.expires_at,
                ttl_s=brought.ttl_s,
                trust=content.trust if brought.trust is None else brought.trust,
                metadata={**(content.metadata or {}), **_plain_metadata(brought.metadata)},
                live=False,
            )
            for content in self._held(brought.held, propose=propose)
        ]

    def _held(self, held: object, *, propose: bool) -> list[Content]:
        if isinstance(held, str):
            return self._text(held, propose=propose)
        if isinstance(held, list):
            return self._conversation(held, propose=propose)
        return [self._statement(held)]


def _parts(pieces: Sequence[str], document: str) -> list[Content]:
    return [
        Content(text=piece, metadata={"document": document, "part": part, "parts": len(pieces)})
        for part, piece in enumerate(pieces, start=1)
    ]


def _from_outside(content: Content, *, source: str, metadata: Mapping[str, Json]) -> Content:
    """Mark content of a file or document: nobody has vouched for it, unless the caller does."""
    return dataclasses.replace(
        content, source=source, trust=Trust.EXTERNAL, live=False, metadata={**(content.metadata or {}), **metadata}
    )


def _keys(key: str | None, count: int) -> list[str | None]:
    if key is None or count == 1:
        return [key] * count
    return [f"{key}#{number}" for number in range(count)]


def _plain_metadata(metadata: Mapping[str, object]) -> dict[str, Json]:
    return {**as_metadata({str(key): _plain(value) for key, value in metadata.items()})}


def _plain(value: object) -> Json:
    """Return metadata of a foreign document as JSON data; what is no JSON becomes text, what is too deep stays."""
    if nested_deeper(value, DEEPEST):
        return value  # type: ignore[return-value]  # refused by as_metadata
    try:
        plain: Json = json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError):
        return str(value)
    return plain
