"""The command line: what is typed reaches the memory, and what comes back is shown to people or to machines."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import records
from rich.console import Console
from typer.testing import CliRunner, Result

from hybrid_memory.cli import learning, progress
from hybrid_memory.cli.app import app
from hybrid_memory.cli.folders import settings_text
from hybrid_memory.config import Settings
from hybrid_memory.demo import COLUMNS, ROWS, DemoReport
from hybrid_memory.errors import ConsolidationError, InputError, NotFoundError
from hybrid_memory.schedule import next_time
from hybrid_memory.types import (
    Answer,
    ConsolidationReport,
    Context,
    Decision,
    Event,
    Example,
    Explanation,
    Fact,
    GeneratorReport,
    Hit,
    IngestReceipt,
    Kind,
    Learning,
    Mode,
    Passage,
    Preference,
    Receipt,
    Record,
    Rollback,
    RoundReport,
    Route,
    Sensitivity,
    Task,
    Trust,
    Turn,
)

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
DECISION = Decision(
    route=Route.LEARN,
    kind=Kind.PREFERENCE,
    p_durable=0.9,
    p_behaviour=0.8,
    sensitivity=Sensitivity.NORMAL,
    trust=Trust.USER,
    reasons=("shapes behaviour", "lasts"),
    policy="default@0123456789ab",
)


def record(id: str, text: str) -> Record:
    """An ordinary record."""
    return records.record(
        text,
        id=id,
        source="wiki",
        trust=Trust.USER,
        observed_at=NOON,
        recorded_at=NOON,
        valid_from=NOON,
        decision=DECISION,
        learning=Learning.NONE,
    )


def hit(id: str, text: str, *, similarity: float = 0.75) -> Hit:
    """A record that was found."""
    passage = Passage(id=1, record_id=id, position=0, text=text)
    return Hit(record=record(id, text), passage=passage, score=0.5, similarity=similarity)


class FakeMemory:
    """A hand-written HybridMemory: notes every call and returns what the test put in.

    The real one needs two models. What is tested here is the layer above its public API, so a fake of
    that API is the smallest honest stand-in; the commands with real models are tested end to end elsewhere.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[object, ...], dict[str, Any]]] = []
        self.found: dict[str, Any] = {}
        self.closed = False
        self.opened: tuple[Path, bool] | None = None
        self.adapters = self

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)

        def call(*arguments: object, **options: Any) -> Any:
            given = {key: value for key, value in options.items() if value is not None and key != "progress"}
            self.calls.append((name, arguments, given))
            result = self.found[name]
            if isinstance(result, BaseException):
                raise result
            return result(*arguments) if callable(result) else result

        return call

    def close(self) -> None:
        self.closed = True

    def __enter__(self) -> FakeMemory:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


@pytest.fixture
def memory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> FakeMemory:
    """What every command of this test opens."""
    fake = FakeMemory()

    def open_fake(opened: Path, *, for_reindex: bool = False) -> FakeMemory:
        fake.opened = (opened, for_reindex)
        return fake

    monkeypatch.setattr("hybrid_memory.cli.session.open_memory", open_fake)
    monkeypatch.setattr("hybrid_memory.cli.folders.open_memory", open_fake)
    return fake


