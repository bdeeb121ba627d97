"""Commands that put something in or take it out: ingest, route, feedback, forget.

Imports: errors, types, and the modules beside it.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from hybrid_memory.cli.command import command
from hybrid_memory.cli.options import Filter, Who, read_duration, read_filter, read_metadata, read_time
from hybrid_memory.cli.session import Output, Session
from hybrid_memory.errors import HybridMemoryError, InputError
from hybrid_memory.ingest.files import held_in
from hybrid_memory.memory import HybridMemory
from hybrid_memory.protocols import Progress
from hybrid_memory.types import Decision, Example, Fact, IngestReceipt, Preference, Receipt, Route, Trust, quoted

__all__ = ["app"]

app = typer.Typer()
WHAT = "What to ingest"
HOW = "Its stamp"


@dataclass(frozen=True, slots=True, kw_only=True)
class What:
    """The inputs of one `ingest`."""

    text: Annotated[str | None, typer.Argument(help="Text; - reads standard input.", show_default=False)] = None
    files: Annotated[
        list[Path] | None,
        typer.Option("--file", help="A file or folder; repeatable.", rich_help_panel=WHAT),
    ] = None
    jsonl: Annotated[
        bool, typer.Option("--jsonl", help="Standard input holds JSON lines, one input a line.", rich_help_panel=WHAT)
    ] = False
    fact: Annotated[
        tuple[str, str, str] | None,
        typer.Option("--fact", metavar="SUBJECT ATTRIBUTE VALUE", rich_help_panel=WHAT, help="A replaceable value."),
    ] = None
    example: Annotated[
        tuple[str, str] | None,
        typer.Option("--example", metavar="PROMPT RESPONSE", rich_help_panel=WHAT, help="A demonstration."),
    ] = None
    preference: Annotated[
        str | None,
        typer.Option("--preference", metavar="RULE", rich_help_panel=WHAT, help="A rule; --example illustrates it."),
    ] = None
    task: Annotated[
        Path | None,
        typer.Option(
            "--task", metavar="FILE", rich_help_panel=WHAT, help="A skill: JSON with a name and its demonstrations."
        ),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """Everything about the inputs but what they say."""

    source: Annotated[str | None, typer.Option(help="Where it comes from.", rich_help_panel=HOW)] = None
    trust: Annotated[Trust | None, typer.Option(help="Who vouches for it.", rich_help_panel=HOW)] = None
    route: Annotated[Route | None, typer.Option(help="Overrule the policy.", rich_help_panel=HOW)] = None
    ttl: Annotated[str | None, typer.Option(help="Lifetime: seconds, or 12h, 30d, 2w.", rich_help_panel=HOW)] = None
    observed_at: Annotated[
        str | None, typer.Option(metavar="TIME", help="When it was seen, ISO 8601 with zone.", rich_help_panel=HOW)
    ] = None
    valid_from: Annotated[
        str | None, typer.Option(metavar="TIME", help="When it begins to be true.", rich_help_panel=HOW)
    ] = None
    valid_to: Annotated[
        str | None, typer.Option(metavar="TIME", help="When it stops being true.", rich_help_panel=HOW)
    ] = None
    supersedes: Annotated[
        str | None, typer.Option(metavar="ID", help="The record it replaces.", rich_help_panel=HOW)
    ] = None
    metadata: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="To filter by; repeatable.", rich_help_panel=HOW)
    ] = None
    idempotency_key: Annotated[
        str | None, typer.Option(metavar="KEY", help="Makes repeating the command harmless.", rich_help_panel=HOW)
    ] = None
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Decide and explain, store nothing.", rich_help_panel=HOW)
    ] = False
    force: Annotated[bool, typer.Option("--force", help="Let in again what was forgotten.", rich_help_panel=HOW)] = (
        False
    )

    def arguments(self) -> dict[str, Any]:
        """Return the keyword arguments of HybridMemory.ingest."""
        return {
            "source": self.source,
            "trust": self.trust,
            "route": self.route,
            "ttl": read_duration("--ttl", self.ttl),
            "observed_at": read_time("--observed-at", self.observed_at),
            "valid_from": read_time("--valid-from", self.valid_from),
            "valid_to": read_time("--valid-to", self.valid_to),
            "supersedes": self.supersedes,
            "metadata": read_metadata(self.metadata or ()),
            "idempotency_key": self.idempotency_key,
            "dry_run": self.dry_run,
            "force": self.force,
        }


@command(app)
def ingest(here: Session, what: What, stamp: Stamp, who: Who) -> Output:
    """Read, screen, route and store text, files, facts, examples or rules; makes the memory if there is none."""
    arguments = {**stamp.arguments(), **who.given()}
    with _inputs(what) as inputs:
        if len(inputs) > 1 and stamp.idempotency_key is not None:
            raise InputError(f"--idempotency-key names one input, got {len(inputs)}; ingest them one by one")
        with here.open(create=True) as memory, here.progress("ingesting") as progress:
            receipts, failures = _each(memory, inputs, arguments, progress)
    data = {"receipts": [receipt.to_json() for receipt in receipts], "failures": failures}
    lines = [_receipt_line(receipt) for receipt in receipts]
    lines += [f"failed: {failure['input']}: {failure['error']}" for failure in failures]
    return Output(data, "\n".join(lines), code=1 if failures else 0)


@contextlib.contextmanager
def _inputs(what: What) -> Iterator[list[object]]:
    """Give everything that was named, in one list; standard input may be held in a file meanwhile."""
    with tempfile.TemporaryDirectory(prefix="hybrid-memory-") as aside:
        inputs: list[object] = []
        if what.jsonl:
            inputs += _json_lines(what, Path(aside))
        elif what.text is not None:
            inputs.append(_standard_input() if what.text == "-" else what.text)
        inputs += what.files or ()
        inputs += _statements(what)
        if not inputs:
            raise InputError("nothing to ingest: give a text, - for standard input, --file, --fact, --example, …")
        yield inputs


def _json_lines(what: What, aside: Path) -> list[object]:
    """Return standard input as a .jsonl file, which is what the reader knows JSON lines by."""
    if what.text is None and what.files and all(file.suffix == ".jsonl" for file in what.files):
        return []  # said twice: the files' suffix says it already
    if what.text != "-":
        raise InputError(
            "--jsonl is for standard input: `hybrid-memory ingest - --jsonl`; files need the suffix .jsonl"
        )
    file = aside / "stdin.jsonl"
    file.write_text(_standard_input(), encoding="utf-8")
    return [file]


def _statements(what: What) -> list[object]:
    examples = (Example(*what.example),) if what.example else ()
    statements: list[object] = [Fact(*what.fact)] if what.fact else []
    statements += [_task(what.task)] if what.task else []
    if what.preference is not None:
        return [*statements, Preference(what.preference, examples)]
    return [*statements, *examples]


def _task(file: Path) -> object:
    form = 'give a JSON object like {"name": "…", "demonstrations": [{"prompt": "…", "response": "…"}, …]}'
    try:
        read = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise InputError(f"{file} holds no task ({error}); {form}") from error
    if not isinstance(read, dict) or set(read) != {"name", "demonstrations"}:
        raise InputError(f"{file} holds no task but {quoted(read)}; {form}")
    return held_in(read, str(file))


def _standard_input() -> str:
    try:
        return sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"standard input is not UTF-8 text (byte {error.start}); convert it first") from error


def _each(
    memory: HybridMemory, inputs: Sequence[object], arguments: dict[str, Any], progress: Progress
) -> tuple[list[IngestReceipt], list[dict[str, str]]]:
    """Ingest one by one: a bad input is reported and does not stop the rest."""
    receipts: list[IngestReceipt] = []
    failures: list[dict[str, str]] = []
    progress("ingest", 0, len(inputs))
    for number, x in enumerate(inputs, start=1):
        try:
            receipts.append(memory.ingest(x, **arguments))
        except HybridMemoryError as error:
            if len(inputs) == 1:
                raise
            failures.append({"input": str(x), "error": str(error)})
        progress("ingest", number, len(inputs), f"{len(failures)} failed")
    return receipts, failures


def _receipt_line(receipt: IngestReceipt) -> str:
    if receipt.parts:
        counts = ", ".join(f"{count} {route}" for route, count in receipt.routes.items())
        return "\n".join([f"{len(receipt.parts)} records: {counts}", *map(_receipt_line, receipt.parts)])
    words = [receipt.route.value, receipt.record_id or "not stored"]
    if receipt.duplicate:
        words.append("was there already")
    if receipt.forgotten:
        words.append("was forgotten")
    if receipt.superseded:
        words.append(f"replaces {', '.join(receipt.superseded)}")
    if receipt.superseded_by:
        words.append(f"arrived late: {receipt.superseded_by} is newer")
    return f"{'  '.join(words)}\n{_reasons(receipt.decision)}"


def _reasons(decision: Decision) -> str:
    return "\n".join(f"  - {reason}" for reason in decision.reasons)


@command(app, "import")
def import_(
    here: Session,
    path: Annotated[Path, typer.Argument(help="A .json or .jsonl file.")],
    form: Annotated[str, typer.Option("--from", metavar="FORM", help="mem0, langgraph, llama_index or jsonl.")],
    who: Who,
    trust: Annotated[Trust | None, typer.Option(help="Who vouches for it; nobody if none.")] = None,
) -> Output:
    """Take over what another memory exported, with its times and scopes."""
    with here.open(create=True) as memory, here.progress("importing") as progress:
        done = memory.import_from(path, form, progress=progress, trust=trust, **who.given())
    counts = ", ".join(f"{count} {route}" for route, count in sorted(done.counts.items())) or "nothing"
    lines = [f"{counts}; {done.duplicates} there already"]
    lines += [f"failed: {message}" for _, message in done.failures]
    return Output(done.to_json(), "\n".join(lines), code=1 if done.failures else 0)


@command(app)
def route(
    here: Session,
    text: Annotated[str, typer.Argument(help="As it would be ingested.")],
    policy: Annotated[
        str | None, typer.Option(help="A shipped policy or a TOML file; this memory's own if none.")
    ] = None,
    trust: Annotated[Trust, typer.Option(help="Who would vouch for it.")] = Trust.USER,
) -> Output:
    """Explain where a text would go, without storing it."""
    with here.open() as memory:
        decision = memory.route(text, policy=policy, trust=trust)
    summary = (
        f"{decision.route.value}  ({decision.kind.value}; durable {decision.p_durable:.2f}, "
        f"behaviour {decision.p_behaviour:.2f}; policy {decision.policy})"
    )
    return Output(decision.to_json(), f"{summary}\n{_reasons(decision)}")


@command(app)
def feedback(
    here: Session,
    who: Who,
    answer_id: Annotated[str | None, typer.Argument(help="The id shown below an answer.", show_default=False)] = None,
    turn: Annotated[
        Path | None,
        typer.Option("--turn", metavar="FILE", help="An agent's finished turn in its place: a JSON list of messages."),
    ] = None,
    correct: Annotated[str | None, typer.Option("--correct", metavar="TEXT", help="The right answer.")] = None,
    accept: Annotated[bool, typer.Option("--accept", help="The answer was right.")] = False,
) -> Output:
    """Turn an answer into training material: as it was, or as it should have been."""
    if (correct is None) is not accept:
        raise InputError("give either --correct 'the right answer' or --accept")
    if (answer_id is None) is (turn is None):
        raise InputError("give either an answer's id or --turn FILE")
    judged = answer_id if turn is None else _messages(turn)
    with here.open() as memory:
        receipt = memory.feedback(judged or "", correction=correct, accepted=accept, **who.given())
    return Output(receipt.to_json(), _receipt_line(receipt))


def _messages(file: Path) -> list[dict[str, str]]:
    try:
        read = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise InputError(f"{file} holds no messages ({error}); give a JSON list of role and content") from error
    if not isinstance(read, list):
        raise InputError(f"{file} holds no messages but a {type(read).__name__}; give a JSON list of role and content")
    return read


@command(app)
def purge(
    here: Session,
    older_than: Annotated[str, typer.Option(metavar="TIME", help="Only what ran out so long ago: 12h, 30d.")] = "0",
) -> Output:
    """Delete for good what has outlived its ttl; a job for every night."""
    with here.open() as memory:
        receipt = memory.purge(older_than=read_duration("--older-than", older_than) or 0.0)
    return Output(receipt.to_json(), f"{len(receipt.records)} records purged")


@command(app)
def forget(
    here: Session,
    who: Who,
    ids: Annotated[list[str] | None, typer.Argument(help="Record ids.", show_default=False)] = None,
    filters: Filter = None,
    everywhere: Annotated[bool, typer.Option("--everywhere", help="--filter reaches into every scope.")] = False,
    now: Annotated[bool, typer.Option("--now", help="Rebuild the adapters at once, not in the next window.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> Output:
    """Forget records in both halves and show the proof; by ids, or everything of a scope or filter."""
    conditions = {**who.given(), **({"filters": read_filter(filters)} if filters is not None else {})}
    conditions |= {"everywhere": True} if everywhere else {}
    if ids and conditions:
        raise InputError("give record ids, or a scope and filter; not both")
    if not ids and not conditions:
        raise InputError("name what to forget: record ids, a scope such as --user-id, or --filter")
    if not yes:
        _ask(here, f"{len(ids)} records" if ids else _named(conditions))
    with here.open() as memory, here.progress("forgetting") as progress:
        receipt = memory.forget(ids or None, weights="now" if now else "defer", progress=progress, **conditions)
    return Output(receipt.to_json(), _proof(receipt))


def _ask(here: Session, what: str) -> None:
    if here.as_json:
        raise InputError("--json asks nothing; add --yes to forget without a question")
    if not typer.confirm(f"Forget {what}, for good?", err=True):
        raise InputError("nothing was forgotten")


def _named(conditions: dict[str, Any]) -> str:
    return "everything with " + " ".join(f"{name}={value}" for name, value in conditions.items())


def _proof(receipt: Receipt) -> str:
    weights = receipt.weights
    lines = [f"{len(receipt.records)} records forgotten"]
    lines.append("retrieval: " + ", ".join(f"{name} {count}" for name, count in receipt.retrieval.items()))
    lines.append(f"weights: {weights.get('state')}" + (f", {weights['due_when']}" if weights.get("due_when") else ""))
    lines += [f"not promised: {what}" for what in receipt.not_promised]
    return "\n".join(lines)
