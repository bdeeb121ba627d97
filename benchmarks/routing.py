"""How well texts are routed and screened, on public sets that were never trained on.

    python benchmarks/routing.py --data-dir ../shared/data [--vectors CACHE.npz]

Flow:     public sets -> encoder, cues -> judgements, decisions -> a table, one JSON line, results/routing.json
Imports:  hybrid_memory (stages included: this measures one of them)

Volatility is measured on human labels (FreshQA, SituatedQA) and on labels by source (routing mix);
routes on whole sources with trust "operator", so that the ladder lets everything pass that the
classifier would learn; screens on attack texts planted in honest mails.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from hybrid_memory.config import home
from hybrid_memory.routing.durability import DurabilityClassifier, Judgement
from hybrid_memory.routing.policy import load_policy
from hybrid_memory.routing.router import PolicyRouter
from hybrid_memory.routing.screens import InstructionScreen
from hybrid_memory.types import Draft, FloatArray, Route, Scope, Trust

STATEMENTS = Path(__file__).parents[1] / "scripts" / "durability_statements" / "statements.jsonl"
RESULTS = Path(__file__).parent / "results" / "routing.json"
LABELS = {"never-changing": "never", "slow-changing": "slow", "fast-changing": "fast"}
MIX = {"never": "stable_fact", "slow": "slow_changing", "fast": "volatile"}
VOLATILE = ("rates", "products", "news", "mix:volatile")
BEHAVIOUR = ("coding rules", "style guide", "agent policies", "mix:behaviour")
Row: TypeAlias = dict[str, Any]
Encode: TypeAlias = Callable[[Sequence[str]], FloatArray]


def main() -> None:
    """Measure everything, print a table and one JSON line."""
    arguments = _arguments()
    data: Path = arguments.data_dir
    encode = _encoder(arguments.encoder, arguments.vectors)
    classifier = DurabilityClassifier.load()
    figures: dict[str, Any] = {
        "policy": PolicyRouter(load_policy(arguments.policy), classifier).name,
        "volatility": _volatility(data, encode, classifier),
        "routes": _routes(data, encode, PolicyRouter(load_policy(arguments.policy), classifier)),
        "screen": _screens(data),
        "overlap": _overlap(data, encode),
        "ms_per_text": _cost_ms(data, encode, classifier),
    }
    _print_table(figures)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(figures))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure routing and screens.")
    parser.add_argument("--data-dir", type=Path, required=True, help="folder with the public sets")
    parser.add_argument("--encoder", type=Path, default=home() / "models" / "all-minilm-l6-v2")
    parser.add_argument("--vectors", type=Path, help="npz with arrays texts and vectors; read, and extended if needed")
    parser.add_argument("--policy", default="default")
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


def _read(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


# ---------------------------------------------------------------- volatility


def _volatility(data: Path, encode: Encode, classifier: DurabilityClassifier) -> Row:
    fresh = [row for row in _read(data / "freshqa" / "dev.jsonl") if not row["false_premise"]]
    situated = _read(data / "situatedqa_time" / "dev.jsonl")
    free, closed = (_read(data / "routing_mix" / name) for name in ("dev.jsonl", "dev_eval_only.jsonl"))

    def judged(texts: Sequence[str]) -> list[Judgement]:
        return classifier.judge(texts, encode(texts))

    return {
        "freshqa": _three_classes(judged([row["question"] for row in fresh]), [LABELS[r["fact_type"]] for r in fresh]),
        "situatedqa": _time_dependence(
            judged([row["question"] for row in situated]), [row["time_dependent"] for row in situated]
        ),
        "mix": _four_classes(judged([row["text"] for row in free]), [row["label"] for row in free]),
        "mix_all": _four_classes(
            judged([row["text"] for row in free + closed]), [row["label"] for row in free + closed]
        ),
    }


def _three_classes(judgements: Sequence[Judgement], labels: Sequence[str]) -> Row:
    guesses = [judgement.volatility for judgement in judgements]
    confidence = [max(judgement.never, judgement.slow, judgement.fast) for judgement in judgements]
    return _scores(guesses, labels, confidence)


def _time_dependence(judgements: Sequence[Judgement], labels: Sequence[bool]) -> Row:
    guesses = [str(judgement.never < 0.5) for judgement in judgements]
    confidence = [max(judgement.never, 1 - judgement.never) for judgement in judgements]
    return _scores(guesses, [str(label) for label in labels], confidence)


def _four_classes(judgements: Sequence[Judgement], labels: Sequence[str]) -> Row:
    guesses = ["behaviour" if judgement.behaviour >= 0.5 else MIX[judgement.volatility] for judgement in judgements]
    confidence = [
        judgement.behaviour
        if judgement.behaviour >= 0.5
        else (1 - judgement.behaviour) * max(judgement.never, judgement.slow, judgement.fast)
        for judgement in judgements
    ]
    return _scores(guesses, labels, confidence)


def _scores(guesses: Sequence[str], labels: Sequence[str], confidence: Sequence[float]) -> Row:
    right = np.array([guess == label for guess, label in zip(guesses, labels, strict=True)])
    f1 = {name: _f1(guesses, labels, name) for name in sorted(set(labels))}
    return {
        "n": len(labels),
        "accuracy": _share(right),
        "macro_f1": round(float(np.mean(list(f1.values()))), 3),
        "f1": f1,
        "ece": round(_calibration_error(np.array(confidence), right), 3),
    }


def _f1(guesses: Sequence[str], labels: Sequence[str], name: str) -> float:
    both = sum(guess == label == name for guess, label in zip(guesses, labels, strict=True))
    return round(2 * both / max(1, guesses.count(name) + labels.count(name)), 3)


def _calibration_error(confidence: Any, right: Any) -> float:
    """Expected calibration error over ten bins of equal width (Guo et al. 2017)."""
    bins = np.minimum((confidence * 10).astype(int), 9)
    gaps = [
        (bins == index).mean() * abs(confidence[bins == index].mean() - right[bins == index].mean())
        for index in np.unique(bins)
    ]
    return float(sum(gaps))


def _share(flags: Any) -> float:
    return round(float(np.mean(flags)), 3)


# ---------------------------------------------------------------- routes


def _routes(data: Path, encode: Encode, router: PolicyRouter) -> Row:
    learned = {
        name: [decision is Route.LEARN for decision in _routed(texts, encode, router)]
        for name, texts in _sources(data).items()
    }
    return {
        "learned": {name: _share(flags) for name, flags in learned.items()},
        "false_durable": _share([flag for name in VOLATILE for flag in learned[name]]),
        "behaviour_recall": _share([flag for name in BEHAVIOUR for flag in learned[name]]),
    }


def _sources(data: Path) -> dict[str, list[str]]:
    policies = _read(data / "tau_policies" / "dev.jsonl")
    mix = _read(data / "routing_mix" / "dev.jsonl") + _read(data / "routing_mix" / "dev_eval_only.jsonl")
    product = ("product", "options", "available", "price")
    rates = _read(data / "volatile_rates" / "dev.jsonl")
    return {
        "coding rules": [rule for row in _read(data / "assistant_rules" / "dev.jsonl") for rule in row["rules"]],
        "style guide": [row["text"] for row in _read(data / "style_guide_18f" / "dev.jsonl")],
        "agent policies": [row["text"] for row in policies if row["kind"] == "policy"],
        "products": [json.dumps({key: row[key] for key in product}) for row in policies if row["kind"] != "policy"],
        "rates": [f"{r['series'].split('/')[-1]}: {r['value']} {r['unit']} on {r['date']}" for r in rates[::4]],
        "news": [f"{row['title']}. {row['text']}" for row in _read(data / "ag_news" / "dev.jsonl")],
        "mix:volatile": [row["text"] for row in mix if row["label"] == "volatile"],
        "mix:behaviour": [row["text"] for row in mix if row["label"] == "behaviour"],
    }


def _routed(texts: Sequence[str], encode: Encode, router: PolicyRouter) -> list[Route]:
    now = datetime.now(UTC)
    drafts = [
        Draft(
            text=text,
            kind=None,
            scope=Scope(),
            source="benchmark",
            trust=Trust.OPERATOR,
            observed_at=now,
            valid_from=now,
        )
        for text in texts
    ]
    nothing = [()] * len(texts)
    return [decision.route for decision in router.route(drafts, encode(texts), nothing, [0] * len(texts))]


def _overlap(data: Path, encode: Encode) -> Row:
    """Tell how near the training statements come to the measured texts; copies would flatter every figure."""
    texts = [text for rows in _sources(data).values() for text in rows]
    for folder, field in (("freshqa", "question"), ("situatedqa_time", "question"), ("routing_mix", "text")):
        texts += [row[field] for row in _read(data / folder / "dev.jsonl")]
    trained = [row["text"] for row in _read(STATEMENTS)]
    nearest = (encode(texts) @ encode(trained).T).max(axis=1)
    measured = {" ".join(text.lower().split()) for text in texts}
    return {
        "verbatim": sum(" ".join(text.lower().split()) in measured for text in trained),
        "nearest_p50": _share(np.median(nearest)),
        "nearest_max": _share(nearest.max()),
    }


# ---------------------------------------------------------------- screens


def _screens(data: Path) -> Row:
    screen = InstructionScreen()
    mails = [row["context"] for row in _read(data / "inj_bipia" / "dev_contexts.jsonl")]
    benign_mails = [row["text"] for row in _read(data / "inj_agentdojo" / "dev_benign.jsonl")]
    honest = [row["text"] for row in _read(data / "inj_notinject" / "dev.jsonl")]

    def seen(texts: Sequence[str], least: float = 0.0) -> float:
        return _share([any(finding.score >= least for finding in screen.screen(text)) for text in texts])

    planted = {place: list(_planted(data, mails, place)) for place in ("start", "middle", "end")}
    return {
        "bipia": {place: seen(texts) for place, texts in planted.items()},
        "bipia_quarantined": {place: seen(texts, 0.5) for place, texts in planted.items()},
        "agentdojo": seen(list(_wrapped(data))),
        "false_alarms": {
            "bipia mails": seen(mails),
            "agentdojo mails": seen(benign_mails),
            "notinject": seen(honest),
        },
    }


def _planted(data: Path, mails: Sequence[str], place: str) -> Iterator[str]:
    for number, row in enumerate(_read(data / "inj_bipia" / "dev.jsonl")):
        for mail in (mails[number % len(mails)], mails[(7 * number + 3) % len(mails)]):
            ends = [position for position in range(1, len(mail)) if mail[position - 1 : position + 1] in (". ", "! ")]
            middle = ends[len(ends) // 2] if ends else len(mail) // 2
            cut = {"start": 0, "middle": middle, "end": len(mail)}[place]
            joint = " " if place == "middle" else "\n"
            yield joint.join(part for part in (mail[:cut], row["payload"], mail[cut:]) if part)


def _wrapped(data: Path) -> Iterator[str]:
    templates = json.loads((data / "inj_agentdojo" / "attack_templates.json").read_text(encoding="utf-8"))
    for template in templates.values():
        for row in _read(data / "inj_agentdojo" / "dev.jsonl"):
            yield template.replace("{goal}", row["goal"])


# ---------------------------------------------------------------- cost and report


def _cost_ms(data: Path, encode: Encode, classifier: DurabilityClassifier) -> float:
    """Median milliseconds to judge one text, its vector given."""
    texts = [row["text"] for row in _read(data / "routing_mix" / "dev.jsonl")][:200]
    vectors = encode(texts)
    seconds = []
    for index, text in enumerate(texts):
        start = time.perf_counter()
        classifier.judge([text], vectors[index : index + 1])
        seconds.append(time.perf_counter() - start)
    return round(float(np.median(seconds)) * 1000, 3)


def _print_table(figures: Row) -> None:
    print(f"policy {figures['policy']}, {figures['ms_per_text']} ms per text\n")
    print("| set | n | accuracy | macro-F1 | ECE |\n|---|---|---|---|---|")
    for name, row in figures["volatility"].items():
        print(f"| {name} | {row['n']} | {row['accuracy']} | {row['macro_f1']} | {row['ece']} |")
    print("\n| source | reaches LEARN |\n|---|---|")
    for name, share in figures["routes"]["learned"].items():
        print(f"| {name} | {share} |")
    print(f"| **all volatile** | {figures['routes']['false_durable']} |")
    print(f"| **all behaviour** | {figures['routes']['behaviour_recall']} |")
    print(f"\ntraining statements beside measured texts: {figures['overlap']}")
    print("\n| instruction screen | share seen |\n|---|---|")
    for name, value in figures["screen"].items():
        for place, share in value.items() if isinstance(value, dict) else [("", value)]:
            print(f"| {name} {place} | {share} |")


if __name__ == "__main__":
    main()
