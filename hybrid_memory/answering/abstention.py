"""Say "I don't know" rather than guess.

Flow:    evidence, adapter choice and the model's confidence -> [abstention] -> answer
Imports: nothing of this package; what is said then stands in evidence.
"""

from __future__ import annotations

__all__ = ["abstains"]


def abstains(*, evidence: bool, learned: bool, confidence: float, threshold: float) -> bool:
    """Tell whether to abstain: neither half knows about the question and the model is not sure by itself.

    Args:
        evidence: some passage was similar enough to be shown.
        learned: an adapter was chosen for the question.
        confidence: exp(mean log-probability per token) of the answer, in (0, 1].
        threshold: least confidence of an answer that stands on nothing; 0 never abstains.

    >>> abstains(evidence=False, learned=False, confidence=0.4, threshold=0.5)
    True
    >>> abstains(evidence=True, learned=False, confidence=0.4, threshold=0.5)
    False
    """
    return not evidence and not learned and confidence < threshold
