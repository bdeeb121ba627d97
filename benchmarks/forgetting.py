"""Does it forget? A stream of windows, several ways of learning it, and what each still knows after every window.

    python -m benchmarks.forgetting [--stream company|squad_seal|tofu] [--seeds 0 1 2] [--data-dir FOLDER]
                                    [--smoke | --full] [--run-dir FOLDER]

Eight windows bring facts, updates, a rumour, a rule, labelled examples, prices that change, and a deletion. After each
window every question about what was told so far is asked again, closed-book or with one passage of evidence.
Arms of every run: base, RAG, RAG with the gold evidence, RAG with 30 % misses, SEAL's released inner loop merged window
by window, our shards with learned, oracle and random routing, hybrid, hybrid with 30 % misses. `--full` adds one LoRA
trained on and on, the same with replay, and joint retraining. Each seed goes with a company of its own.
Everything is written down per window and arm in --run-dir: a run that was killed goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.company_data import REPORTED_COMPANIES, load_company
from benchmarks.forgetting_arms import (
    LONGEST,
    MODES,
    SEAL,
    Given,
    Sequential,
    Taught,
    by_model,
    cached,
    load_encoder,
    load_language_model,
    missed_records,
)
from benchmarks.forgetting_end import end_of_memory, end_of_sequential
from benchmarks.forgetting_report import Run, as_result, html, pictures, table
from benchmarks.probes import load_probes
from benchmarks.stream import Question, Stream, company_stream, passage_stream
from hybrid_memory import Settings
from hybrid_memory.config import TrainingSettings
from hybrid_memory.durable import write_text
from hybrid_memory.protocols import Encoder
from hybrid_memory.weights.language_model import LocalLanguageModel

RESULTS = Path(__file__).parent / "results"
MISSING = {"RAG": "RAG, 30 % misses", "hybrid": "hybrid, 30 % misses"}
SEAL_ARM = "SEAL, merged in sequence"


@dataclass(frozen=True, slots=True)
class Kit:
    """What every arm of one run works with; tests put small models here."""

    settings: Settings
    encoder: Encoder
    load: Callable[[], LocalLanguageModel]
    """Gives a fresh base model: a learner that merges changes its own."""
    seal: TrainingSettings = SEAL


def sequential_arms(folder: Path, kit: Kit, *, full: bool) -> dict[str, Callable[[], Sequential]]:
    """Return the learners to compare with, made only when their turn comes: each loads a model of its own."""
    ours = kit.settings.training
    longest = min(LONGEST, kit.settings.answer.max_new_tokens)
    learner = partial(Sequential, load=kit.load, longest=longest)
    seal = kit.seal.model_copy(update={"seed": ours.seed})
    arms: dict[str, Callable[[], Sequential]] = {SEAL_ARM: partial(learner, folder / "seal", recipe=seal, merge=True)}
    if full:
        arms["one LoRA in sequence"] = partial(learner, folder / "lora", recipe=ours)
        arms["one LoRA, replay"] = partial(learner, folder / "replay", recipe=ours, replay=True)
        arms["joint retraining"] = partial(learner, folder / "joint", recipe=ours, joint=True)
    return arms


def play(
    stream: Stream,
    folder: Path,
    *,
    seed: int,
    kit: Kit,
    full: bool,
    data_dir: Path | None,
    after: Callable[[Run], None],
) -> Run:
    """Play one stream with every arm; `after` is called whenever something new was measured."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "answers").mkdir(exist_ok=True)
    run = Run.of(stream, seed)
    taught = Taught(stream, folder, settings=kit.settings, language_model=kit.load(), encoder=kit.encoder)
    try:
        _play_memory(run, taught, seed)
        after(run)
        _measure_end(run, taught, data_dir)
        after(run)
    finally:
        taught.close()
    probes = load_probes(data_dir)
    for arm, make in sequential_arms(folder, kit, full=full).items():
        learner = make()
        for window in range(stream.windows):
            _say(f"{arm}, window {window + 1}")
            cost = learner.learn(window, [folder / f"material-{number}.json" for number in range(window + 1)])
            run.costs.setdefault(arm, []).append(cost)
            _keep(run, arm, window, folder, learner.ask)
        run.bytes[arm] = learner.size_bytes(stream.windows - 1)
        file = folder / f"end-{arm}.json"
        if not file.exists():
            write_text(file, json.dumps(end_of_sequential(learner, stream, probes)))
        run.end[arm] = json.loads(file.read_text(encoding="utf-8"))
        after(run)
    return run


