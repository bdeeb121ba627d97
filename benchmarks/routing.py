"""How well texts are routed and screened, on public sets that were never trained on.

    python -m benchmarks.routing --data-dir ../shared/data [--vectors CACHE.npz] [--latency] [--smoke]

Flow:     public sets -> encoder, cues -> judgements, decisions -> tables, one JSON line, results/routing.json, curves
Imports:  hybrid_memory (stages included: this measures one of them)

Volatility is measured on labels by people (FreshQA, SituatedQA) and by source (routing mix); routes on whole sources
with trust "operator", so that the ladder lets everything pass that the classifier would learn; screens on attack
texts alone, in published wrappers and planted in honest mails.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from benchmarks.routing_costs import expected_costs
from benchmarks.routing_latency import latency
from benchmarks.routing_measures import auc, classes, coverage, share
from benchmarks.routing_screens import screens
from benchmarks.routing_sets import Row, by_source, fact_statements, memories, questions, routing_mix
from hybrid_memory.build import router_of
from hybrid_memory.config import Settings, home
from hybrid_memory.protocols import Router
from hybrid_memory.routing.durability import DurabilityClassifier, Judgement
from hybrid_memory.routing.policy import load_policy
from hybrid_memory.routing.policy_tables import Costs
from hybrid_memory.testing import draft_of
from hybrid_memory.types import Decision, FloatArray, Route, Trust

RESULTS = Path(__file__).parent / "results"
PARAPHRASES = Path(__file__).parents[1] / "tests" / "data" / "routing_paraphrases.jsonl"
MIX = {"never": "stable_fact", "slow": "slow_changing", "fast": "volatile"}
Encode: TypeAlias = Callable[[Sequence[str]], FloatArray]


def main() -> None:
    """Measure everything, print tables and one JSON line, draw the curves."""
    arguments = _arguments()
    data: Path = arguments.data_dir
    encode = _encoder(arguments.encoder, arguments.vectors)
    router = router_of(arguments.policy)
    classifier = DurabilityClassifier.load()

    def judged(texts: Sequence[str]) -> list[Judgement]:
        return classifier.judge(texts, encode(texts))

    figures: Row = {
        "volatility": _volatility(data, judged),
        "routes": _routes(data, encode, router, load_policy(arguments.policy).costs),
        "screens": screens(data, arguments.policy, encode),
        "admission": _admission(data, encode),
        "paraphrases": _paraphrases(encode, router),
        "curve": _curve(data, judged),
    }
    if arguments.latency:
        figures["latency"] = latency(data, arguments.encoder, router)
    figures |= {
        "classifier": {name: classifier.description[name] for name in ("statements", "domains", "held_out")},
        "policy": router.name,
        "part": arguments.data_dir.name,
        "seed": None,
        "settings": Settings().fingerprint(),
        "versions": {name: version(name) for name in ("numpy", "hybrid-memory-sdk")},
        "machine": f"{platform.machine()}, {platform.system()}, {os.cpu_count()} cores",
    }
    print(_table(figures))
    if not arguments.smoke:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "routing.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
        _draw(figures["curve"], RESULTS / "routing_coverage.svg")
    print(json.dumps(figures))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure routing and screens.")
    parser.add_argument("--data-dir", type=Path, required=True, help="folder with the public sets")
    parser.add_argument("--encoder", type=Path, default=home() / "models" / "all-minilm-l6-v2")
    parser.add_argument("--vectors", type=Path, help="npz with arrays texts and vectors; read, and extended if needed")
    parser.add_argument("--policy", default="default")
    parser.add_argument("--latency", action="store_true", help="also time decisions beside the encoder's own calls")
    parser.add_argument("--smoke", action="store_true", help="write no results")
    return parser.parse_args()


def _encoder(folder: Path, cache: Path | None) -> Encode:
    known: dict[str, FloatArray] = {}
    if cache is not None and cache.exists():
        stored = np.load(cache, allow_pickle=False)
        known = dict(zip(stored["texts"].tolist(), stored["vectors"], strict=True))

    def encode(texts: Sequence[str]) -> FloatArray:
        missing = sorted({text for text in texts if text not in known})
        if missing:
            from hybrid_memory.retrieval.encoder import SentenceEncoder

            known.update(zip(missing, SentenceEncoder(folder).encode(missing), strict=True))
            if cache is not None:
                np.savez(cache, texts=np.array(list(known)), vectors=np.stack(list(known.values())))
        return np.stack([known[text] for text in texts]).astype(np.float32)

    return encode


# ---------------------------------------------------------------- volatility

Judged: TypeAlias = Callable[[Sequence[str]], list[Judgement]]


def _volatility(data: Path, judged: Judged) -> Row:
    asked = questions(data)
    mix = routing_mix(data, everything=False)
    people = [row for row in mix if row["label_source"] == "human"]
    sources = [row for row in mix if row["label_source"] != "human"]
    return {
        "freshqa": _three_classes(judged, asked["freshqa"]),
        "situatedqa_time": _time_dependence(judged, asked["situatedqa_time"]),
        "routing_mix": _four_classes(judged, mix),
        "routing_mix: labels by people": _four_classes(judged, people),
        "routing_mix: labels by source": _four_classes(judged, sources),
        "routing_mix: with evaluate-only sources": _four_classes(judged, routing_mix(data, everything=True)),
        "dynamicqa": _edits(judged, fact_statements(data)),
        "pat_questions": _changed(judged, asked["pat_questions"]),
    }


def _three_classes(judged: Judged, rows: Sequence[tuple[str, str]]) -> Row:
    judgements = judged([text for text, _ in rows])
    confidence = [max(one.never, one.slow, one.fast) for one in judgements]
    return classes([one.volatility for one in judgements], [label for _, label in rows], confidence)


def _time_dependence(judged: Judged, rows: Sequence[tuple[str, bool]]) -> Row:
    judgements = judged([text for text, _ in rows])
    guesses = ["changes" if one.never < 0.5 else "never" for one in judgements]
    confidence = [max(one.never, 1 - one.never) for one in judgements]
    return classes(guesses, ["changes" if label else "never" for _, label in rows], confidence)


def _four_classes(judged: Judged, rows: Sequence[Row]) -> Row:
    judgements = judged([row["text"] for row in rows])
    guesses = ["behaviour" if one.behaviour >= 0.5 else MIX[one.volatility] for one in judgements]
    confidence = [
        one.behaviour if one.behaviour >= 0.5 else (1 - one.behaviour) * max(one.never, one.slow, one.fast)
        for one in judgements
    ]
    figures = classes(guesses, [row["label"] for row in rows], confidence)
    right = [guess == row["label"] for guess, row in zip(guesses, rows, strict=True)]
    names = sorted({row["source"] for row in rows})
    return figures | {
        "by_source": {
            name: share([flag for flag, row in zip(right, rows, strict=True) if row["source"] == name])
            for name in names
        }
    }


def _edits(judged: Judged, rows: Sequence[tuple[str, str]]) -> Row:
    """How well P(changes) ranks sentences that editors change above those that they leave alone."""
    chosen = [(text, part == "temporal") for text, part in rows if part != "disputable"]
    changing = [1 - one.never for one in judged([text for text, _ in chosen])]
    return {"n": len(chosen), "auc": auc(changing, [label for _, label in chosen])}


def _changed(judged: Judged, rows: Sequence[tuple[str, bool]]) -> Row:
    """The same for questions whose answer did or did not change between 2021 and 2024; all ask for the present."""
    judgements = judged([text for text, _ in rows])
    return {
        "n": len(rows),
        "auc": auc([one.fast for one in judgements], [label for _, label in rows]),
        "called never-changing": share([one.volatility == "never" for one in judgements]),
    }


# ---------------------------------------------------------------- routes


def _decided(texts: Sequence[str], encode: Encode, router: Router, *, trust: Trust = Trust.OPERATOR) -> list[Decision]:
    drafts = [draft_of(text, trust=trust) for text in texts]
    return router.route(drafts, encode(texts), [()] * len(texts), [0] * len(texts))


def _routes(data: Path, encode: Encode, router: Router, costs: Costs) -> Row:
    learned: dict[str, list[bool]] = {}
    kinds: dict[str, str] = {}
    for name, (kind, texts) in by_source(data).items():
        learned[name] = [one.route is Route.LEARN for one in _decided(texts, encode, router)]
        kinds[name] = kind
    pooled = {
        kind: [flag for name, flags in learned.items() if kinds[name] == kind for flag in flags]
        for kind in ("volatile", "behaviour", "stable")
    }
    shares = {kind: share(flags) for kind, flags in pooled.items()}
    return {
        "learned": {
            name: {"n": len(flags), "is": kinds[name], "share": share(flags)} for name, flags in learned.items()
        },
        "false_durable": shares["volatile"],
        "behaviour_learned": shares["behaviour"],
        "false_volatile": round(1 - shares["behaviour"], 4),
        "per_1000_records": expected_costs(shares, costs),
    }


def _paraphrases(encode: Encode, router: Router) -> Row:
    """How often two wordings of the same statement take the same route, and get the same volatility."""
    pairs = [json.loads(line)["texts"] for line in PARAPHRASES.read_text(encoding="utf-8").splitlines()]
    sides = [_decided(side, encode, router) for side in zip(*pairs, strict=True)]
    return {"n": len(pairs), "same_route": share([one.route is other.route for one, other in zip(*sides, strict=True)])}


def _admission(data: Path, encode: Encode) -> Row:
    """What share of a user's stored memories would stand beside a question as evidence, by what they would do there.

    `any` is the share of questions with one at least; `auc` how well the nearest memory's similarity tells questions
    that their memories help from the others. `answer.min_similarity` decides; only similarity is looked at.
    """
    least = Settings().answer.min_similarity
    nearest: dict[str, list[float]] = {}
    figures: Row = {"min_similarity": least}
    for name, rows in memories(data).items():
        encode([text for question, texts in rows for text in (question, *texts)])  # at once; remembered from here
        similar = [encode(texts) @ encode([question])[0] for question, texts in rows]
        nearest[name] = [float(row.max()) for row in similar]
        figures[name] = {
            "n": len(rows),
            "any": share([bool((row >= least).any()) for row in similar]),
            "memories": share([bool(value >= least) for row in similar for value in row]),
        }
    helpful = nearest.pop("beneficial_memory_usage")
    harmful = [value for values in nearest.values() for value in values]
    labels = [True] * len(helpful) + [False] * len(harmful)
    return figures | {"auc": auc([*helpful, *harmful], labels)}


def _curve(data: Path, judged: Judged) -> list[dict[str, float]]:
    """Sweep the threshold on p_durable: what share of behaviour and of volatile texts is learned as behaviour."""
    kinds: dict[str, list[Judgement]] = {"volatile": [], "behaviour": []}
    for kind, texts in by_source(data).values():
        if kind in kinds:
            kinds[kind] += judged(texts)
    return coverage(
        *(
            [one.p_durable if one.behaviour >= 0.53 else 0.0 for one in kinds[kind]]
            for kind in ("behaviour", "volatile")
        )
    )


# ---------------------------------------------------------------- report


def _table(figures: Row) -> str:
    lines = [f"policy {figures['policy']}", "", "| set | n | accuracy | macro-F1 | ECE | ECE if calibrated |"]
    lines.append("|---|---|---|---|---|---|")
    for name, row in figures["volatility"].items():
        if "accuracy" in row:
            measured = (row["accuracy"], row["macro_f1"], row["ece"], row["ece_if_calibrated"])
            lines.append(f"| {name} | {row['n']} | " + " | ".join(map(str, measured)) + " |")
        else:
            lines.append(f"| {name} | {row['n']} | AUC {row['auc']} | | | |")
    lines += ["", "| source | is | n | learned |", "|---|---|---|---|"]
    lines += [f"| {name} | {r['is']} | {r['n']} | {r['share']} |" for name, r in figures["routes"]["learned"].items()]
    lines += ["", *(f"{name}: {figures['routes'][name]}" for name in ("false_durable", "behaviour_learned"))]
    for name, errors in figures["routes"]["per_1000_records"].items():
        lines += [f"per 1,000 records, {name}: {json.dumps(errors)}"]
    for name in ("screens", "admission", "paraphrases", "latency"):
        lines += [f"{name}: {json.dumps(figures.get(name))}"]
    return "\n".join(lines)


def _draw(curve: Sequence[Any], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "routing"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(5, 3.5))
    axes.plot([100 * point["behaviour"] for point in curve], [100 * point["volatile"] for point in curve], marker=".")
    axes.axhline(2, linestyle=":", color="grey")
    axes.set_xlabel("behaviour-shaping texts learned, %")
    axes.set_ylabel("volatile texts learned, %")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


if __name__ == "__main__":
    main()
