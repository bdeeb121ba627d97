"""When two drafts say the same thing, and how a forgotten one is recognised without keeping it.

Flow:    writing.py compares drafts by these hashes; forgetting.py leaves tombstones of them.
Imports: types, wording.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import unicodedata
from collections.abc import Sequence

from hybrid_memory.types import Draft, Example, Slot
from hybrid_memory.wording import plain

__all__ = ["content_hash", "near_hash", "same_content", "text_hash", "tombstone"]


def content_hash(*, text: str, slot: Slot | None, value: str | None, examples: Sequence[Example]) -> str:
    """Return the SHA-256, in hex, of what a draft says: the slot's value when it fills one, its text otherwise.

    Two sentences that give a slot the same value are the same content. Spaces and Unicode forms are
    folded in both; case is folded in values only, because in a text it may carry meaning.

    >>> slot = Slot("Harbour café", "opens at")
    >>> first = content_hash(text="It opens at Nine.", slot=slot, value="Nine", examples=())
    >>> first == content_hash(text="Opening time: nine", slot=slot, value=" nine", examples=())
    True
    """
    said = ["text", _folded(text)] if slot is None or value is None else ["slot", slot.key, _folded(value).casefold()]
    shown = [[example.prompt, example.response] for example in examples]
    return hashlib.sha256(json.dumps([said, shown], ensure_ascii=True).encode()).hexdigest()


def near_hash(text: str, examples: Sequence[Example] = ()) -> str:
    """Return the content hash of a text without what rarely changes its meaning: case, punctuation, a first article.

    Words, their order and numbers all count: "costs 49" and "costs 59" are as close as texts get, and differ.

    >>> near_hash("The night shift starts at ten.") == near_hash("night shift starts at Ten!")
    True
    >>> near_hash("Does it start at ten?") == near_hash("It does start at ten.")
    False
    """
    return content_hash(text=plain(text), slot=None, value=None, examples=examples)


def same_content(draft: Draft) -> tuple[str, str, str]:
    """Return the draft's content hash, the hash of its bare text, and its near hash: forgetting must know all three."""
    bare = full = text_hash(draft.text)
    if draft.slot is not None or draft.examples:
        full = content_hash(text=draft.text, slot=draft.slot, value=draft.value, examples=draft.examples)
    return full, bare, near_hash(draft.text, draft.examples)


def text_hash(text: str) -> str:
    """Return the content hash of a bare text, without slot and examples."""
    return content_hash(text=text, slot=None, value=None, examples=())


def tombstone(salt: str, hashed: str) -> str:
    """Return what is kept of a forgotten content hash: HMAC-SHA-256 under this ledger's own salt, in hex.

    Without the salt, anybody who holds a copy of the table could try likely texts against it.
    """
    return hmac.new(salt.encode(), hashed.encode(), hashlib.sha256).hexdigest()


def _folded(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())
