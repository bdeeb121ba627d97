"""Commands about policies: policy list, show, lint, diff, test, fit, replay.

Imports: types, config, the composition root, the policy readers, and the modules beside it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from hybrid_memory.cli.command import command
from hybrid_memory.cli.session import Output, Session
from hybrid_memory.cli.tables import table
from hybrid_memory.config import Settings
from hybrid_memory.routing.difference import difference
from hybrid_memory.routing.examples import examples_file
from hybrid_memory.routing.lint import lint as remarks_on
from hybrid_memory.routing.policy import list_policies, load_policy

__all__ = ["app"]

app = typer.Typer()
policy = typer.Typer(help="Routing policies: look at them, check them, try them, fit them.", no_args_is_help=True)
app.add_typer(policy, name="policy")

Name = Annotated[str, typer.Argument(metavar="POLICY", help="A shipped name or a TOML file.")]
Examples = Annotated[
    Path | None, typer.Option("--examples", help="TOML with [[examples]]; the file beside the policy when not given.")
]


@command(policy, "list")
def list_shipped() -> Output:
    """Show the shipped policies."""
    shipped = [load_policy(name) for name in list_policies()]
    data = [{"name": one.name, "description": one.description, "fingerprint": one.fingerprint} for one in shipped]
    rows = [(one.name, one.description) for one in shipped]
    return Output({"policies": data}, table(("policy", "what it does"), rows))


@command(policy)
def show(name: Name) -> Output:
    """Show one policy with all its values, those it inherits included."""
    chosen = load_policy(name)
    data = chosen.model_dump(mode="json")
    data["thresholds"] |= {"durable": chosen.durable, "fact": chosen.fact}
    return Output(data, json.dumps(data, ensure_ascii=False, indent=2))


@command(policy)
def lint(name: Name) -> Output:
    """Check a policy: mistakes (exit code 2) and what looks unintended, each with line and column."""
    remarks = remarks_on(name)
    lines = [one.text if one.error else f"line {one.line}, column {one.column}: {one.text}" for one in remarks]
    data = {"remarks": [one._asdict() for one in remarks]}
    return Output(data, "\n".join(lines) or "nothing to say", 2 if any(one.error for one in remarks) else 0)


@command(policy)
def diff(before: Name, after: Name) -> Output:
    """Show by which keys two policies differ."""
    changes = difference(before, after)
    rows = [(one.key, _shown(one.before), _shown(one.after)) for one in changes]
    shown = table(("key", before, after), rows) if rows else "no difference"
    return Output({"changes": [one._asdict() for one in changes]}, shown)


@command(policy, "test")
def rehearse(name: Name, examples: Examples = None) -> Output:
    """Run a policy on its table of examples; exit code 1 when one takes another route than it should."""
    from hybrid_memory.build import rehearsal

    cases = None if examples is None else examples_file(examples)
    outcomes = rehearsal(Settings.load()).test(name, cases)
    wrong = [one for one in outcomes if not one.right]
    rows = [(one.expected.value, one.got.value, one.text, "; ".join(one.reasons)) for one in wrong]
    shown = table(("expected", "got", "text", "because"), rows) if wrong else f"all {len(outcomes)} examples are right"
    data = {"examples": len(outcomes), "wrong": [one.to_json() for one in wrong]}
    return Output(data, shown, 1 if wrong else 0)


@command(policy)
def fit(
    name: Name,
    examples: Annotated[Path, typer.Option("--examples", help="TOML with [[examples]]: your own decisions.")],
    output: Annotated[Path, typer.Option("--output", help="Folder for the fitted policy.")] = Path("."),
) -> Output:
    """Adapt the classifier and one threshold to your own decisions; writes a policy that extends this one."""
    from hybrid_memory.build import rehearsal

    fitted = rehearsal(Settings.load()).fit(name, examples_file(examples), output)
    text = (
        f"{fitted.policy}: {fitted.right_after:.0%} of {fitted.examples} examples right when held out, "
        f"{fitted.right_before:.0%} before; behaviour threshold {fitted.behaviour:g}"
    )
    return Output(fitted.to_json(), text)


@command(policy)
def replay(
    here: Session,
    name: Name,
    apply: Annotated[bool, typer.Option("--apply", help="Move the records; without it nothing moves.")] = False,
) -> Output:
    """Show what would move in this memory under another policy, and what learning again would cost."""
    with here.open() as memory:
        shown = memory.replay_routing(name)
        moved = memory.apply_routing(shown) if apply else []
    rows = [(one.before.value, one.after.value, one.text, "; ".join(one.reasons[-1:])) for one in shown.moves]
    here.say(f"{len(moved)} of {len(rows)} moved" if apply else f"{len(rows)} would move; cost: {_shown(shown.cost)}")
    data = shown.to_json() | {"moved": [record.id for record in moved]}
    return Output(data, table(("from", "to", "text", "because"), rows) if rows else "nothing would move")


def _shown(value: object) -> str:
    return "-" if value is None else json.dumps(value, ensure_ascii=False)
