"""Which language a text is in, for rules that ask; needs the extra "language".

Flow:    router, a rule with `language` -> [language] -> two-letter code.
Imports: errors.
"""

from __future__ import annotations

from hybrid_memory.errors import MissingExtraError

__all__ = ["detected_language"]


def detected_language(text: str) -> str:
    """Return the two-letter code (ISO 639-1) of the language that a text is most likely in.

    Raises:
        MissingExtraError: py3langid is not installed.
    """
    try:
        import py3langid
    except ImportError as error:
        raise MissingExtraError(
            "a rule of the policy asks for the language of a text without metadata.language; "
            "pip install 'hybrid-memory-sdk[language]', or give metadata={'language': 'en'}"
        ) from error
    return str(py3langid.classify(text)[0])