@pytest.fixture
def folder(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a memory in it, named by the environment; models are looked for in an empty place."""
    made = tmp_path / "acme"
    made.mkdir()
    (made / "memory.toml").write_text("", encoding="utf-8")
    monkeypatch.setenv("HYBRID_MEMORY_FOLDER", str(made))
    monkeypatch.chdir(tmp_path)
    return made


def run(*arguments: str, typed: str | bytes | None = None) -> Result:
    """Type a command."""
    return CliRunner().invoke(app, arguments, input=typed)


def data(result: Result) -> Any:
    """The one JSON object on stdout."""
    return json.loads(result.stdout)


# ---------------------------------------------------------------- help, errors, exit codes


def commands() -> Iterator[list[str]]:
    """Every command there is, groups opened."""
    import typer

    def below(command: Any, path: list[str]) -> Iterator[list[str]]:
        inner = getattr(command, "commands", None)
        if inner is None:
            yield path
            return
        for name, child in inner.items():
            yield from below(child, [*path, name])

    yield from below(typer.main.get_command(app), [])


def test_all_promised_commands_are_there() -> None:
    """The list that people learn."""
    promised = (
        "init ingest import route search query context chat explain consolidate feedback forget purge list history "
        "trace doctor export restore "
        "audit benchmark seal_train serve "
        "reindex demo adapters_list adapters_promote adapters_rollback adapters_disable models_pull models_list "
        "models_path policy_list policy_show policy_lint policy_diff policy_test policy_fit policy_replay review_list "
        "review_approve review_reject receipt_check"
    )

    assert {"_".join(path) for path in commands()} == set(promised.split())


@pytest.mark.parametrize("path", list(commands()), ids=" ".join)
def test_every_command_explains_itself_and_takes_the_shared_options(path: list[str]) -> None:
    """Help needs no memory and no model, and names --json, --memory and --verbose."""
    result = run(*path, "--help")

    assert result.exit_code == 0
    assert all(option in result.stdout for option in ("--json", "--memory", "--verbose"))


@pytest.mark.parametrize("script", ["import hybrid_memory.cli", "import hybrid_memory.cli.app as a; a.app(['--help'])"])
def test_help_waits_for_no_heavy_package(script: str) -> None:
    """Importing the command line and printing its help load neither torch nor any other heavy package."""
    heavy = ("torch", "faiss", "transformers", "sentence_transformers", "peft", "llama_index", "sqlalchemy", "sklearn")
    code = f"""
import sys
try:
    {script}
except SystemExit:
    pass
print([name for name in {heavy!r} if name in sys.modules])
"""
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert printed.splitlines()[-1] == "[]"


def test_version_is_the_installed_one() -> None:
    """`--version` says what is installed."""
    from importlib.metadata import version

    assert run("--version").stdout.strip() == version("hybrid-memory-sdk")


def test_an_error_is_one_line_on_stderr(memory: FakeMemory) -> None:
    """No traceback, nothing on stdout, exit code 1."""
    memory.found["history"] = NotFoundError("there is no record 'x'")

    result = run("history", "x")

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "Error: there is no record 'x'\n"


def test_verbose_adds_the_traceback(memory: FakeMemory) -> None:
    """For who wants to see where it happened."""
    memory.found["history"] = NotFoundError("there is no record 'x'")

    assert "Traceback" in run("history", "x", "--verbose").stderr


def test_with_json_an_error_is_also_an_object(memory: FakeMemory) -> None:
    """A program that reads stdout always finds one JSON object there."""
    memory.found["history"] = NotFoundError("there is no record 'x'")

    result = run("history", "x", "--json")

    assert data(result) == {"error": {"kind": "NotFoundError", "message": "there is no record 'x'"}}
    assert result.exit_code == 1


@pytest.mark.parametrize(
    ("error", "code"), [(InputError("no"), 2), (ConsolidationError("no"), 1)], ids=["input", "run"]
)
def test_what_was_typed_wrong_is_exit_code_2(memory: FakeMemory, error: Exception, code: int) -> None:
    """2 means: change the command; 1 means: the command was right and failed."""
    memory.found["doctor"] = error

    assert run("doctor").exit_code == code


def test_an_unknown_option_is_exit_code_2() -> None:
    """As with every other command line."""
    assert run("doctor", "--bogus").exit_code == 2


def test_a_folder_without_a_memory_is_named_and_left_alone(folder: Path) -> None:
    """A mistyped folder is not filled with an empty memory."""
    result = run("doctor", "--memory", "acne")

    assert result.exit_code == 2
    assert "there is no memory in acne; `hybrid-memory init acne` makes one" in result.stderr
    assert not Path("acne").exists()


def test_a_wrong_setting_is_named(folder: Path) -> None:
    """The line of the error tree reaches the user, with its proposal."""
    (folder / "memory.toml").write_text("[training]\nepoch = 3\n", encoding="utf-8")

    result = run("doctor")

    assert result.exit_code == 2
    assert "unknown setting training.epoch; did you mean epochs?" in result.stderr


def test_a_missing_model_names_the_command_that_gets_it(folder: Path) -> None:
    """The first thing that a new user may run into."""
    result = run("search", "anything")

    assert result.exit_code == 1
    assert "run `hybrid-memory models pull`" in result.stderr


def test_ctrl_c_is_exit_code_130(memory: FakeMemory) -> None:
    """As a shell expects of a command that was interrupted."""
    memory.found["reindex"] = KeyboardInterrupt()

    assert run("reindex").exit_code == 130


def test_shared_options_may_stand_before_or_after_the_command(memory: FakeMemory) -> None:
    """Nobody must remember where --json goes."""
    memory.found["doctor"] = {"healthy": True, "problems": []}

    assert data(run("--json", "doctor")) == data(run("doctor", "--json")) == {"healthy": True, "problems": []}


def test_the_folder_after_the_command_wins(folder: Path) -> None:
    """Environment, then before the command, then after it."""
    result = run("--memory", "first", "doctor", "--memory", "second")

    assert "there is no memory in second" in result.stderr


# ---------------------------------------------------------------- init


def test_init_writes_the_settings_and_opens_the_memory_once(memory: FakeMemory, tmp_path: Path) -> None:
    """A new memory begins with a file to edit."""
    result = run("init", "new", "--policy", "support_desk")

    settings = Settings.load(tmp_path / "new" / "memory.toml")
    assert result.exit_code == 0
    assert settings.routing.policy == "support_desk"
    assert memory.closed


def test_init_again_keeps_the_settings(memory: FakeMemory, folder: Path) -> None:
    """What was edited stays."""
    (folder / "memory.toml").write_text("[answer]\npassages = 3\n", encoding="utf-8")

    result = run("init", str(folder), "--json")

    assert data(result)["created"] is False
    assert (folder / "memory.toml").read_text(encoding="utf-8") == "[answer]\npassages = 3\n"


def test_init_with_an_unknown_policy_writes_nothing(memory: FakeMemory) -> None:
    """The policy is checked first."""
    result = run("init", "new", "--policy", "suport_desk")

    assert result.exit_code == 1
    assert "support_desk" in result.stderr
    assert not Path("new/memory.toml").exists()


def test_the_settings_file_shows_true_defaults() -> None:
    """Every commented line, made active, is a known setting with its default; only the window's are examples."""
    lines = settings_text(None).splitlines()
    active = [line.removeprefix("# ") if " = " in line else line for line in lines]

    groups = tomllib.loads("\n".join(active))
    window = groups.pop("window")

    assert Settings.load(groups) == Settings()
    assert Settings.load({"window": window}).window.queue_size == Settings().window.queue_size


# ---------------------------------------------------------------- ingest, route, feedback, forget


def receipt(**changes: Any) -> IngestReceipt:
    """One stored record."""
    given: dict[str, Any] = {"record_id": "r1", "route": Route.LEARN, "decision": DECISION, "records": ("r1",)}
    return IngestReceipt(**{**given, **changes})


def ingested(memory: FakeMemory) -> list[object]:
    """What reached `memory.ingest`, in order."""
    return [arguments[0] for name, arguments, _ in memory.calls if name == "ingest"]


def test_a_text_is_ingested_with_its_whole_stamp(memory: FakeMemory) -> None:
    """Every option arrives under the name and in the form that the API takes."""
    memory.found["ingest"] = receipt()

    run(
        *("ingest", "Ann likes tea", "--user-id", "ann", "--source", "crm", "--trust", "operator", "--route", "learn"),
        *(
            "--ttl",
            "2d",
            "--valid-from",
            "2026-03-01T13:00:00+01:00",
            "--metadata",
            "city=Oslo",
            "--metadata",
            "floor=3",
        ),
        *("--idempotency-key", "k", "--dry-run", "--force"),
    )

    assert memory.calls == [
        (
            "ingest",
            ("Ann likes tea",),
            {
                "user_id": "ann",
                "source": "crm",
                "trust": Trust.OPERATOR,
                "route": Route.LEARN,
                "ttl": 172_800.0,
                "valid_from": NOON,
                "metadata": {"city": "Oslo", "floor": 3},
                "idempotency_key": "k",
                "dry_run": True,
                "force": True,
            },
        )
    ]


def test_the_receipt_says_where_it_went_and_why(memory: FakeMemory) -> None:
    """Route, id, and the policy's reasons."""
    memory.found["ingest"] = receipt(superseded=("r0",))

    assert run("ingest", "x").stdout == "learn  r1  replaces r0\n  - shapes behaviour\n  - lasts\n"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--fact", "Oslo", "mayor", "Ann"], [Fact("Oslo", "mayor", "Ann")]),
        (["--example", "Hi", "Hello!"], [Example("Hi", "Hello!")]),
        (["--preference", "Be brief"], [Preference("Be brief")]),
        (["--preference", "Be brief", "--example", "Hi", "Hi."], [Preference("Be brief", (Example("Hi", "Hi."),))]),
        (["text", "--file", "a.md", "--file", "notes"], ["text", Path("a.md"), Path("notes")]),
    ],
    ids=["fact", "example", "rule", "rule with example", "text and files"],
)
def test_each_form_of_input_becomes_its_object(
    memory: FakeMemory, arguments: list[str], expected: list[object]
) -> None:
    """Files stay paths; a rule takes the example as its illustration."""
    memory.found["ingest"] = receipt()

    assert run("ingest", *arguments).exit_code == 0
    assert ingested(memory) == expected


