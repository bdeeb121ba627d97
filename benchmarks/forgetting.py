"""Does it forget? A stream of windows, several ways of learning it, and what each still knows after every window.

    python -m benchmarks.forgetting [--stream company|squad_seal|tofu] [--seeds 0 1 2] [--data-dir FOLDER]
                                    [--smoke | --full] [--run-dir FOLDER]

Eight windows bring facts, an update, a rumour, a rule, labelled examples, prices that change, and a deletion. After
each window every question about what was told so far is asked again, closed-book or with one passage of evidence.
Arms of every run: base, RAG, RAG with the gold evidence, RAG with 30 % misses, SEAL's released inner loop merged window
by window, our shards with learned, oracle and random routing, hybrid, also with 30 % misses and with tokens saved.
`--full` adds one LoRA trained on and on, the same with replay, and joint retraining. Each seed goes with a company of
its own.
Everything is written down per window and arm in --run-dir: a run that was killed goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.company_data import REPORTED_COMPANIES, load_company
from benchmarks.forgetting_arms import (
    LONGEST,
    MODES,
    Given,
    Taught,
    by_model,
    cached,
    load_encoder,
    load_language_model,
    missed_records,
)
from benchmarks.forgetting_end import end_of_memory, end_of_sequential
from benchmarks.forgetting_pages import html, pictures
from benchmarks.forgetting_report import as_result, read_run, table
from benchmarks.forgetting_sequential import SEAL, Sequential
from benchmarks.probes import load_probes
from benchmarks.report import RESULTS
from benchmarks.stream import Question, Stream, company_stream, passage_stream
from hybrid_memory import Mode, Settings
from hybrid_memory.config import TrainingSettings
from hybrid_memory.durable import write_text
from hybrid_memory.errors import NotFoundError
from hybrid_memory.protocols import Encoder
from hybrid_memory.weights.language_model import LocalLanguageModel

MISSING = {"RAG": "RAG, 30 percent misses", "hybrid": "hybrid, 30 percent misses"}
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


def play(stream: Stream, folder: Path, *, seed: int, kit: Kit, full: bool, data_dir: Path | None) -> None:
    """Play one stream with every arm and write down every answer; what is there already is not done again.

    All learners take a window before any takes the next: a run that is cut off compares them over the same windows.
    """
    (folder / "answers").mkdir(parents=True, exist_ok=True)
    probes, last = load_probes(data_dir), stream.windows - 1
    taught = Taught(stream, folder, settings=kit.settings, language_model=kit.load(), encoder=kit.encoder)
    learners = {arm: make() for arm, make in sequential_arms(folder, kit, full=full).items()}
    try:
        everything = partial(by_model, taught.language_model, stream.asked_after(last), (), longest=taught.longest)
        _answers(folder, "base", everything)
        for window in range(stream.windows):
            _say(f"{stream.name} {seed}, window {window + 1} of {stream.windows}")
            _play_memory_window(taught, window, missed_records(stream, seed), misses=full or window == last)
            for arm, learner in learners.items():
                learner.learn(window, [folder / f"material-{number}.json" for number in range(window + 1)])
                _answers(folder, f"{arm}-{window}", partial(learner.ask, stream.asked_after(window)))
        _ask_once(taught, seed)
        for arm, learner in learners.items():
            _once(folder / f"end-{arm}.json", partial(end_of_sequential, learner, stream, probes))
        _say("the end: ability, unknown facts, contradicting evidence, deletion")
        _once(folder / "end-memory.json", partial(end_of_memory, taught, data_dir))
    finally:
        taught.close()


def _play_memory_window(taught: Taught, window: int, missed: Collection[str], *, misses: bool) -> None:
    """Tell the memory one window and ask in every mode, with `misses` also where records cannot be found."""
    folder = taught.folder
    taught.tell(window)
    questions = taught.stream.asked_after(window)
    for arm, mode in MODES.items():
        found = _answers(folder, f"{arm}-{window}", partial(taught.ask, questions, mode=mode))
        if arm in MISSING and misses:
            again = partial(_with_misses, taught, questions, mode, missed, found)
            _answers(folder, f"{MISSING[arm]}-{window}", again)


def _ask_once(taught: Taught, seed: int) -> None:
    """Ask after the last window with the gold evidence and with other routers."""
    last = taught.stream.windows - 1
    everything = taught.stream.asked_after(last)
    once: dict[str, Callable[[], list[Given]]] = {
        "RAG, gold evidence": partial(taught.ask_with_gold, everything),
        "hybrid, saving tokens": partial(taught.ask_saving, everything),
        "shards, oracle routing": partial(taught.ask_routed, everything, seed=None),
        "shards, random routing": partial(taught.ask_routed, everything, seed=seed),
    }
    for arm, work in once.items():
        _answers(taught.folder, f"{arm}-{last}", work)


def _with_misses(
    taught: Taught, questions: Sequence[Question], mode: Mode, missed: Collection[str], found: Sequence[Given]
) -> list[Given]:
    """Ask again what is about a record that cannot be found; the other answers stay as they were."""
    again = taught.ask([one for one in questions if one.record in missed], mode, missed=missed)
    by_id = {one.question: one for one in again}
    return [by_id.get(one.question, one) for one in found]


def _once(file: Path, work: Callable[[], Mapping[str, object]]) -> None:
    if not file.exists():
        write_text(file, json.dumps(work()))


def _answers(folder: Path, name: str, work: Callable[[], list[Given]]) -> list[Given]:
    return cached(folder / "answers" / f"{name}.json", work)


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


def publish(options: argparse.Namespace) -> dict[str, Any]:
    """Read what was measured so far; write the result file, the pictures and the page; return the result.

    Raises:
        NotFoundError: no window is finished.
    """
    found = [(stream, options.run_dir / label_of(stream, seed, options), seed) for stream, seed in streams(options)]
    runs = [run for place in found if (run := read_run(*place)) is not None]
    if not runs:
        raise NotFoundError(f"no window is finished in {options.run_dir}; run without --report")
    name = "forgetting" if options.stream == "company" else f"forgetting_{options.stream}"
    result = as_result(runs, name)
    keep = not options.smoke and "dev" not in (options.companies or ())
    where = RESULTS if keep else options.run_dir
    where.mkdir(parents=True, exist_ok=True)
    write_text(where / f"{name}.json", json.dumps(result) + "\n")
    write_text(options.run_dir / f"{name}.html", html(result, pictures(runs, where, name)))
    return result


def label_of(stream: Stream, seed: int, options: argparse.Namespace) -> str:
    """Return the name of a run's folder."""
    return f"{stream.name}-{seed}{'-smoke' if options.smoke else ''}"


