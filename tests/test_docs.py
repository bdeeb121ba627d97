"""The documentation says what the code does: names, settings, commands, policies, calls and links are compared."""

from __future__ import annotations

import ast
import inspect
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import typer

import hybrid_memory
from hybrid_memory import HybridMemory, Settings
from hybrid_memory.adapters import Adapters
from hybrid_memory.cli.app import app
from hybrid_memory.errors import HybridMemoryError
from hybrid_memory.routing.policy import list_policies

ROOT = Path(__file__).parents[1]
HOW_TO = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")),
    *(ROOT / folder / "README.md" for folder in ("benchmarks", "examples", "policies")),
    ROOT / "benchmarks" / "LOG.md",
    *HOW_TO,
]
TEXTS = {page: page.read_text(encoding="utf-8") for page in PAGES}
MANUAL = "\n".join(TEXTS[page] for page in [ROOT / "README.md", *HOW_TO])
"""What a user reads: the README and docs/."""


def blocks(language: str) -> list[Any]:
    """Every fenced block of one language, with the page and line it begins at as its test id."""
    found = []
    for page, text in TEXTS.items():
        for match in re.finditer(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            line = text.count("\n", 0, match.start()) + 1
            found.append(pytest.param(match[1], id=f"{page.relative_to(ROOT).as_posix()}:{line}"))
    return found


def commands(group: Any, path: tuple[str, ...] = ("hybrid-memory",)) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command of the command line that does something, with its full name."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


COMMANDS = dict(commands(typer.main.get_command(app)))


# ---------------------------------------------------------------- nothing is left out


def test_every_public_name_is_documented() -> None:
    """A name nobody reads about is a name nobody uses."""
    assert [name for name in hybrid_memory.__all__ if not re.search(rf"\b{name}\b", MANUAL)] == []


def test_every_method_of_a_memory_is_documented() -> None:
    """Each is shown in a call, or named as code."""
    named = [name for name in dir(HybridMemory) if not name.startswith("_")]

    assert [name for name in named if not re.search(rf"\.{name}\(|`{name}`", MANUAL)] == []


def test_every_error_is_in_the_table_with_its_built_in() -> None:
    """What a caller may catch is written down as it is."""
    rows = [
        f"| `{name}` | {next(one for one in error.__mro__ if one.__module__ == 'builtins').__name__} |"
        for name in hybrid_memory.__all__
        if isinstance(error := getattr(hybrid_memory, name), type)
        and issubclass(error, HybridMemoryError)
        and error is not HybridMemoryError
    ]

    assert [row for row in rows if row not in MANUAL] == []


def test_every_setting_is_documented() -> None:
    """As group.name, so that it can be found by searching for what stands in memory.toml."""
    defaults = Settings()
    names = [
        f"{group}.{name}" for group in Settings.model_fields for name in type(getattr(defaults, group)).model_fields
    ]

    assert [name for name in names if f"`{name}`" not in MANUAL] == []


def test_the_table_of_settings_is_that_of_the_code() -> None:
    """Defaults, limits and meanings are generated; `python scripts/write_settings_table.py` brings them up to date."""
    script = ROOT / "scripts" / "write_settings_table.py"
    run = subprocess.run([sys.executable, str(script), "--check"], capture_output=True, text=True, check=False)

    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("name", [" ".join(path) for path in COMMANDS])
def test_every_command_is_documented(name: str) -> None:
    """The table of commands is complete."""
    assert f"| `{name}` |" in MANUAL


@pytest.mark.parametrize("policy", list_policies())
def test_every_shipped_policy_is_documented(policy: str) -> None:
    """In the how-to, and in the README beside the files."""
    assert f"| `{policy}` |" in MANUAL
    assert f"| `{policy}` |" in TEXTS[ROOT / "policies" / "README.md"]


def test_every_benchmark_is_on_the_page_of_benchmarks() -> None:
    """Whoever runs `make bench` knows what each of them asks."""
    runnable = [
        file.name
        for file in sorted((ROOT / "benchmarks").glob("*.py"))
        if '__name__ == "__main__"' in file.read_text(encoding="utf-8")
    ]

    assert [name for name in runnable if f"`{name}`" not in TEXTS[ROOT / "benchmarks" / "README.md"]] == []


def test_the_readme_lists_every_file_and_folder_of_the_package() -> None:
    """The list has no gap a newcomer would fall into, and names nothing that has gone."""
    package = ROOT / "hybrid_memory"
    there = {path.name for path in package.glob("*.py") if path.name != "__init__.py"}
    there |= {f"{path.name}/" for path in package.iterdir() if path.is_dir() and not path.name.startswith("_")}

    assert set(re.findall(r"^\| `hybrid_memory/([^`]+)` \|", TEXTS[ROOT / "README.md"], re.MULTILINE)) == there


# ---------------------------------------------------------------- what is shown works


@pytest.mark.parametrize("block", blocks("python"))
def test_a_python_block_is_valid_and_uses_what_there_is(block: str) -> None:
    """It compiles, imports names that exist, and calls the memory with arguments it takes."""
    tree = ast.parse(block)

    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "hybrid_memory":
            assert {alias.name for alias in node.names} <= set(hybrid_memory.__all__)
        if isinstance(node, ast.Call) and (accepted := called(node.func)) is not None:
            accepted.bind(*node.args, **{str(given.arg): given.value for given in node.keywords})


def called(function: ast.expr) -> inspect.Signature | None:
    """What a call like `memory.adapters.promote(...)` accepts; None for calls of anything else."""
    owners: dict[str, Any] = {"memory": HybridMemory, "memory.adapters": Adapters, "HybridMemory": HybridMemory}
    if not isinstance(function, ast.Attribute) or ast.unparse(function.value) not in owners:
        return None
    owner = owners[ast.unparse(function.value)]
    method = getattr(owner, function.attr)
    if function.attr == "query":  # passes its options on
        question, *options = parameters(HybridMemory.query_many)
        return inspect.Signature([question, parameters(HybridMemory.query)[1], *options])
    return inspect.Signature(parameters(method))


def parameters(method: Callable[..., Any]) -> list[inspect.Parameter]:
    """The parameters of a method as its caller sees them: without self."""
    return [one for one in inspect.signature(method).parameters.values() if one.name != "self"]


@pytest.mark.parametrize("block", blocks("toml"))
def test_a_toml_block_is_valid_and_its_settings_exist(block: str) -> None:
    """A block that begins with "# memory.toml" holds settings that the code accepts."""
    content = tomllib.loads(block)

    if block.startswith("# memory.toml"):
        groups = {name: dict(table) for name, table in content.items()}
        groups.pop("routing", None)  # names a policy of the reader's own
        Settings.load(groups)


def typed() -> list[Any]:
    """Every line of a bash block that calls hybrid-memory."""
    lines = [
        pytest.param(line, id=f"{block.id} {line[:40]}")
        for block in blocks("bash")
        for line in str(block.values[0]).splitlines()
        if "hybrid-memory " in line.partition("#")[0]
    ]
    assert lines
    return lines


@pytest.mark.parametrize("line", typed())
def test_a_command_that_is_shown_is_accepted(line: str) -> None:
    """Command and options are known; nothing is run."""
    words = shlex.split(line, comments=True)
    words = words[words.index("hybrid-memory") + 1 :]
    if words[0] in ("-m", "--memory"):
        words = words[2:]
    path = next(path for size, path in product((2, 1), COMMANDS) if path[1:] == tuple(words[:size]))
    command = COMMANDS[path]

    command.make_context(path[-1], words[len(path) - 1 :])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_link_leads_somewhere(page: Path) -> None:
    """Links inside the repository name a file that is there, and a heading that it has."""
    broken = []
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", TEXTS[page]):
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)

    assert broken == []


def anchors(page: Path) -> set[str]:
    """The names by which a page's headings can be linked, as common Markdown renderers make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.casefold()).strip().replace(" ", "-") for heading in headings}


def test_the_readme_has_its_place_for_measured_results() -> None:
    """Figures are written between these marks from a file of results, never by hand."""
    assert re.search(r"<!-- results:main_job -->\n.+\n<!-- /results -->", TEXTS[ROOT / "README.md"], re.DOTALL)


def test_no_module_refers_to_a_document_that_readers_do_not_have() -> None:
    """The design that the first version was made from is not in this repository; a reason is said where it counts."""
    elsewhere = re.compile(r"\(design, |promise \d|peers\.md|design\.md")
    sources = (ROOT / "hybrid_memory").rglob("*.py")

    citing = [path.name for path in sources if elsewhere.search(path.read_text(encoding="utf-8"))]

    assert not citing, f"say the reason itself in {citing}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_no_page_holds_a_path_of_somebodys_machine(page: Path) -> None:
    """What is written works on the reader's machine too."""
    assert re.findall(r"/(?:home|Users|root|work|tmp)/\w+", TEXTS[page]) == []
