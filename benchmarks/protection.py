"""What does each kind of protective training give, and what does it cost? One ingredient left out or added at a time.

    python -m benchmarks.protection [--companies juniper halden ostrava] [--seeds 0 1 2] [--run-dir FOLDER] [--smoke]

Flow:     a company's facts or its preference -> one adapter per variant of the settings -> what it knows and follows
Imports:  the public API; build, for one language model that all variants share; company_data, stream, forgetting_arms

Facts: one shard of six is asked its questions (plain and in other words) without evidence, with its own statement,
with the statement of another fact, and with a statement that contradicts it, which is then the right answer; and plain
questions about six facts of the company that nobody told, where saying a learned value is a mistake and to admit that
nothing is known is right; and how far ordinary questions drift if the shard were asked them (nats a token). A
preference: what the gate measured, and whether unseen questions are answered with its closing. Companies and seeds go
in pairs; intervals are a paired bootstrap over the questions. What is finished is kept in --run-dir.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.company_data import REPORTED_COMPANIES, Company, load_company
from benchmarks.forgetting_arms import load_encoder, load_language_model
from benchmarks.forgetting_end import doubts
from benchmarks.main_job import interval
from benchmarks.report import RESULTS, header
from benchmarks.stream import reworded_value
from hybrid_memory import AdapterVersion, HybridMemory, Preference, Settings
from hybrid_memory.build import build
from hybrid_memory.durable import write_text
from hybrid_memory.evidence import ask
from hybrid_memory.grading import said
from hybrid_memory.ordinary import probe_prompts
from hybrid_memory.protocols import Encoder
from hybrid_memory.types import AdapterStatus
from hybrid_memory.weights.language_model import LocalLanguageModel

FACTS: dict[str, dict[str, dict[str, Any]]] = {
    "as shipped": {},
    "no distracting evidence": {"self_edit": {"missed_evidence": 0}},
    "no evidence at all": {"self_edit": {"with_evidence": 0, "missed_evidence": 0, "deference": 0}},
    "no contradicting evidence": {"self_edit": {"deference": 0}},
    "one contradiction a record": {"self_edit": {"deference": 1}},
    "two questions a record about what nobody told": {"self_edit": {"unknown": 2}},
    "two ordinary questions a record": {"self_edit": {"ordinary": 2}},
}
"""Variant -> the settings in which it differs; the first is the control."""
PREFERENCE: dict[str, dict[str, dict[str, Any]]] = {
    "as shipped": {},
    "the base's words as words": {"training": {"own_words": 0.0}},
    "acts on the prompt too": {"training": {"acts_on": "all"}},
}
GATE = ("drift", "probe", "probe_base", "abstention", "abstention_base")
"""Of the gate's measurements: nats a token; shares of right pairs and of doubted questions, with the base's."""
MEMBERS = 6
LONGEST = 48
Outcomes = dict[str, list[int]]
"""Column -> one 0 or 1 per question."""


@dataclass(frozen=True, slots=True)
class Kit:
    """What all variants share; tests put small models here."""

    encoder: Encoder
    language_model: LocalLanguageModel


def facts_outcomes(company: Company, settings: Settings, kit: Kit) -> tuple[Outcomes, dict[str, float]]:
    """Teach six facts under some settings; return each column's outcomes, and the drift on ordinary questions."""
    rng = random.Random(f"{company.name} {settings.training.seed}")
    changed = [(fact, value) for fact in company.facts if (value := reworded_value(fact.answer, rng)) is not None]
    rng.shuffle(changed)
    told, untold = changed[:MEMBERS], changed[MEMBERS : 2 * MEMBERS]
    with tempfile.TemporaryDirectory() as folder:
        memory = HybridMemory(build(Path(folder), settings, encoder=kit.encoder, model=kit.language_model))
        with memory:
            for fact, _ in told:
                memory.ingest(fact.statement, source="handbook", trust="operator", route="learn")
            memory.consolidate()
            adapters = serving(memory)
            questions = [
                (text, place) for place, (fact, _) in enumerate(told) for text in (fact.plain_question, fact.question)
            ]
            columns: dict[str, Callable[[int], tuple[str | None, str]]] = {
                "without evidence": lambda place: (None, told[place][0].answer),
                "own statement": lambda place: (told[place][0].statement, told[place][0].answer),
                "another's statement": lambda place: (told[place - 1][0].statement, told[place][0].answer),
                "contradicting statement": lambda place: (
                    told[place][0].statement.replace(told[place][0].answer, told[place][1]),
                    told[place][1],
                ),
            }
            found: Outcomes = {}
            for column, given in columns.items():
                shown = [given(place)[0] for _, place in questions]
                texts = answers(kit, [text for text, _ in questions], shown, adapters)
                found[column] = [
                    int(said(given(place)[1], text)) for (_, place), text in zip(questions, texts, strict=True)
                ]
            texts = answers(kit, [fact.plain_question for fact, _ in untold], [None] * len(untold), adapters)
            found["learned value said of another fact"] = [
                int(any(said(fact.answer, text) for fact, _ in told)) for text in texts
            ]
            found["doubt about another fact"] = [int(doubts(text)) for text in texts]
            chats = [ask(prompt) for prompt in probe_prompts(settings.gate.drift_prompts)]
            return found, {"drift": kit.language_model.drift(chats, adapters=adapters)}