def test_a_file_tells_a_task(memory: FakeMemory, tmp_path: Path) -> None:
    """Its name and its demonstrations, as JSON."""
    memory.found["ingest"] = receipt()
    file = tmp_path / "mirror.json"
    pairs = [("1 2", "2 1"), ("3\n4", "3\n4")]
    shown = [{"prompt": prompt, "response": response} for prompt, response in pairs]
    file.write_text(json.dumps({"name": "mirror", "demonstrations": shown}), encoding="utf-8")

    assert run("ingest", "--task", str(file)).exit_code == 0
    assert ingested(memory) == [Task("mirror", tuple(Example(*pair) for pair in pairs))]


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"name": "m"}', '{"name": "m", "demonstrations": []', '{"name": "m", "demonstrations": [1]}']
)
def test_a_file_that_tells_no_task_says_so(memory: FakeMemory, tmp_path: Path, text: str) -> None:
    """With the file's name; nothing is ingested."""
    file = tmp_path / "mirror.json"
    file.write_text(text, encoding="utf-8")

    result = run("ingest", "--task", str(file))

    assert result.exit_code == 2
    assert "mirror.json" in result.stderr
    assert memory.calls == []


def test_a_dash_reads_standard_input(memory: FakeMemory) -> None:
    """For pipes; UTF-8 whatever the terminal speaks."""
    memory.found["ingest"] = receipt()

    run("ingest", "-", typed="Blåbær er blå.\n".encode())

    assert ingested(memory) == ["Blåbær er blå.\n"]


def test_json_lines_from_standard_input_are_read_as_a_file_of_them(memory: FakeMemory) -> None:
    """The reader knows JSON lines by their suffix."""
    seen: list[tuple[str, str]] = []

    def look(file: Path) -> IngestReceipt:
        seen.append((file.suffix, file.read_text(encoding="utf-8")))
        return receipt()

    memory.found["ingest"] = look
    run("ingest", "-", "--jsonl", typed='{"text": "a"}\n')

    assert seen == [(".jsonl", '{"text": "a"}\n')]