def main() -> None:
    """Play every stream, then report; `--report` reports what an unfinished run has measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stream", choices=("company", "squad_seal", "tofu"), default="company")
    parser.add_argument("--companies", nargs="+", default=None, help="one per seed; dev is for tuning only")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--data-dir", type=Path, default=None, help="public sets: probes, squad_seal, tofu")
    parser.add_argument("--run-dir", type=Path, default=Path("forgetting-runs"), help="state, report; may be resumed")
    parser.add_argument("--smoke", action="store_true", help="three windows, under 2 minutes; proves nothing")
    parser.add_argument("--full", action="store_true", help="all arms; no limit on time")
    parser.add_argument("--report", action="store_true", help="measure nothing, report what --run-dir has")
    options = parser.parse_args()
    if options.stream != "company" and options.data_dir is None:
        parser.error(f"--stream {options.stream} needs --data-dir")
    for stream, seed in () if options.report else streams(options):
        started = time.monotonic()
        settings = Settings.load(training={"seed": seed})
        kit = Kit(settings, load_encoder(settings), partial(load_language_model, settings))
        folder = options.run_dir / label_of(stream, seed, options)
        play(stream, folder, seed=seed, kit=kit, full=options.full, data_dir=options.data_dir)
        _say(f"{folder.name}: {time.monotonic() - started:.0f} s")
    result = publish(options)
    print(table(result))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