def preference_outcomes(company: Company, settings: Settings, kit: Kit) -> tuple[Outcomes, dict[str, float]]:
    """Teach the preference under some settings; return whether it is followed, and what the gate measured."""
    style = company.preference
    with tempfile.TemporaryDirectory() as folder:
        memory = HybridMemory(build(Path(folder), settings, encoder=kit.encoder, model=kit.language_model))
        with memory:
            memory.ingest(Preference(style.rule, style.train), trust="operator")
            report = memory.consolidate()
            adapters = serving(memory)
            texts = answers(kit, style.test, [None] * len(style.test), adapters) if adapters else []
            measured = report.shards[0].metrics
            gate = {name: float(value) for name in GATE if isinstance(value := measured.get(name), int | float)}
            followed = [int(style.is_followed_by(text)) for text in texts] or [0] * len(style.test)
            return {"followed": followed}, gate


def serving(memory: HybridMemory) -> list[AdapterVersion]:
    """Return the versions that serve."""
    return [version for version in memory.adapters.list() if version.status is AdapterStatus.ACTIVE]


def answers(
    kit: Kit, questions: Sequence[str], shown: Sequence[str | None], adapters: Sequence[AdapterVersion]
) -> list[str]:
    """Ask the model itself, with at most one statement of evidence."""
    chats = [ask(text, [] if one is None else [one]) for text, one in zip(questions, shown, strict=True)]
    return [one.text for one in kit.language_model.generate(chats, adapters=adapters, max_new_tokens=LONGEST)]


def table(outcomes: Mapping[str, Outcomes]) -> str:
    """Return a row per variant and a column per kind of question, as Markdown."""
    columns = list(next(iter(outcomes.values())))
    lines = ["| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    lines += [
        f"| {variant} | " + " | ".join(f"{np.mean(rows[column]):.1%}" for column in columns) + " |"
        for variant, rows in outcomes.items()
    ]
    return "\n".join(lines)


def differences(outcomes: Mapping[str, Outcomes]) -> dict[str, tuple[float, float, float]]:
    """Return each variant minus the first, per column, with the 95 % interval over the questions."""
    control, *others = outcomes
    return {
        f"{variant} - {control}: {column}": interval(outcomes[variant][column], outcomes[control][column])
        for variant in others
        for column in outcomes[variant]
    }


def kept(file: Path, work: Callable[[], Any]) -> Any:
    """Return what is in the file, or do the work and write it."""
    if not file.exists():
        write_text(file, json.dumps(work()))
    return json.loads(file.read_text(encoding="utf-8"))


def measure(options: argparse.Namespace, kit: Kit) -> dict[str, Any]:
    """Run every variant on every company; return the outcomes of all, and what the gate measured."""
    facts: dict[str, Outcomes] = {}
    drift: dict[str, list[float]] = {}
    followed: dict[str, Outcomes] = {}
    gate: dict[str, list[dict[str, float]]] = {}
    most = 2 if options.smoke else None
    pairs = list(zip(options.companies, options.seeds, strict=False))[: 1 if options.smoke else None]
    for name, seed in pairs:
        company = load_company(name)
        place = options.run_dir / f"{name}-{seed}"
        for variant, differs in list(FACTS.items())[:most]:
            work = partial(facts_outcomes, company, _settings(differs, seed), kit)
            known, moved = kept(place.with_name(f"{place.name}-facts-{variant}.json"), work)
            _add(facts.setdefault(variant, {}), known)
            drift.setdefault(variant, []).append(moved["drift"])
            print(f"{name} {seed}, facts, {variant}", flush=True)
        for variant, differs in list(PREFERENCE.items())[:most]:
            learn = partial(preference_outcomes, company, _settings(differs, seed), kit)
            found, measured = kept(place.with_name(f"{place.name}-preference-{variant}.json"), learn)
            _add(followed.setdefault(variant, {}), found)
            gate.setdefault(variant, []).append(measured)
            print(f"{name} {seed}, preference, {variant}", flush=True)
    names = [name for name, _ in pairs]
    return {"facts": facts, "drift of facts": drift, "preference": followed, "gate": gate, "companies": names}


def _settings(differs: Mapping[str, Mapping[str, Any]], seed: int) -> Settings:
    return Settings.load(**{**differs, "training": {**differs.get("training", {}), "seed": seed}})


def _add(into: Outcomes, found: Outcomes) -> None:
    for column, values in found.items():
        into.setdefault(column, []).extend(values)


def main() -> None:
    """Run, print the tables and one JSON line, keep both in results/."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--companies", nargs="+", default=list(REPORTED_COMPANIES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument(
        "--run-dir", type=Path, default=Path("protection-runs"), help="what is finished; may be resumed"
    )
    parser.add_argument("--smoke", action="store_true", help="two variants on one company; proves nothing")
    options = parser.parse_args()
    options.run_dir.mkdir(parents=True, exist_ok=True)
    settings = Settings.load()
    found = measure(options, Kit(load_encoder(settings), load_language_model(settings)))
    result = {
        **header("protection", seed=options.seeds[0]),
        "seeds": options.seeds[: len(found["companies"])],
        **found,
        "differences": {group: differences(found[group]) for group in ("facts", "preference")},
    }
    print(json.dumps({"drift of facts": found["drift of facts"]}))
    for group in ("facts", "preference"):
        print(table(found[group]))
        for name, (mean, low, high) in result["differences"][group].items():
            print(f"{name}: {100 * mean:+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}]")
    print(json.dumps(result))
    if not options.smoke and "dev" not in options.companies:
        RESULTS.mkdir(exist_ok=True)
        write_text(RESULTS / "protection.json", json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