def test_a_bad_input_among_several_is_reported_and_does_not_stop_the_rest(memory: FakeMemory) -> None:
    """The exit code tells that something is missing."""

    def read(x: Path) -> IngestReceipt:
        if x.name == "b.md":
            raise InputError("b.md is empty")
        return receipt()

    memory.found["ingest"] = read
    result = run("ingest", "--file", "a.md", "--file", "b.md", "--file", "c.md", "--json")

    assert result.exit_code == 1
    assert data(result)["failures"] == [{"input": "b.md", "error": "b.md is empty"}]
    assert len(data(result)["receipts"]) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to ingest"),
        (["x", "--observed-at", "2026-03-01T12:00:00"], "has no time zone"),
        (["x", "--valid-from", "soon"], "--valid-from is no time"),
        (["x", "--ttl", "soon"], "--ttl must be seconds, or a number with s, m, h, d or w"),
        (["x", "--ttl", "0"], "--ttl must be seconds"),
        (["x", "--metadata", "city"], "--metadata takes key=value, got 'city'"),
        (["x", "--file", "a.md", "--idempotency-key", "k"], "--idempotency-key names one input, got 2"),
        (["x", "--jsonl"], "--jsonl is for standard input"),
        (["x", "--route", "keep"], "keep"),
        (["--fact", "Oslo", "mayor"], "--fact"),
    ],
)
def test_what_cannot_be_ingested_is_refused_before_the_memory_opens(
    memory: FakeMemory, arguments: list[str], message: str
) -> None:
    """Exit code 2, and nothing was called."""
    result = run("ingest", *arguments)

    assert (result.exit_code, memory.calls) == (2, [])
    assert message in result.stderr


def test_route_explains(memory: FakeMemory) -> None:
    """Route, probabilities, policy, reasons."""
    memory.found["route"] = DECISION

    shown = run("route", "Be brief", "--policy", "regulated").stdout

    assert shown.startswith("learn  (preference; durable 0.90, behaviour 0.80; policy default@0123456789ab)")
    assert memory.calls == [("route", ("Be brief",), {"policy": "regulated", "trust": Trust.USER})]


def test_feedback_needs_one_verdict(memory: FakeMemory) -> None:
    """Neither or both are refused."""
    assert run("feedback", "a1").exit_code == 2
    assert run("feedback", "a1", "--accept", "--correct", "x").exit_code == 2


def test_rollback_takes_a_version_or_a_time_not_both(memory: FakeMemory) -> None:
    """A time is read with its zone and handed on as a moment."""
    memory.found["rollback"] = Rollback(serving=(), kept={"facts-2": "its files were deleted"})

    assert run("adapters", "rollback", "facts-1-v1", "--at", "2025-06-01T00:00:00Z").exit_code == 2
    shown = run("adapters", "rollback", "--at", "2025-06-01T02:00:00+02:00")

    moment = datetime(2025, 6, 1, tzinfo=UTC)
    assert memory.calls == [("rollback", (moment,), {})]
    assert "nothing serves, as at 2025-06-01" in shown.stdout
    assert "facts-2 keeps what it serves now: its files were deleted" in shown.stdout


def test_explain_shows_what_an_answer_came_from(memory: FakeMemory) -> None:
    """The summary, then the answer's likelihood with each half and without each source."""
    memory.found["explain"] = Explanation(
        answer_id="a1",
        text="At ten.",
        logprob={"both": -1.0, "evidence": -1.5, "adapters": -3.0, "base": -4.0},
        evidence=2.25,
        adapter=0.75,
        sources={"r1": 2.0},
        adapters={"facts-1-v1": 0.5},
        summary="mostly from the evidence",
        not_attributed=("the closing words",),
    )

    shown = run("explain", "a1")

    assert memory.calls == [("explain", ("a1",), {})]
    for part in (
        "At ten.",
        "mostly from the evidence",
        "base",
        "-4.00",
        "without r1",
        "-2.00",
        "not attributed: the closing",
    ):
        assert part in shown.stdout


def test_feedback_hands_the_correction_on(memory: FakeMemory) -> None:
    """The answer's id and the right answer."""
    memory.found["feedback"] = receipt()

    run("feedback", "a1", "--correct", "Oslo")

    assert memory.calls == [("feedback", ("a1",), {"correction": "Oslo", "accepted": False})]


def test_feedback_takes_an_agents_finished_turn(memory: FakeMemory, tmp_path: Path) -> None:
    """From a file, with its scope; an answer's id beside it is one too many."""
    memory.found["feedback"] = receipt()
    turn = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}]
    (tmp_path / "turn.json").write_text(json.dumps(turn), encoding="utf-8")
    (tmp_path / "bad.json").write_text("{}", encoding="utf-8")
    file = str(tmp_path / "turn.json")

    run("feedback", "--turn", file, "--accept", "--agent-id", "bot")

    assert memory.calls == [("feedback", (turn,), {"accepted": True, "agent_id": "bot"})]
    assert run("feedback", "a1", "--turn", file, "--accept").exit_code == 2
    assert run("feedback", "--accept").exit_code == 2
    assert "bad.json holds no messages" in run("feedback", "--turn", str(tmp_path / "bad.json"), "--accept").stderr


PROOF = Receipt(
    records=("r1", "r2"),
    retrieval={"passages": 2, "still_found": 0},
    weights={"state": "due", "due_when": "the next window"},
    not_promised=("backups",),
    at=NOON,
)


@pytest.mark.parametrize(("unchanged", "code", "said"), [(True, 0, "word for word"), (False, 1, "was changed")])
def test_a_receipt_is_checked_from_its_file(
    memory: FakeMemory, tmp_path: Path, unchanged: bool, code: int, said: str
) -> None:
    """What `forget --json` printed; a changed one fails."""
    memory.found["check_receipt"] = unchanged
    file = tmp_path / "receipt.json"
    file.write_text(json.dumps(PROOF.to_json()), encoding="utf-8")

    result = run("receipt", "check", str(file))

    assert (result.exit_code, said in result.stdout) == (code, True)
    assert memory.calls == [("check_receipt", (json.loads(json.dumps(PROOF.to_json())),), {})]


