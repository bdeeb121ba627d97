"""The tables of the model card, from benchmarks/results/routing.json; written by write_results_table.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

AIMS = {
    "freshqa": ("macro_f1", 0.70),
    "situatedqa_time": ("accuracy", 0.80),
    "routing_mix": ("macro_f1", 0.90),
}
ECE, STALE, BEHAVIOUR, PARAPHRASES = 0.05, 0.02, 0.80, 0.95


def routing(result: Mapping[str, Any]) -> str:
    """Return what the classifier and the default policy do on public sets, with the aims beside."""
    parts = (_held_out(result["classifier"]), _volatility(result["volatility"]), _routes(result), _costs(result))
    return "\n\n".join((*parts, _latency(result)))


def _held_out(classifier: Mapping[str, Any]) -> str:
    lines = [
        f"{classifier['statements']:,} statements of ours from {classifier['domains']} domains; accuracy (macro-F1, "
        "ECE) on those left out:",
        "",
        "| head | volatility, lines left out | domains left out | behaviour, lines left out | domains left out |",
        "|---|---|---|---|---|",
    ]
    for head, figures in classifier["held_out"].items():
        cells = [
            figures[f"{target} by {what}"] for target in ("volatility", "behaviour") for what in ("line", "domain")
        ]
        shown = [f"{one['accuracy']:.3f} ({one['macro_f1']:.3f}, {one['ece']:.3f})" for one in cells]
        lines.append(f"| {head} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


def _volatility(sets: Mapping[str, Any]) -> str:
    lines = ["| set | n | accuracy | macro-F1 | ECE | if calibrated | aim |", "|---|---|---|---|---|---|---|"]
    for name, row in sets.items():
        if "accuracy" not in row:
            lines.append(f"| {name} | {row['n']} | AUC {row['auc']:.3f} | | | | |")
            continue
        figures = " | ".join(f"{row[key]:.3f}" for key in ("accuracy", "macro_f1", "ece", "ece_if_calibrated"))
        lines.append(f"| {name} | {row['n']} | {figures} | {_aim(name, row)} |")
    return "\n".join(lines)


def _aim(name: str, row: Mapping[str, Any]) -> str:
    if name not in AIMS:
        return ""
    key, least = AIMS[name]
    marks = [f"{key.replace('_', '-')} {least:.2f}" + ("" if row[key] >= least else ", **missed**")]
    marks.append(f"ECE {ECE:.2f}" + ("" if row["ece"] <= ECE else ", **missed**"))
    return "; ".join(marks)


def _routes(result: Mapping[str, Any]) -> str:
    routes = result["routes"]
    lines = ["| source | is | n | learned |", "|---|---|---|---|"]
    lines += [f"| {name} | {row['is']} | {row['n']} | {row['share']:.1%} |" for name, row in routes["learned"].items()]
    stale, behaviour = routes["false_durable"], routes["behaviour_learned"]
    same = result["paraphrases"]
    lines += [
        "",
        f"All volatile texts: {stale:.1%} learned (aim {STALE:.0%}{_missed(stale <= STALE)}). All behaviour-shaping "
        f"texts: {behaviour:.1%} (aim {BEHAVIOUR:.0%}{_missed(behaviour >= BEHAVIOUR)}). Two wordings of {same['n']} "
        f"statements of ours took the same route in {same['same_route']:.1%} "
        f"(aim {PARAPHRASES:.0%}{_missed(same['same_route'] >= PARAPHRASES)}).",
    ]
    return "\n".join(lines)


def _missed(reached: bool) -> str:
    return "" if reached else ", **missed**"


def _costs(result: Mapping[str, Any]) -> str:
    lines = [
        "| 1,000 records, a third each volatile, behaviour, stable | learned, then stale | behaviour not learned "
        "| stable fact only retrieved | cost by the policy |",
        "|---|---|---|---|---|",
    ]
    for name, row in result["routes"]["per_1000_records"].items():
        cells = [f"{row[key]:.1f}" for key in ("stale", "lost_behaviour", "fact_retrieved")]
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {row['cost']:,} |")
    return "\n".join(lines)


def _latency(result: Mapping[str, Any]) -> str:
    if "latency" not in result:
        return "Not timed."
    row = result["latency"]
    encoder, decision = (row["p50_ms"][name] for name in ("encoder", "decision"))
    return (
        f"A decision, the encoder's call included, in milliseconds of the processor: {decision:.1f} at the median, "
        f"{row['p50_ratio']:.2f} times the encoder's own {encoder:.1f} (aim 1.3); in batches of 64, "
        f"{row['throughput_ratio']:.2f} of the encoder's throughput (aim 0.9). {result['machine']}, one thread."
    )
