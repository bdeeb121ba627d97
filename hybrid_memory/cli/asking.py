"""Commands that ask: search, query, context, chat, explain.

Imports: errors, types, config, and the modules beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from rich.console import Group

from hybrid_memory.cli.command import command
from hybrid_memory.cli.options import Which, Who
from hybrid_memory.cli.session import Output, Session
from hybrid_memory.cli.tables import source_line, table
from hybrid_memory.config import MOST_NEIGHBOURS
from hybrid_memory.errors import HybridMemoryError
from hybrid_memory.memory import HybridMemory
from hybrid_memory.streaming import AnswerStream
from hybrid_memory.types import Answer, Hit, Mode

__all__ = ["app"]

app = typer.Typer()
QUIT = ("/quit", "/exit")
Neighbours = Annotated[
    int | None,
    typer.Option(
        min=0, max=MOST_NEIGHBOURS, help="Parts before and after each part of a document that come along, on top."
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grounds:
    """What an answer stands on."""

    mode: Annotated[Mode, typer.Option(help="Which halves answer.")] = Mode.HYBRID
    task: Annotated[str | None, typer.Option(metavar="NAME", help="The task whose skill answers.")] = None
    passages: Annotated[int | None, typer.Option(min=0, help="Most evidence passages in the prompt.")] = None
    neighbours: Neighbours = None

    def grounds(self) -> dict[str, Any]:
        """Return the keyword arguments that HybridMemory.query and HybridMemory.context share."""
        return {
            "mode": self.mode,
            "task": self.task,
            "passages": self.passages,
            "neighbours": self.neighbours,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner(Grounds):
    """How a question is answered."""

    max_new_tokens: Annotated[int | None, typer.Option(min=1, help="Longest answer.")] = None

    def arguments(self) -> dict[str, Any]:
        """Return the keyword arguments of HybridMemory.query."""
        return {**self.grounds(), "max_new_tokens": self.max_new_tokens}


@command(app)
def search(
    here: Session,
    text: Annotated[str, typer.Argument(help="What to look for.")],
    which: Which,
    top_k: Annotated[int, typer.Option("--top-k", "-k", min=1, help="How many.")] = 10,
    neighbours: Neighbours = None,
    explain: Annotated[bool, typer.Option("--explain", help="Say where each score comes from.")] = False,
) -> Output:
    """Show the passages closest to a text; no language model is loaded."""
    with here.open() as memory:
        hits = memory.search(text, top_k=top_k, neighbours=neighbours, explain=explain, **which.conditions())
    rows = [
        (
            hit.id,
            "\n".join((f"{hit.score:.4f}", *hit.explanation)),
            f"{hit.record.valid_from:%Y-%m-%d}",
            hit.record.source,
            hit.passage.text,
        )
        for hit in hits
    ]
    shown = table(("id", "score", "valid from", "source", "text"), rows) if rows else "nothing found"
    return Output({"hits": [hit.to_json() for hit in hits]}, shown)


@command(app)
def query(
    here: Session,
    question: Annotated[str, typer.Argument(help="What to ask.")],
    manner: Manner,
    which: Which,
    stream: Annotated[bool, typer.Option("--stream", help="Write the answer as it comes.")] = False,
) -> Output:
    """Answer a question from both halves, with its sources."""
    options = {**manner.arguments(), **which.conditions()}
    with here.open() as memory:
        if stream and not here.as_json:
            answer = _streamed(memory, question, options)
            return Output(answer.to_json(), _below(answer))
        with here.progress("answering") as progress:
            answer = memory.query(question, progress=progress, **options)
    return Output(answer.to_json(), f"{answer.text}\n\n{_below(answer)}")


@command(app)
def context(
    here: Session,
    question: Annotated[str, typer.Argument(help="What is to be asked.")],
    grounds: Grounds,
    which: Which,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Most tokens of the messages.")] = None,
) -> Output:
    """Show the messages that a question would be asked with, for a model of your own."""
    with here.open() as memory:
        found = memory.context(question, max_tokens=max_tokens, **grounds.grounds(), **which.conditions())
    turns = [f"{turn.role}: {turn.content}" for turn in found.messages]
    return Output(found.to_json(), "\n\n".join((*turns, "\n".join((*_sources(found.sources), *found.trace)))))


@command(app)
def chat(here: Session, manner: Manner, who: Who) -> Output:
    """Ask one question after another; /quit or the end of input leaves."""
    options = {**manner.arguments(), **who.given()}
    answers: list[Answer] = []
    with here.open() as memory:
        for question in _questions(here):
            try:
                answers.append(_reply(here, memory, question, options))
            except HybridMemoryError as error:
                here.say(f"Error: {error}", style="red")
    return Output({"answers": [answer.to_json() for answer in answers]}, None)


@command(app)
def explain(here: Session, answer: Annotated[str, typer.Argument(help="The id below a recent answer.")]) -> Output:
    """Tell what a recent answer came from, by leaving out evidence and adapters."""
    with here.open() as memory:
        found = memory.explain(answer)
    names = {
        "both": "evidence and adapters",
        "evidence": "evidence",
        "adapters": "adapters",
        "base": "base model alone",
    }
    rows = [(names[name], f"{value:.2f}") for name, value in found.logprob.items()]
    rows += [(f"without {name}", f"{-change:+.2f}") for name, change in {**found.sources, **found.adapters}.items()]
    shown = table(("written with", "nats a token"), rows)
    rest = [f"not attributed: {reason}" for reason in found.not_attributed]
    return Output({**found.to_json(), "base": found.base}, Group(found.text, "", found.summary, "", shown, *rest))


def _questions(here: Session) -> Iterator[str]:
    """Yield what is typed until /quit or the end of input; the prompt goes to stderr."""
    here.say("Ask; each question stands on its own. /quit leaves.")
    while True:
        here.err.print("> ", end="")
        try:
            typed = input().strip()
        except EOFError:
            return
        if typed in QUIT:
            return
        if typed:
            yield typed


def _reply(here: Session, memory: HybridMemory, question: str, options: dict[str, Any]) -> Answer:
    if here.as_json:
        return memory.query(question, stream=False, **options)
    answer = _streamed(memory, question, options)
    here.out.print(_below(answer), soft_wrap=True)
    return answer


def _streamed(memory: HybridMemory, question: str, options: dict[str, Any]) -> Answer:
    """Write the answer as it comes, and return it."""
    stream: AnswerStream = memory.query(question, stream=True, **options)
    for piece in stream:
        typer.echo(piece, nl=False)
    typer.echo()
    return stream.answer


def _sources(hits: Sequence[Hit]) -> list[str]:
    return [source_line(number, hit) for number, hit in enumerate(hits, start=1)]


def _below(answer: Answer) -> str:
    """Return what stands below an answer: its sources, adapters, cost and id."""
    lines = _sources(answer.sources)
    lines += [f"adapter {adapter}" for adapter in answer.adapters]
    lines += [f"no adapter: {answer.no_adapter}"] if answer.no_adapter else []
    if answer.abstained:
        lines.append("abstained: the memory holds too little about this")
    tokens = answer.prompt_tokens + answer.completion_tokens
    lines.append(
        f"{answer.id}  {tokens} tokens, {sum(answer.seconds.values()):.1f} s, confidence {answer.confidence:.2f}"
    )
    return "\n".join(lines)