@pytest.mark.parametrize("text", ["not JSON", "[1]"])
def test_a_file_that_holds_no_receipt_is_refused(memory: FakeMemory, tmp_path: Path, text: str) -> None:
    """With its name, and what is wanted."""
    (tmp_path / "receipt.json").write_text(text, encoding="utf-8")

    result = run("receipt", "check", str(tmp_path / "receipt.json"))

    assert result.exit_code == 2
    assert "receipt.json holds no receipt" in result.stderr
    assert memory.calls == []


def test_forget_asks_first(memory: FakeMemory) -> None:
    """A no leaves everything as it was."""
    result = run("forget", "r1", typed="n\n")

    assert (result.exit_code, memory.calls) == (2, [])
    assert "nothing was forgotten" in result.stderr


def test_forget_shows_both_halves_and_what_is_not_promised(memory: FakeMemory) -> None:
    """The receipt, in words."""
    memory.found["forget"] = PROOF

    shown = run("forget", "r1", "r2", "--now", "--yes").stdout.splitlines()

    assert shown == [
        "2 records forgotten",
        "retrieval: passages 2, still_found 0",
        "weights: due, the next window",
        "not promised: backups",
    ]
    assert memory.calls == [("forget", (["r1", "r2"],), {"weights": "now"})]


def test_forget_takes_a_scope_and_a_filter(memory: FakeMemory) -> None:
    """Everything that matches both."""
    memory.found["forget"] = PROOF

    run("forget", "--user-id", "ann", "--filter", '{"source": "crm"}', "--yes")

    assert memory.calls == [("forget", (None,), {"weights": "defer", "user_id": "ann", "filters": {"source": "crm"}})]

    run("forget", "--filter", '{"source": "crm"}', "--everywhere", "--yes")
    assert memory.calls[1:] == [
        ("forget", (None,), {"weights": "defer", "filters": {"source": "crm"}, "everywhere": True})
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--yes"], "name what to forget"),
        (["r1", "--user-id", "ann", "--yes"], "not both"),
        (["--filter", "[1]", "--yes"], "--filter must be a JSON object"),
        (["--filter", "{", "--yes"], "--filter is not JSON"),
        (["r1", "--json"], "--json asks nothing; add --yes"),
    ],
)
def test_forget_refuses_what_is_not_clear(memory: FakeMemory, arguments: list[str], message: str) -> None:
    """Ids that come with a scope would hide which of the two decides."""
    result = run("forget", *arguments)

    assert (result.exit_code, memory.calls) == (2, [])
    assert message in result.stderr


# ---------------------------------------------------------------- search, query, chat


def test_search_shows_text_as_it_was_stored(memory: FakeMemory) -> None:
    """Brackets and colons are no markup."""
    memory.found["search"] = [hit("r1", "[bold]x[/bold] :smile:")]

    assert "[bold]x[/bold] :smile:" in run("search", "x").stdout


def test_search_writes_json_that_every_parser_reads(memory: FakeMemory) -> None:
    """JSON has no nan: a passage that only the words found has similarity null."""
    memory.found["search"] = [hit("r1", "x", similarity=float("nan"))]

    when = "2026-03-01T12:00:00Z"
    result = run("search", "x", "--json", "-k", "3", "--as-of", when, "--known-at", when)

    assert data(result)["hits"][0]["similarity"] is None
    assert memory.calls == [("search", ("x",), {"top_k": 3, "as_of": NOON, "known_at": NOON, "explain": False})]


def test_search_shows_what_a_neighbour_stands_beside(memory: FakeMemory) -> None:
    """Also without --explain: its score says nothing."""
    neighbour = replace(hit("r2", "y"), beside="r1", explanation=("part 2, beside part 1 (r1), which was found",))
    memory.found["search"] = [hit("r1", "x"), neighbour]

    result = run("search", "x", "--neighbours", "1")

    assert "part 2, beside part 1" in " ".join(result.stdout.split())
    assert memory.calls == [("search", ("x",), {"top_k": 10, "neighbours": 1, "explain": False})]
    assert run("search", "x", "--neighbours", "4").exit_code == 2


def test_search_says_where_a_score_comes_from_when_asked(memory: FakeMemory) -> None:
    """Under the score, a line for each part of it."""
    memory.found["search"] = [replace(hit("r1", "x"), explanation=("+0.500 meaning, cosine 0.750",))]

    result = run("search", "x", "--explain")

    assert "+0.500 meaning" in result.stdout
    assert memory.calls == [("search", ("x",), {"top_k": 10, "explain": True})]


ANSWER = Answer(
    id="a1",
    question="Where?",
    text="In Oslo.",
    mode=Mode.HYBRID,
    sources=(hit("r1", "The office is in Oslo."),),
    adapters=("facts-1-v2",),
    abstained=False,
    trace=("retrieved 1",),
    prompt_tokens=30,
    completion_tokens=4,
    seconds={"retrieve": 0.1, "generate": 0.4},
    confidence=0.5,
)


class FakeStream:
    """An AnswerStream that has been written already."""

    answer = ANSWER

    def __iter__(self) -> Iterator[str]:
        return iter(["In ", "Oslo."])


