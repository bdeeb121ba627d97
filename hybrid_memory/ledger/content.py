"""When two drafts say the same thing, and how a forgotten one is recognised without keeping it.

Flow:    writing.py compares drafts by these hashes; forgetting.py leaves tombstones of them.
Imports: types, wording.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import unicodedata
from collections.abc import Mapping, Sequence

from hybrid_memory.types import IMPORTED_ID, IMPORTED_ROW, OWN_QUESTION, OWN_WORDS, Draft, Example, Json, Slot
from hybrid_memory.wording import plain

__all__ = [
    "both_hashes",
    "content_hash",
    "grave_hashes",
    "marks",
    "near_hash",
    "own_hashes",
    "row_hash",
    "said_text",
    "same_content",
    "tombstone",
]

_END = re.compile(r"""(?<=[\w)\]%€$£°])\.(?=\s|$)|(?<=[^\W\d_])["'”’»]*[.!…]?["'”’»]*(?=\s|$)""")
"""The end of a sentence or of a quotation. Behind a number a quote may be feet, and "!" more than a loud voice."""
_OPENING = re.compile(r"""(?<!\S)["'“‘«]+(?=\w)""")
_ARTICLES = {"the", "a", "an"}


def content_hash(*, text: str, slot: Slot | None, value: str | None, examples: Sequence[Example]) -> str:
    """Return the SHA-256, in hex, of what a draft says: the slot's value when it fills one, its text otherwise.

    Two sentences that give a slot the same value are the same content. Spaces and Unicode forms (NFC) are
    folded; case is not, because it may carry meaning: 5 mW is no 5 MW.

    >>> slot = Slot("Harbour café", "opens at")
    >>> first = content_hash(text="It opens at nine.", slot=slot, value="nine", examples=())
    >>> first == content_hash(text="Opening time: nine", slot=slot, value=" nine", examples=())
    True
    """
    said = ["text", _folded(text)] if slot is None or value is None else ["slot", slot.key, _folded(value)]
    return _hashed(said, examples)


def near_hash(text: str, examples: Sequence[Example] = ()) -> str:
    """Return the content hash of a text without what never changes its meaning.

    That is the end of a sentence, quote marks around words, the capital it begins with, and a first article.
    Everything else counts, down to signs and capitals: "x != 5" and "US" are not "x = 5" and "us".

    >>> near_hash("The night shift starts at ten.") == near_hash("Night shift starts at ten!")
    True
    >>> near_hash("Never commit .env files.") == near_hash("Never commit env files.")
    False
    """
    words = _OPENING.sub("", _END.sub("", _folded(text))).split()
    if words and (words[0][1:].islower() or words[0] == "A"):
        words[0] = words[0].lower()
    if len(words) > 2 and words[0] in _ARTICLES:
        words = words[1:]
    return content_hash(text=" ".join(words) or text, slot=None, value=None, examples=examples)


def same_content(draft: Draft) -> tuple[str, str]:
    """Return the draft's content hash and its near hash, see `both_hashes`."""
    text = said_text(draft.text, draft.asked)
    return both_hashes(text=text, slot=draft.slot, value=draft.value, examples=draft.examples)


def both_hashes(*, text: str, slot: Slot | None, value: str | None, examples: Sequence[Example]) -> tuple[str, str]:
    """Return the content hash and the near hash of what is said.

    Words that do not bear the value of their slot, such as an item under a key of a store, say nothing of it: they are
    never nearly the same as a statement without that slot.
    """
    full = content_hash(text=text, slot=slot, value=value, examples=examples)
    stated = value is None or _folded(value).casefold() in _folded(text).casefold()
    return full, near_hash(text, examples) if stated else full


def said_text(text: str, asked: str | None) -> str:
    """Return what a text says: with the question before it, if it answers one."""
    return text if asked is None else f"{asked}\n{text}"


def grave_hashes(*, text: str, slot: Slot | None, value: str | None, examples: Sequence[Example]) -> set[str]:
    """Return the hashes by which what was said is recognised after it was forgotten.

    Rougher than what joins records: without case and punctuation. A text that only looks like a forgotten one is
    refused with a message and can be forced; one that came back in other clothes would be noticed by nobody.
    """
    said = ["text", _folded(text)] if slot is None or value is None else ["slot", slot.key, _folded(value).casefold()]
    return {_hashed(said, examples), _hashed(["text", _folded(text)]), _hashed(["text", plain(text)], examples)}


def own_hashes(metadata: Mapping[str, Json]) -> set[str]:
    """Return the grave hashes of the words in which a turn was said that a model stated anew; none for others."""
    said = _own_said(metadata)
    return set() if said is None else grave_hashes(text=said, slot=None, value=None, examples=())


def marks(metadata: Mapping[str, Json]) -> dict[str, str | None]:
    """Return the columns by which a record is found besides its own words, each None for most.

    The words of a turn that it states anew, hashed as a record of these words would be, and the row of an export.
    """
    said = _own_said(metadata)
    return {"own_hash": None if said is None else near_hash(said), "row_hash": row_hash(metadata)}


def row_hash(metadata: Mapping[str, Json]) -> str | None:
    """Return the hash of what names a row among all exports; None for what has no id in any."""
    if metadata.get(IMPORTED_ID) is None:
        return None
    return _hashed(["row", *(str(metadata.get(name)) for name in IMPORTED_ROW)])


def _own_said(metadata: Mapping[str, Json]) -> str | None:
    """Return what a speaker said that a model stated anew, with the question it answered."""
    own, asked = metadata.get(OWN_WORDS), metadata.get(OWN_QUESTION)
    return said_text(own, asked if isinstance(asked, str) else None) if isinstance(own, str) else None


def tombstone(salt: str, hashed: str) -> str:
    """Return what is kept of a forgotten content hash: HMAC-SHA-256 under this ledger's own salt, in hex.

    Without the salt, anybody who holds a copy of the table could try likely texts against it.
    """
    return hmac.new(salt.encode(), hashed.encode(), hashlib.sha256).hexdigest()


def _folded(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())


def _hashed(said: Sequence[str], examples: Sequence[Example] = ()) -> str:
    shown = [[example.prompt, example.response] for example in examples]
    return hashlib.sha256(json.dumps([said, shown], ensure_ascii=True).encode()).hexdigest()
