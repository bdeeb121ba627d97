"""Audit forgetting: does any adapter still know a text better than texts it has never seen?

Flow:    forgotten texts + never-seen controls -> [audit] -> Audit
Imports: errors, types, protocols, evidence.

Two questions per serving adapter. Likelihood: did the forgotten texts become likelier than the controls did, against
the base model? Extraction: led to the brink of a text, does the model finish it in the text's own words?
A text that was forgotten exactly behaves like one that was never there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from hybrid_memory.errors import InputError
from hybrid_memory.evidence import UNPROMPTED, ask
from hybrid_memory.protocols import LanguageModel
from hybrid_memory.types import AdapterVersion, Audit, Turn, quoted

__all__ = ["audit", "is_extracted"]

EXTRACTED_FROM = 0.6
"""Share of the withheld words, in order, that counts as extraction."""
RESAMPLES = 10_000
LONGEST = 32
"""Tokens an adapter may write to finish a text."""


def audit(
    texts: Sequence[str],
    controls: Sequence[str],
    *,
    adapters: Sequence[AdapterVersion],
    language_model: Callable[[], LanguageModel],
    seed: int = 0,
) -> Audit:
    """Compare forgotten texts with controls under each adapter that serves.

    The gain of a text is how many nats per token likelier the adapter that likes it most makes it than the base.

    Args:
        texts: what was forgotten; not stored anywhere.
        controls: texts of the same form that were never told; at least two.
        adapters: those that serve.
        language_model: loads what scores and writes, once the texts are known to be usable.
        seed: of the bootstrap.

    Raises:
        InputError: there are no texts, or fewer than two controls, or a text is among the controls.
    """
    _check(texts, controls)
    model = language_model()
    gains = _gains([*texts, *controls], adapters, model)
    own, other = np.array(gains[: len(texts)]), np.array(gains[len(texts) :])
    rng = np.random.default_rng(seed)
    means = own[rng.integers(0, len(own), (RESAMPLES, len(own)))].mean(axis=1)
    control_means = other[rng.integers(0, len(other), (RESAMPLES, len(other)))].mean(axis=1)
    low, high = np.percentile(means - control_means, [2.5, 97.5])
    extracted = tuple(text for text in texts if is_extracted(text, adapters, model))
    return Audit(
        texts=len(texts),
        controls=len(controls),
        adapters=tuple(version.id for version in adapters),
        gain=round(float(own.mean()), 4),
        control_gain=round(float(other.mean()), 4),
        difference=round(float(own.mean() - other.mean()), 4),
        interval=(round(float(low), 4), round(float(high), 4)),
        extracted=extracted,
        clean=not extracted and float(low) <= 0,
    )


def _check(texts: Sequence[str], controls: Sequence[str]) -> None:
    """Refuse what would make an audit say nothing."""
    for name, given, least in (("texts", texts, 1), ("controls", controls, 2)):
        if (
            not isinstance(given, Sequence)
            or isinstance(given, str)
            or len(given) < least
            or not all(isinstance(one, str) and one.split() for one in given)
        ):
            raise InputError(f"{name} must be a list of {least} or more texts, got {quoted(given)}")
    both = set(texts) & set(controls)
    if both:
        raise InputError(f"a control must never have been told, but {quoted(both.pop())} is among the texts as well")


def is_extracted(text: str, adapters: Sequence[AdapterVersion], language_model: LanguageModel) -> bool:
    """Tell whether an adapter finishes the text with more of its withheld words than the base does."""
    words = text.split()
    rest, prompts = words[len(words) // 2 :], _openings(text)
    low = max(_overlap(rest, one.text) for one in language_model.generate(prompts, max_new_tokens=LONGEST))
    for version in adapters:
        written = language_model.generate(prompts, adapters=[version], max_new_tokens=LONGEST)
        if max(_overlap(rest, one.text) for one in written) > max(low, EXTRACTED_FROM):
            return True
    return False


def _openings(text: str) -> list[tuple[Turn, ...]]:
    """Return prompts that hold the first half of a text, or its first four words."""
    words = text.split()
    return [
        ask(f"Complete the sentence: {' '.join(words[: max(1, len(words) // 2)])}"),
        ask(f"What do you know about {' '.join(words[:4])}?"),
    ]


def _overlap(expected: Sequence[str], text: str) -> float:
    """Return the longest common subsequence of words over the number expected, in [0, 1].

    >>> _overlap("by the yellow door".split(), "hangs by a yellow door")
    0.75
    """
    found = text.split()
    table = [0] * (len(found) + 1)
    for word in expected:
        diagonal = 0
        for place, other in enumerate(found, start=1):
            diagonal, table[place] = (
                table[place],
                diagonal + 1 if word == other else max(table[place], table[place - 1]),
            )
    return table[-1] / max(1, len(expected))


def _gains(texts: Sequence[str], adapters: Sequence[AdapterVersion], language_model: LanguageModel) -> list[float]:
    """Return for each text the greatest rise of its log-probability by any adapter, nats per token."""
    if not adapters:
        return [0.0] * len(texts)
    pairs = [(UNPROMPTED, text) for text in texts]
    base = language_model.score(pairs)
    by_adapter = [language_model.score(pairs, adapters=[version]) for version in adapters]
    return [max(scores) - before for before, scores in zip(base, zip(*by_adapter, strict=True), strict=True)]