def test_query_shows_answer_sources_adapters_and_id(memory: FakeMemory) -> None:
    """All that led to it; the id is what feedback takes."""
    memory.found["query"] = ANSWER

    shown = run(
        "query", "Where?", "--mode", "retrieval_only", "--passages", "2", "--neighbours", "1"
    ).stdout.splitlines()

    assert shown == [
        "In Oslo.",
        "",
        "[1] The office is in Oslo. (wiki, 2026-03-01, r1)",
        "adapter facts-1-v2",
        "a1  34 tokens, 0.5 s, confidence 0.50",
    ]
    assert memory.calls == [("query", ("Where?",), {"mode": Mode.RETRIEVAL_ONLY, "passages": 2, "neighbours": 1})]


def test_a_query_may_name_a_task(memory: FakeMemory) -> None:
    """Its skill answers."""
    memory.found["query"] = ANSWER

    run("query", "1 2", "--task", "mirror")

    assert memory.calls == [("query", ("1 2",), {"mode": Mode.HYBRID, "task": "mirror"})]


def test_context_shows_messages_sources_and_what_was_decided(memory: FakeMemory) -> None:
    """For a model of one's own."""
    turns = (Turn("system", "Be brief."), Turn("user", "Where?"))
    memory.found["context"] = Context(
        messages=turns, sources=ANSWER.sources, adapters=(), masked=(), trace=("1 passages of evidence",)
    )

    shown = run("context", "Where?", "--task", "mirror", "--max-tokens", "90").stdout

    assert shown == (
        "system: Be brief.\n\nuser: Where?\n\n"
        "[1] The office is in Oslo. (wiki, 2026-03-01, r1)\n1 passages of evidence\n"
    )
    assert memory.calls == [("context", ("Where?",), {"mode": Mode.HYBRID, "task": "mirror", "max_tokens": 90})]


def test_a_source_is_shown_by_what_the_model_read_of_it(memory: FakeMemory) -> None:
    """The beginning of a long page says nothing about the answer."""
    page = replace(hit("r1", "Welcome to us. The office is in Oslo."), excerpt="The office is in Oslo.")
    memory.found["query"] = replace(ANSWER, sources=(page,))

    assert "[1] The office is in Oslo. (wiki, 2026-03-01, r1)" in run("query", "Where?").stdout


def test_an_answer_without_an_adapter_says_why(memory: FakeMemory) -> None:
    """Who has told something wants to know why it is not learned."""
    memory.found["query"] = replace(ANSWER, adapters=(), no_adapter="the best evidence waits for the next window")

    shown = run("query", "Where?").stdout

    assert "\nno adapter: the best evidence waits for the next window\n" in shown


def test_a_source_is_one_short_line(memory: FakeMemory) -> None:
    """Whatever it holds; the whole text is in the JSON."""
    long = "# Gates\n\n| gate | opens |\n|---|---|\n" + "The north gate opens early. " * 20
    memory.found["query"] = replace(ANSWER, sources=(hit("r1", long),))

    _, _, source, *_ = run("query", "Where?").stdout.splitlines()

    assert source.startswith("[1] # Gates | gate | opens | |---|---| The north gate")
    assert source.endswith("… (wiki, 2026-03-01, r1)")
    assert 100 < len(source.partition("…")[0]) < 124
    assert data(run("query", "Where?", "--json"))["sources"][0]["record"]["text"] == long


def test_query_with_json_is_the_answer_object(memory: FakeMemory) -> None:
    """The same fields as in Python."""
    memory.found["query"] = ANSWER

    assert data(run("query", "Where?", "--json", "--stream")) == ANSWER.to_json()


def test_a_streamed_answer_is_written_once(memory: FakeMemory) -> None:
    """Its pieces, then what stands below."""
    memory.found["query"] = FakeStream()

    shown = run("query", "Where?", "--stream").stdout

    assert shown.startswith("In Oslo.\n[1] ")
    assert shown.count("In Oslo.") == 1
    assert memory.calls[0][2]["stream"] is True


def test_chat_answers_line_by_line_until_quit(memory: FakeMemory) -> None:
    """Empty lines are passed over; what comes after /quit is not asked."""
    memory.found["query"] = FakeStream()

    result = run("chat", "--user-id", "ann", typed="Where?\n\n  When? \n/quit\nWho?\n")

    assert [arguments for _, arguments, _ in memory.calls] == [("Where?",), ("When?",)]
    assert result.stdout.count("In Oslo.\n[1] The office is in Oslo.") == 2
    assert result.exit_code == 0


def test_chat_goes_on_after_an_error(memory: FakeMemory) -> None:
    """One bad question does not end the conversation; the end of input does."""
    memory.found["query"] = InputError("the question is too long")

    result = run("chat", typed="Where?\nWhen?\n")

    assert result.stderr.count("Error: the question is too long") == 2
    assert result.exit_code == 0


# ---------------------------------------------------------------- consolidate, adapters


REPORT = ConsolidationReport(shards=(), learned=2, declined=1, remaining=0, seconds=3.0, summary="2 records learned")


def test_consolidate_reports_in_one_line(memory: FakeMemory) -> None:
    """The summary, for people and in a log."""
    memory.found["consolidate"] = REPORT

    result = run("consolidate", "--budget-s", "60", "--user-id", "ann")

    assert result.stdout == "2 records learned\n"
    assert memory.calls == [("consolidate", (), {"budget_s": 60.0, "user_id": "ann"})]


def lessons(folder: Path) -> Path:
    file = folder / "lessons.jsonl"
    line = json.dumps({"text": "Ann has the key.", "questions": [{"question": "Who has it?", "answer": "Ann"}]})
    file.write_text(f"{line}\n{line}\n", encoding="utf-8")
    return file


