"""Commands about the generator of self-edits: seal train.

Imports: types, and the modules beside it; the reader of lessons inside the command.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hybrid_memory.cli.command import command
from hybrid_memory.cli.session import Output, Session
from hybrid_memory.types import RoundReport

__all__ = ["app"]

app = typer.Typer()
seal = typer.Typer(help="The generator that writes self-edits.", no_args_is_help=True)
app.add_typer(seal, name="seal")


@command(seal)
def train(
    here: Session,
    lessons: Annotated[
        Path, typer.Argument(help='JSON lines: {"text": "…", "questions": [{"question": "…", "answer": "…"}]}.')
    ],
    rounds: Annotated[int, typer.Option(help="How often to sample, reward and learn.", min=1)] = 1,
) -> Output:
    """Let the model learn to write better self-edits; stop it at any time and call it again to go on."""
    from hybrid_memory.selfedit.lessons import read_lessons

    given = read_lessons(lessons)
    try:
        with here.open() as memory, here.progress("sampling self-edits") as progress:
            report = memory.train_generator(given, rounds=rounds, progress=progress)
    except KeyboardInterrupt:
        text = "Stopped. The rewards so far are kept; the same command goes on from there."
        here.say(text)
        return Output({"interrupted": True, "summary": text}, None, code=130)
    left_out = [f"  {lesson} left out: {why}" for lesson, why in report.left_out.items()]
    return Output(report.to_json(), "\n".join([report.summary, *left_out, *(_line(one) for one in report.rounds)]))


def _line(report: RoundReport) -> str:
    state = f"{report.version} {'serves' if report.promoted else 'rejected'}" if report.version else "none trained"
    after = "not measured" if report.held_out_after is None else f"{report.held_out_after:.3f}"
    return (
        f"  round {report.round}: {state}; held-out reward {report.held_out_before:.3f} to {after}; mean "
        f"{report.mean_reward:.3f}, best of each passage {report.best_reward:.3f}; {report.winners} winners, "
        f"{report.refused} samples refused, {report.trained_tokens} tokens trained in {report.seconds:.0f} s"
    )
