"""The examples are played, not only shown: with a tiny model always, with the real ones among the slow tests."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import hybrid_memory
from hybrid_memory import models
from hybrid_memory.catalogue import CATALOGUE
from hybrid_memory.errors import ModelError
from hybrid_memory.testing import OPEN_GATE, open_tiny_memory

EXAMPLES = Path(__file__).parents[1] / "examples"
FILES = sorted(EXAMPLES.glob("*.py"))
IN_SECONDS: Mapping[str, Mapping[str, Any]] = {
    "training": {"epochs": 1, "min_steps": 1},
    "self_edit": {"generator": "compiled"},
    "gate": {**OPEN_GATE, "drift_prompts": 1},
    "answer": {"max_new_tokens": 2},
}
"""What makes the tiny model learn little, fast, and never be refused."""


def as_module(file: Path) -> ModuleType:
    """Import an example without running what stands behind `if __name__ == "__main__"`."""
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_an_example_uses_public_names_only(file: Path) -> None:
    """What a reader copies keeps working: it comes from `hybrid_memory.__all__` or the standard library."""
    imported = {
        (node.module, alias.name)
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    ours = {name for module, name in imported if module == "hybrid_memory"}
    doors = {str(module) for module, _ in imported if str(module).startswith("hybrid_memory.integrations.")}
    libraries = {door.rpartition(".")[2] for door in doors}
    elsewhere = {str(module).partition(".")[0] for module, _ in imported if module != "hybrid_memory"}
    elsewhere -= {"hybrid_memory"} if doors else set()
    elsewhere -= {name for name in elsewhere if any(name.startswith(library) for library in libraries)}

    assert ours <= set(hybrid_memory.__all__)
    assert elsewhere <= sys.stdlib_module_names


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_an_example_can_be_imported_without_doing_anything(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It plays when it is run, not when it is read."""
    for library in ("langgraph", "langchain"):
        if library in file.stem:
            package = "langchain_core" if library == "langchain" else library
            pytest.importorskip(package, reason=f"not installed: pip install 'hybrid-memory-sdk[{library}]'")
    as_module(file)

    assert capsys.readouterr().out == ""


def test_the_examples_page_names_every_example() -> None:
    """A file that no page names is found by nobody."""
    page = (EXAMPLES / "README.md").read_text(encoding="utf-8")

    assert [file.name for file in FILES if f"({file.name})" not in page] == []


def test_the_quickstart_plays_with_a_tiny_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every call of it works, the newest price is the current one, and the forgotten record is not found again."""
    quickstart = as_module(EXAMPLES / "quickstart.py")

    with open_tiny_memory(tmp_path, **IN_SECONDS) as memory:
        quickstart.main(memory)

    printed = capsys.readouterr().out
    assert "current price: An Island ticket costs 19 euros." in printed
    assert [mode for mode in ("hybrid", "retrieval_only", "weights_only") if f"\n{mode}\n" in printed] == [
        "hybrid",
        "retrieval_only",
        "weights_only",
    ]
    assert "'still_found': 0" in printed


@pytest.mark.parametrize(
    ("name", "package", "says"),
    [
        ("with_llama_index", "llama_index", "remembered My dog is called Bosun."),
        ("with_langgraph", "langgraph", "What is my dog called?  known before: ['My dog is called Bosun.']"),
        ("with_langchain", "langchain_core", "My dog is called Bosun."),
        ("with_mem0_verbs", "hybrid_memory", "history  UPDATE: My dog is called Bosun. -> My dog is called Skipper."),
    ],
)
def test_an_integrations_example_plays(
    name: str, package: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the tiny model, where the library is installed; nobody's dog is another user's."""
    pytest.importorskip(package, reason=f"{package} is not installed; examples/README.md names the extra")

    with open_tiny_memory(tmp_path, **IN_SECONDS) as memory:
        as_module(EXAMPLES / f"{name}.py").main(memory)

    printed = capsys.readouterr().out
    assert says in printed
    assert "My dog is called Skipper.\n[" not in printed


def test_forgetting_and_auditing_plays_with_a_tiny_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The fact is gone from both halves, and nothing of it can be extracted."""
    example = as_module(EXAMPLES / "forget_and_audit.py")

    with open_tiny_memory(tmp_path, **IN_SECONDS) as memory:
        example.main(memory)

    printed = capsys.readouterr().out
    assert "weights rebuilt, still found in retrieval: 0" in printed
    assert printed.count("extracted 0") == 2


@pytest.mark.slow
def test_the_quickstart_plays_with_the_real_models() -> None:
    """As a user runs it: the handbook is learned, the price is answered from retrieval, the adapter is deleted."""
    for name in CATALOGUE:
        try:
            models.path(name)
        except ModelError as error:
            pytest.skip(str(error))

    run = subprocess.run(
        [sys.executable, str(EXAMPLES / "quickstart.py")], capture_output=True, text=True, timeout=1500, check=False
    )

    assert run.returncode == 0, run.stderr
    assert "'learn'" in run.stdout
    assert "current price: An Island ticket costs 19 euros." in run.stdout
    assert "'still_found': 0" in run.stdout
    assert "deleted ['facts-" in run.stdout