TRAINED = GeneratorReport(
    rounds=(
        RoundReport(
            round=1,
            version="generator-v1",
            promoted=True,
            reason="better",
            winners=1,
            refused=0,
            mean_reward=0.5,
            best_reward=0.75,
            held_out_before=0.25,
            held_out_after=1.0,
            trained_tokens=10,
            seconds=3.0,
        ),
    ),
    serving="generator-v1",
    seconds=3.0,
    summary="1 of 1 generators promoted",
)


def test_seal_train_shows_each_round(memory: FakeMemory, tmp_path: Path) -> None:
    """The lessons reach the memory; the line has the held-out reward before and after."""
    memory.found["train_generator"] = TRAINED

    result = run("seal", "train", str(lessons(tmp_path)), "--rounds", "2")

    ((name, (given,), options),) = memory.calls
    assert (name, len(given), given[0].questions, options) == (
        "train_generator",
        2,
        (Example("Who has it?", "Ann"),),
        {"rounds": 2},
    )
    assert "round 1: generator-v1 serves; held-out reward 0.250 to 1.000" in result.stdout


def test_seal_train_gives_the_report_to_machines(memory: FakeMemory, tmp_path: Path) -> None:
    """With --json, every number of every round."""
    memory.found["train_generator"] = TRAINED

    result = run("seal", "train", str(lessons(tmp_path)), "--json")

    assert json.loads(result.stdout)["rounds"][0]["held_out_after"] == 1.0


def test_seal_train_says_what_an_interruption_leaves(memory: FakeMemory, tmp_path: Path) -> None:
    """Exit code 130, and how to go on."""
    memory.found["train_generator"] = KeyboardInterrupt()

    result = run("seal", "train", str(lessons(tmp_path)))

    assert result.exit_code == 130
    assert "the same command goes on" in result.stderr


def test_consolidate_says_what_an_interruption_leaves(memory: FakeMemory) -> None:
    """Exit code 130; the memory is closed, the queue kept."""
    memory.found["consolidate"] = KeyboardInterrupt()

    result = run("consolidate")

    assert (result.exit_code, result.stdout) == (130, "")
    assert "Nothing is half-done" in result.stderr
    assert "the queue is kept" in result.stderr
    assert memory.closed


def waiting(count: int) -> dict[str, Any]:
    """What the doctor says when so many records wait."""
    return {"healthy": True, "problems": [], "learning": {"none": 9, "queued": count}}


@pytest.mark.parametrize(("count", "opened"), [(4, False), (5, True)])
def test_due_opens_a_window_when_the_queue_is_full(memory: FakeMemory, folder: Path, count: int, opened: bool) -> None:
    """window.queue_size is the least number that waits."""
    (folder / "memory.toml").write_text("[window]\nqueue_size = 5\n", encoding="utf-8")
    memory.found |= {"doctor": waiting(count), "consolidate": REPORT}

    result = run("consolidate", "--due", "--json")

    assert (result.exit_code, data(result)["opened"]) == (0, opened)


@pytest.mark.parametrize(
    ("last", "opened"),
    [("2024-06-01T00:00:00+00:00", True), (datetime.now(UTC).isoformat(), False)],
    ids=["long ago", "just now"],
)
def test_due_opens_a_window_when_its_time_has_come_since_the_last(
    memory: FakeMemory, folder: Path, last: str, opened: bool
) -> None:
    """The first of January comes once a year."""
    (folder / "memory.toml").write_text('[window]\ncron = "0 0 1 1 *"\n', encoding="utf-8")
    (folder / learning.CLOCK).write_text(last + "\n", encoding="utf-8")
    memory.found |= {"doctor": waiting(1), "consolidate": REPORT}

    # On a new year's midnight itself the second case would be due; the clock's file is written just before.
    assert data(run("consolidate", "--due", "--json"))["opened"] is opened


def test_the_first_call_with_due_starts_the_clock(memory: FakeMemory, folder: Path) -> None:
    """A new memory does not train at noon because its nightly window has never been."""
    (folder / "memory.toml").write_text('[window]\ncron = "0 0 1 1 *"\n', encoding="utf-8")
    memory.found |= {"doctor": waiting(1), "consolidate": REPORT}

    result = run("consolidate", "--due")

    assert result.stdout.startswith("not due: 1 records wait, next window at ")
    assert (folder / learning.CLOCK).exists()


def test_the_next_window_lies_after_the_last() -> None:
    """A window that opened at its very minute is not due again in that minute."""
    midnight = datetime(2026, 1, 1).astimezone()  # crontab lines are in local time

    assert next_time("0 0 1 1 *", midnight) == datetime(2027, 1, 1).astimezone()


def test_due_with_a_line_that_is_no_crontab_is_refused(memory: FakeMemory, folder: Path) -> None:
    """A wrong setting is exit code 2 here as everywhere."""
    (folder / "memory.toml").write_text('[window]\ncron = "nightly"\n', encoding="utf-8")
    memory.found["doctor"] = waiting(1)

    result = run("consolidate", "--due")

    assert result.exit_code == 2
    assert "'nightly' has 1 fields" in result.stderr


def test_due_without_a_window_says_which_settings_to_make(memory: FakeMemory, folder: Path) -> None:
    """Exit code 0: a system's cron is not alarmed."""
    result = run("consolidate", "--due")

    assert result.exit_code == 0
    assert "set window.cron or window.queue_size" in result.stdout


