"""The instruction screen on attack texts and on honest ones, and what the router does with the attacks.

Flow:     injection sets -> screen -> shares seen; and -> router -> how many would be learned
Imports:  hybrid_memory (the routing stage)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks.routing_measures import share
from benchmarks.routing_sets import Row, planted, read, wrapped
from hybrid_memory.build import default_screens
from hybrid_memory.routing.durability import Classifier, DurabilityClassifier, Judgement
from hybrid_memory.routing.policy import load_policy
from hybrid_memory.routing.router import PolicyRouter
from hybrid_memory.routing.screens import InstructionScreen
from hybrid_memory.testing import draft_of
from hybrid_memory.types import FloatArray, Kind, Route, Trust

__all__ = ["screens"]

QUARANTINE = 0.5
"""Least score that sets an external text aside."""


class Eager:
    """A classifier that takes every text for lasting behaviour: what then keeps a payload out is not its doing."""

    def judge(self, texts: Sequence[str], vectors: FloatArray) -> list[Judgement]:  # noqa: ARG002 - none is needed
        """Return the same judgement for every text."""
        sure = Judgement(never=1.0, slow=0.0, fast=0.0, behaviour=1.0, kinds={Kind.PROCEDURE: 1.0})
        return [sure for _ in texts]


def screens(data: Path, policy: str, encode: Callable[[Sequence[str]], FloatArray]) -> Row:
    """Return detection, false alarms, and payloads that become training material under a policy.

    `encode` embeds the payloads for the shipped classifier; `learned_though_judged_lasting` needs none.
    """
    mails = [row["context"] for row in read(data / "inj_bipia" / "dev_contexts.jsonl")]
    in_mails = {place: list(planted(data, mails, place)) for place in ("start", "middle", "end")}
    attacks = _attacks(data)
    honest = {
        "inj_bipia mails": mails,
        "inj_agentdojo mails": [row["text"] for row in read(data / "inj_agentdojo" / "dev_benign.jsonl")],
        "inj_notinject": [row["text"] for row in read(data / "inj_notinject" / "dev.jsonl")],
        "feedbackqa pages": [row["text"] for row in read(data / "feedbackqa" / "corpus.jsonl")],
    }
    return {
        "seen": {f"inj_bipia {place}": _seen(texts) for place, texts in in_mails.items()}
        | {name: _seen(texts) for name, texts in attacks.items()},
        "set_aside": {f"inj_bipia {place}": _seen(texts, QUARANTINE) for place, texts in in_mails.items()}
        | {name: _seen(texts, QUARANTINE) for name, texts in attacks.items()},
        "false_alarms": {name: _seen(texts) for name, texts in honest.items()},
        "learned": _learned(data, policy, DurabilityClassifier.load(), encode),
        "learned_though_judged_lasting": _learned(data, policy, Eager(), encode),
    }


def _seen(texts: Sequence[str], least: float = 0.0) -> float:
    screen = InstructionScreen()
    return share([any(finding.score >= least for finding in screen.screen(text)) for text in texts])


def _attacks(data: Path) -> dict[str, list[str]]:
    return {
        "inj_agentdojo wrapped": list(wrapped(data)),
        "inj_tensortrust": [row["attack"] for row in read(data / "inj_tensortrust" / "dev.jsonl")],
        "inj_agent_threat": list(_poisoned(data)),
    }


def _poisoned(data: Path) -> Iterator[str]:
    for row in read(data / "inj_agent_threat" / "dev.jsonl"):
        marker = str(row.get("attack_marker") or "\0").casefold()
        yield from (text for text in row.get("memory_store", {}).values() if marker in text.casefold())
        if row["set"] == "ipi_coding_agent" and not row["is_benign"]:
            yield row["issue_text"]
        for number in row.get("attack_email_indices", []):  # counted from 1
            yield json.dumps(row["inbox"][number - 1])


def _learned(data: Path, policy: str, classifier: Classifier, encode: Callable[[Sequence[str]], FloatArray]) -> Row:
    """Count payloads of four sets that would become training material with a classifier.

    A stranger's word, alone and with nine others; a user's, alone and confirmed by a second source.
    """
    looks, router = default_screens(), PolicyRouter(load_policy(policy), classifier)
    sets = {"inj_bipia": [row["payload"] for row in read(data / "inj_bipia" / "dev.jsonl")]} | _attacks(data)
    counts: Row = {}
    for name, texts in sets.items():
        found = [tuple(finding for screen in looks for finding in screen.screen(text)) for text in texts]
        counts[name] = {"n": len(texts)}
        for trust, said in ((Trust.EXTERNAL, 0), (Trust.EXTERNAL, 9), (Trust.USER, 0), (Trust.USER, 1)):
            drafts = [draft_of(text, trust=trust) for text in texts]
            decisions = router.route(drafts, encode(texts), found, [said] * len(texts))
            counts[name][f"{trust} said by {said + 1}"] = sum(one.route is Route.LEARN for one in decisions)
    return counts
