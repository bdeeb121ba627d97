"""Clean text and cut it into passages.

Flow:    any input -> [normalise, split] -> drafts
Imports: errors, types. llama_index is imported with the first text that is too long for one passage.
"""

from __future__ import annotations

import re
import unicodedata

from hybrid_memory.errors import InputError
from hybrid_memory.types import quoted

__all__ = ["count_tokens", "has_unseen", "is_blank", "normalise", "split"]

HIDDEN = re.compile("[\u00ad\u200b\u2060-\u2064\ufeff\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f]")
"""Characters that show nothing: soft hyphen, zero-width space, direction marks, tags. Text that people cannot
see but models read is how instructions are smuggled. Joiners (200C, 200D) stay: scripts and emoji need them."""
DROPPED = {"Cc", "Cs"}
"""Unicode categories: control characters, and halves of surrogate pairs (not storable as UTF-8)."""
BLANKS = re.compile(r"(?<=\S)[^\S\n]+")
"""Blanks after the first visible character of a line; those before it are indentation and stay."""
MANY_LINES = re.compile(r"\n{3,}")
TOKEN = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|\w{1,6}|[^\w\s]")
"""About one word piece: a CJK character, six letters of a word, or a sign."""
SENTENCE_END = re.compile(
    r"(?:(?<=[.!?\u2026])[\"')\]]*\s+(?=[\"'(\[]*[A-Z0-9\u00c0-\u00de])|(?<=[\u3002\uff01\uff1f])|\n+)"
)


def normalise(text: str, *, what: str = "the text", max_chars: int) -> str:
    r"""Return the text in one form, so that what looks equal is equal.

    Unicode NFC, line ends as newline, no control or invisible characters, runs of blanks as
    one (indentation and up to one empty line stay), no blanks around it.

    Args:
        text: what was handed in.
        what: how an error message calls it.
        max_chars: longest accepted text; a longer one is refused, not cut.

    Raises:
        InputError: it is no text, nothing is left, or the text is too long.

    >>> normalise("cafe\u0301  au\tlait \r\n", max_chars=100)
    'café au lait'
    """
    if not isinstance(text, str):
        raise InputError(f"{what} must be text, got {quoted(text)}")
    if len(text) > max_chars:
        raise InputError(
            f"{what} has {len(text)} characters, accepted are up to {max_chars}; cut it into several documents "
            "or raise ingest.max_chars"
        )
    rows = [BLANKS.sub(" ", row).rstrip() for row in _visible(text).split("\n")]
    clean = MANY_LINES.sub("\n\n", "\n".join(rows)).strip("\n")
    if not clean.strip():
        raise InputError(f"{what} is empty or only blanks; give at least one word")
    return clean.strip() if "\n" not in clean else clean


def is_blank(text: str) -> bool:
    r"""Tell whether nothing can be seen of the text: what `normalise` refuses as empty.

    >>> is_blank(" \u200b"), is_blank("a")
    (True, False)
    """
    return not _visible(text).strip()


def has_unseen(text: str) -> bool:
    r"""Tell whether the text has characters that show nothing, which `normalise` leaves out.

    >>> has_unseen("1 2\r\n3 0"), has_unseen("12\u200b")
    (False, True)
    """
    return len(_visible(text)) < len(_in_one_form(text))


def count_tokens(text: str) -> int:
    """Estimate how many word pieces the text has; close to MiniLM's own count, without its tokenizer.

    >>> count_tokens("Retrieval finds it.")
    5
    """
    return len(TOKEN.findall(text))


def split(text: str, *, chunk_tokens: int) -> list[str]:
    """Cut text at paragraphs and sentences into pieces of at most `chunk_tokens` tokens; nothing is repeated.

    Short text comes back whole.
    """
    if count_tokens(text) <= chunk_tokens:
        return [text]
    from llama_index.core.node_parser import SentenceSplitter

    # With its own defaults the splitter fetches tiktoken and NLTK data; both functions are ours instead.
    splitter = SentenceSplitter(
        chunk_size=chunk_tokens,
        chunk_overlap=0,
        tokenizer=TOKEN.findall,
        chunking_tokenizer_fn=_sentences,
        paragraph_separator="\n\n",
    )
    pieces: list[str] = splitter.split_text(text)
    return pieces


def _visible(text: str) -> str:
    storable = "".join(
        sign for sign in _in_one_form(text) if sign in "\n\t" or unicodedata.category(sign) not in DROPPED
    )
    return HIDDEN.sub("", storable)


def _in_one_form(text: str) -> str:
    return unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n"))


def _sentences(text: str) -> list[str]:
    """Cut behind each sentence end; the pieces joined are the text again."""
    ends = [match.end() for match in SENTENCE_END.finditer(text)]
    starts = [0, *ends]
    return [piece for start, end in zip(starts, [*ends, len(text)], strict=True) if (piece := text[start:end])]
