"""What a decision costs beside the encoder's own call, one by one and in batches.

Flow:     texts of the mix -> encoder; -> encoder, screens, router -> milliseconds, texts a second
Imports:  hybrid_memory (encoder, screens and router)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.routing_sets import Row, routing_mix
from hybrid_memory.protocols import Router
from hybrid_memory.testing import draft_of

__all__ = ["latency"]


def latency(data: Path, folder: Path, router: Router) -> Row:
    """Time decisions (encoder, screens, cues, heads, rules) beside the encoder alone: single and in batches of 64.

    Milliseconds are of the processor, not of the clock on the wall, and both are timed in turn: a machine that others
    use as well slows neither of them more than the other. The encoder remembers no text.
    """
    from hybrid_memory.build import default_screens
    from hybrid_memory.retrieval.encoder import SentenceEncoder

    encoder, looks = SentenceEncoder(folder, cache_size=0), default_screens()
    texts = [row["text"] for row in routing_mix(data, everything=False)][:192]

    def encoded(some: Sequence[str]) -> None:
        encoder.encode(some)

    def routed(some: Sequence[str]) -> None:
        found = [tuple(finding for screen in looks for finding in screen.screen(text)) for text in some]
        router.route([draft_of(text) for text in some], encoder.encode(some), found, [0] * len(some))

    encoded(texts[:8])
    singly = np.array([(_ms(encoded, [text]), _ms(routed, [text])) for text in texts[:96]])
    batches = [texts[start : start + 64] for start in range(0, len(texts), 64)]
    whole = np.array([(_ms(encoded, batch), _ms(routed, batch)) for batch in batches]).sum(axis=0)
    encoder_ms, decision_ms = np.median(singly, axis=0)
    return {
        "p50_ms": {"encoder": round(float(encoder_ms), 2), "decision": round(float(decision_ms), 2)},
        "p50_ratio": round(float(decision_ms / encoder_ms), 3),
        "texts_per_s": dict(zip(("encoder", "decision"), (1000 * len(texts) / whole).round(1).tolist(), strict=True)),
        "throughput_ratio": round(float(whole[0] / whole[1]), 3),
    }


def _ms(work: Callable[[Sequence[str]], None], texts: Sequence[str]) -> float:
    started = time.process_time()
    work(texts)
    return 1000 * (time.process_time() - started)