def _play_memory(run: Run, taught: Taught, seed: int) -> None:
    """Tell the memory each window and ask in every mode; the base is asked once, before anything is told."""
    stream, folder = run.stream, taught.folder
    everything = stream.asked_after(stream.windows - 1)
    given = cached(
        folder / "answers" / "base.json",
        lambda: by_model(taught.language_model, everything, (), longest=taught.longest),
    )
    for window in range(stream.windows):
        run.keep("base", window, [one for one in given if run.window_of(one) <= window])
    missed = missed_records(stream, seed)
    for window in range(stream.windows):
        _say(f"{stream.name} {seed}, window {window + 1} of {stream.windows}")
        run.costs.setdefault("hybrid", []).append(taught.tell(window))
        for arm, mode in MODES.items():
            found = _keep(run, arm, window, folder, partial(taught.ask, mode=mode))
            if arm in MISSING:
                affected = [question for question in stream.asked_after(window) if question.record in missed]
                name = MISSING[arm]
                again = _answers(folder, f"{name}-{window}", partial(taught.ask, affected, mode=mode, missed=missed))
                replaced = {one.question: one for one in again}
                run.keep(name, window, [replaced.get(one.question, one) for one in found])
    run.costs["shards"] = run.costs["hybrid"]
    for arm in ("shards", "hybrid", MISSING["hybrid"]):
        run.bytes[arm] = taught.size_bytes() if not (folder / "end.json").exists() else 0


def _measure_end(run: Run, taught: Taught, data_dir: Path | None) -> None:
    """Measure what is asked once, after the last window; the last part changes the memory."""
    stream, folder = run.stream, taught.folder
    last = stream.windows - 1
    questions = stream.asked_after(last)
    once: dict[str, Callable[[], list[Given]]] = {
        "RAG, gold evidence": partial(taught.ask_with_gold, questions),
        "shards, oracle routing": partial(taught.ask_routed, questions, seed=None),
        "shards, random routing": partial(taught.ask_routed, questions, seed=run.seed),
    }
    for arm, work in once.items():
        run.keep(arm, last, _answers(folder, f"{arm}-{last}", work))
    file = folder / "end.json"
    if not file.exists():
        write_text(file, json.dumps(end_of_memory(taught, data_dir)))
    run.end["memory"] = json.loads(file.read_text(encoding="utf-8"))
    for arm in ("shards", "hybrid", MISSING["hybrid"]):
        run.bytes[arm] = run.end["memory"]["bytes"]


def _keep(
    run: Run, arm: str, window: int, folder: Path, work: Callable[[Sequence[Question]], list[Given]]
) -> list[Given]:
    questions = run.stream.asked_after(window)
    given = _answers(folder, f"{arm}-{window}", lambda: work(questions))
    run.keep(arm, window, given)
    return given


def _answers(folder: Path, name: str, work: Callable[[], list[Given]]) -> list[Given]:
    return cached(folder / "answers" / f"{name.replace('%', 'percent')}.json", work)


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def streams(options: argparse.Namespace) -> list[tuple[Stream, int]]:
    """Return the streams to play with their seeds."""
    seeds: Sequence[int] = options.seeds[:1] if options.smoke else options.seeds
    if options.stream == "company":
        names = options.companies or REPORTED_COMPANIES
        return [
            (company_stream(load_company(names[number % len(names)]), seed=seed, smoke=options.smoke), seed)
            for number, seed in enumerate(seeds)
        ]
    windows = 3 if options.smoke else 8
    return [(passage_stream(options.stream, options.data_dir, seed=seed, windows=windows), seed) for seed in seeds]


def publish(runs: Mapping[str, Run], name: str, folder: Path, *, keep: bool) -> None:
    """Write what there is so far: the result file, the pictures, the report."""
    result = as_result(list(runs.values()), name)
    where = RESULTS if keep else folder
    where.mkdir(parents=True, exist_ok=True)
    write_text(where / f"{name}.json", json.dumps(result) + "\n")
    drawn = pictures(list(runs.values()), where, name)
    write_text(folder / f"{name}.html", html(result, drawn))


def main() -> None:
    """Play every stream; write the result after each window, so that a run that is cut off still reports."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stream", choices=("company", "squad_seal", "tofu"), default="company")
    parser.add_argument("--companies", nargs="+", default=None, help="one per seed; dev is for tuning only")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--data-dir", type=Path, default=None, help="public sets: probes, squad_seal, tofu")
    parser.add_argument("--run-dir", type=Path, default=Path("forgetting-runs"), help="state, report; may be resumed")
    parser.add_argument("--smoke", action="store_true", help="three windows, under 2 minutes; proves nothing")
    parser.add_argument("--full", action="store_true", help="all arms; no limit on time")
    options = parser.parse_args()
    if options.stream != "company" and options.data_dir is None:
        parser.error(f"--stream {options.stream} needs --data-dir")
    name = "forgetting" if options.stream == "company" else f"forgetting_{options.stream}"
    keep = not options.smoke and "dev" not in (options.companies or ())
    encoder = load_encoder(Settings())
    runs: dict[str, Run] = {}
    for stream, seed in streams(options):
        label = f"{stream.name}-{seed}{'-smoke' if options.smoke else ''}"

        def after(run: Run, label: str = label) -> None:
            runs[label] = run
            publish(runs, name, options.run_dir, keep=keep)

        folder = options.run_dir / label
        started = time.monotonic()
        settings = Settings.load(training={"seed": seed})
        kit = Kit(settings, encoder, partial(load_language_model, settings))
        play(stream, folder, seed=seed, kit=kit, full=options.full, data_dir=options.data_dir, after=after)
        _say(f"{label}: {time.monotonic() - started:.0f} s")
    print(table(as_result(list(runs.values()), name)))
    print(json.dumps(as_result(list(runs.values()), name)))


if __name__ == "__main__":
    main()