def test_adapters_without_any_says_so(memory: FakeMemory) -> None:
    """No empty table."""
    memory.found["list"] = []

    assert run("adapters", "list").stdout == "no adapter yet\n"


def test_disabling_a_shard_says_what_answers_now(memory: FakeMemory) -> None:
    """The shard's name goes through as it is."""
    memory.found["disable"] = None

    assert run("adapters", "disable", "facts-1").stdout == "facts-1 is off; its records are answered from retrieval\n"
    assert memory.calls == [("disable", ("facts-1",), {})]


# ---------------------------------------------------------------- looking, models, progress


def test_reindex_opens_a_memory_whose_encoder_has_changed(memory: FakeMemory, folder: Path) -> None:
    """Every other command refuses such a memory; this one mends it."""
    memory.found["reindex"] = 12

    assert run("reindex").stdout == "12 passages embedded again\n"
    assert memory.opened == (folder, True)


def test_the_demo_plays_in_the_folder_and_prints_its_report(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The play itself takes minutes and real models, so another is put in its place."""
    played: list[tuple[Path, bool]] = []

    def play(folder: Path, *, progress: object, quick: bool) -> DemoReport:
        played.append((folder, quick))
        return DemoReport(
            company="Pellworth",
            table={row: dict.fromkeys(COLUMNS, 0.5) for row in ROWS},
            counts={"facts": 1},
            windows=["2 records learned"],
            lineage=[],
            receipt={"retrieval": {}, "weights": {"state": "clean"}},
            leaked=0,
            evidence_stale=0,
            folder=str(folder),
        )

    monkeypatch.setattr("hybrid_memory.demo.run", play)

    assert "Pellworth: three windows" in run("demo", "here", "--quick").stdout
    assert data(run("demo", "--json"))["windows"] == ["2 records learned"]
    assert played == [(Path("here"), True), (Path("hybrid-memory-demo"), False)]


def test_list_shows_records_with_their_state(memory: FakeMemory) -> None:
    """Ids to copy, with status, route and learning state."""
    memory.found["list"] = [record("r1", "Ann likes tea.")]

    shown = run("list", "--all", "--limit", "3").stdout

    assert all(word in shown for word in ("r1", "active", "learn", "none", "Ann likes tea."))
    assert memory.calls == [("list", (), {"all_statuses": True, "limit": 3})]


def test_history_is_oldest_first(memory: FakeMemory) -> None:
    """As the ledger gives it."""
    memory.found["history"] = [
        Event(id=1, at=NOON, record_id="r1", name="ingested", detail={}),
        Event(id=2, at=NOON, record_id="r1", name="superseded", detail={"by": "r2"}),
    ]

    shown = run("history", "r1").stdout

    assert shown.index("ingested") < shown.index("superseded")


def test_an_unhealthy_memory_is_exit_code_1(memory: FakeMemory) -> None:
    """A monitor needs no parser."""
    memory.found["doctor"] = {"healthy": False, "problems": ["the index lacks 3 passages; run reindex"]}

    result = run("doctor")

    assert (result.exit_code, result.stdout) == (1, "- the index lacks 3 passages; run reindex\n")


def test_models_list_needs_no_memory(home: Path) -> None:
    """On a fresh machine nothing is ready, and both models are named."""
    states = data(run("models", "list", "--json"))["models"]

    assert {state["name"]: state["ready"] for state in states} == {
        "smollm2-135m-instruct": False,
        "all-minilm-l6-v2": False,
    }


def test_a_misspelt_model_is_refused_before_anything_is_fetched(home: Path) -> None:
    """With the nearest name."""
    result = run("models", "pull", "all-minilm-l6-v2", "all-minilm-l6")

    assert result.exit_code == 1
    assert "did you mean all-minilm-l6-v2?" in result.stderr
    assert not home.exists()


def test_policies_are_listed_and_shown_without_a_memory() -> None:
    """Also with what they inherit."""
    names = [policy["name"] for policy in data(run("policy", "list", "--json"))["policies"]]

    assert "default" in names
    assert data(run("policy", "show", "default", "--json"))["thresholds"]["durable"] == 0.6


def test_restoring_what_is_no_export_is_refused(tmp_path: Path) -> None:
    """The message says what is wrong with the file."""
    (tmp_path / "x.tar.gz").write_bytes(b"no archive")

    result = run("restore", str(tmp_path / "x.tar.gz"), str(tmp_path / "new"))

    assert result.exit_code == 2
    assert "damaged or no export" in result.stderr


def test_a_log_gets_a_line_when_a_long_stage_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten units in 4 seconds: 2.5 a second; a stage below 2 seconds leaves no line."""
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    written = io.StringIO()

    with progress.on_console(Console(file=written), "working") as told:
        told("write", 0, 10)
        now[0] = 104.0
        told("write", 10, 10, "compiled")
        told("gate", 0, 1)
        told("gate", 1, 1)

    assert written.getvalue() == "writing study material 10/10 2.5/s compiled\n"


def test_a_terminal_gets_bars_that_vanish() -> None:
    """Stage, amount and note while it runs; the screen's last line is free again afterwards."""
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, width=120)

    with progress.Bars(console, "consolidating") as told:
        told("train", 30, 70, "900 tokens/s, loss 1.20")
        told("train", 1, 70, "next shard")
        told("download", 1_500_000, 3_000_000)

    shown = written.getvalue()
    assert "training" in shown
    assert "1/70" in shown
    assert "1.5 MB/3.0 MB" in shown
    assert shown.endswith("\x1b[1A\x1b[2K")
