"""Commands that measure and check: benchmark, audit, receipt check.

Imports: errors, types, and the modules beside it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from hybrid_memory.cli.command import command
from hybrid_memory.cli.options import Who
from hybrid_memory.cli.session import Output, Session
from hybrid_memory.errors import InputError
from hybrid_memory.types import Example, Json, quoted

__all__ = ["app"]

app = typer.Typer()
receipts = typer.Typer(help="Receipts of forgetting.", no_args_is_help=True)
app.add_typer(receipts, name="receipt")


@command(app)
def benchmark(
    here: Session,
    questions: Annotated[Path, typer.Argument(help='JSON lines: {"question": "…", "answer": "…"}.')],
    who: Who,
    windows: Annotated[int, typer.Option(min=1, help="In how many parts the records are told.")] = 4,
    misses: Annotated[float, typer.Option(min=0, max=1, help="Share of records hidden from retrieval.")] = 0.3,
    seed: Annotated[int, typer.Option(help="Which records are hidden.")] = 0,
) -> Output:
    """Replay the records in a temporary memory, and measure what each half keeps over the windows."""
    asked = read_questions(questions)
    with here.open() as memory, here.progress("replaying") as progress:
        report = memory.benchmark(asked, windows=windows, misses=misses, seed=seed, progress=progress, **who.given())
    return Output(report.to_json(), report.text())


@command(app)
def audit(
    here: Session,
    texts: Annotated[Path, typer.Argument(help="What was forgotten, one text a line.")],
    controls: Annotated[Path, typer.Argument(help="Texts of the same form that were never told, one a line.")],
    who: Who,
) -> Output:
    """Check that no serving adapter knows forgotten texts better than texts that were never told."""
    with here.open() as memory:
        found = memory.forget_audit(_lines(texts), controls=_lines(controls), **who.given())
    low, high = found.interval
    shown = (
        f"{'clean' if found.clean else 'NOT clean'}: {len(found.extracted)} of {found.texts} extracted; rise "
        f"over base {found.gain:+.3f} nats a token, controls {found.control_gain:+.3f}, apart {found.difference:+.3f} "
        f"[{low:+.3f}, {high:+.3f}]; {len(found.adapters)} adapters"
    )
    return Output(found.to_json(), shown, code=0 if found.clean else 1)


def read_questions(file: Path) -> list[Example]:
    """Return the questions of a file of JSON lines.

    Raises:
        InputError: a line is no JSON object with "question" and "answer"; the message names it.
    """
    asked = []
    for number, line in enumerate(_lines(file), start=1):
        try:
            row = json.loads(line)
            asked.append(Example(str(row["question"]), str(row["answer"])))
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise InputError(
                f'{file}, line {number} must be {{"question": "…", "answer": "…"}}, got {quoted(line)}'
            ) from error
    return asked


def _lines(file: Path) -> list[str]:
    if not file.is_file():
        raise InputError(f"there is no file {file}")
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is not UTF-8 text (byte {error.start}); convert it first") from error
    # splitlines() would also cut at U+2028 inside a text
    return [line.strip() for line in text.split("\n") if line.strip()]


@command(receipts)
def check(here: Session, file: Annotated[Path, typer.Argument(help="What `forget --json` printed.")]) -> Output:
    """Tell whether a receipt is word for word what was signed; exit code 1 when it was changed."""
    receipt = _read_receipt(file)
    with here.open() as memory:
        unchanged = memory.check_receipt(receipt)
    shown = f"{file} is word for word what was signed" if unchanged else f"{file} was changed after it was signed"
    return Output({"unchanged": unchanged}, shown, code=0 if unchanged else 1)


def _read_receipt(file: Path) -> dict[str, Json]:
    try:
        read = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{file} holds no receipt ({error}); give the JSON that `forget --json` printed") from error
    if not isinstance(read, dict):
        raise InputError(f"{file} holds no receipt but a {type(read).__name__}; give what `forget --json` printed")
    return read
