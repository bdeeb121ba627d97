"""Further screens from well-kept libraries, each behind an extra: detect-secrets and Presidio.

Flow:    draft -> [screens of `routing.screens`] -> findings -> router, beside the built-in screens.
Imports: errors, types; the libraries when a screen is made.
"""

from __future__ import annotations

import threading
from typing import Any, Final

from hybrid_memory.errors import MissingExtraError
from hybrid_memory.types import Finding

__all__ = ["DetectSecretsScreen", "PresidioScreen"]

IDENTIFIERS: Final = frozenset(
    "CREDIT_CARD CRYPTO EMAIL_ADDRESS IBAN_CODE IP_ADDRESS MEDICAL_LICENSE PHONE_NUMBER US_BANK_NUMBER "
    "US_DRIVER_LICENSE US_ITIN US_PASSPORT US_SSN UK_NHS UK_NINO ES_NIF IT_FISCAL_CODE PL_PESEL SG_NRIC_FIN "
    "AU_TFN IN_PAN IN_AADHAAR".split()
)
"""What identifies a person. Names, places and dates do not count: a memory is full of them."""

ALLOWLIST: Final = "detect_secrets.filters.allowlist.is_line_allowlisted"
"""Its filter for lines marked "pragma: allowlist secret": whoever writes a text may not decide that it is screened."""
NETWORKED: Final = ("EmailRecognizer", "UrlRecognizer")
"""Presidio's recognizers that ask the network for a list of domains; mail addresses are seen by PersonalScreen."""
WORDS: Final = "hybrid_memory_words_as_lemmas"
"""Name of our step in spaCy's register."""
_ONE_AT_A_TIME = threading.Lock()
"""detect-secrets keeps its settings in module globals."""


class DetectSecretsScreen:
    """Secrets by the plug-ins of detect-secrets, but for those that measure entropy: prose has too much of it."""

    def __init__(self) -> None:
        """Load the plug-ins.

        Raises:
            MissingExtraError: detect-secrets is not installed.
        """
        try:
            from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class
        except ImportError as error:
            raise _missing("detect-secrets", "secrets") from error
        classes = get_mapping_from_secret_type_to_class().values()
        self._plugins = [{"name": one.__name__} for one in classes if "HighEntropy" not in one.__name__]

    def screen(self, text: str) -> tuple[Finding, ...]:
        """Return one finding per kind of secret; the secret itself is never repeated."""
        from detect_secrets.core.scan import scan_line
        from detect_secrets.settings import transient_settings

        with _ONE_AT_A_TIME, transient_settings({"plugins_used": self._plugins}) as settings:
            settings.disable_filters(ALLOWLIST)
            kinds = dict.fromkeys(found.type for line in text.splitlines() for found in scan_line(line))
        return tuple(Finding(screen="secret", detail=f"{kind} (detect-secrets)") for kind in kinds)


class PresidioScreen:
    """Identifiers of persons by the patterns and checksums of Microsoft Presidio.

    The engine that is made by default knows no names and no places, so it needs no language model and no network.
    """

    def __init__(self, analyzer: Any = None, *, least: float = 0.5, language: str = "en") -> None:
        """Take an AnalyzerEngine, or make the default one.

        Args:
            analyzer: a presidio_analyzer.AnalyzerEngine; None makes one without a language model.
            least: least score of a result that counts, in [0, 1].
            language: of the texts, as Presidio names it.

        Raises:
            MissingExtraError: presidio-analyzer is not installed.
        """
        self._analyzer = _presidio(language) if analyzer is None else analyzer
        self._least = least
        self._language = language

    def screen(self, text: str) -> tuple[Finding, ...]:
        """Return one finding per kind of identifier, with the highest score of its kind."""
        results = self._analyzer.analyze(text=text, language=self._language)
        found: dict[str, float] = {}
        for one in results:
            if one.entity_type in IDENTIFIERS and one.score >= self._least:
                found[one.entity_type] = max(found.get(one.entity_type, 0.0), float(one.score))
        return tuple(
            Finding(screen="personal", detail=f"{kind} (Presidio)", score=score) for kind, score in found.items()
        )


def _presidio(language: str) -> Any:
    """Make an AnalyzerEngine of patterns alone; by default it would download a language model of 400 MB."""
    try:
        import spacy
        from presidio_analyzer import AnalyzerEngine
        from presidio_analyzer.nlp_engine import SpacyNlpEngine
    except ImportError as error:
        raise _missing("presidio-analyzer", "personal-data") from error
    spacy.language.Language.component(WORDS, func=_words_as_lemmas)
    pipeline = spacy.blank(language)
    pipeline.add_pipe(WORDS)
    engine = SpacyNlpEngine()
    engine.nlp = {language: pipeline}  # loaded, as Presidio's documentation has it for pipelines of one's own
    analyzer = AnalyzerEngine(nlp_engine=engine, supported_languages=[language])
    for name in NETWORKED:
        analyzer.registry.remove_recognizer(name)
    return analyzer


def _words_as_lemmas(doc: Any) -> Any:
    """Let Presidio find the words beside a number, such as "phone"; it looks for them among lemmas."""
    for token in doc:
        token.lemma_ = token.lower_
    return doc


def _missing(package: str, extra: str) -> MissingExtraError:
    return MissingExtraError(f"{package} is not installed; pip install 'hybrid-memory-sdk[{extra}]'")
