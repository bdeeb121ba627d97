"""Imports go one way, stages never meet, and heavy packages stay behind their fences."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import hybrid_memory

PACKAGE = Path(hybrid_memory.__file__).parent
STAGES = {"ledger", "ingest", "routing", "retrieval", "selfedit", "weights", "answering"}
LAYERS: list[set[str]] = [
    {"errors", "types", "durable"},
    {
        "config",
        "protocols",
        "catalogue",
        "evidence",
        "forms",
        "grids",
        "grading",
        "ordinary",
        "policies",
        "retention",
        "statements",
        "textmodels",
        "wording",
    },
    {"download", "promotion", "questions"},
    {"models"},
    STAGES,
    {"audit", "benchmark", "receipts", "upkeep", "workers"},
    {"trials"},
    {"rebuilding"},
    {
        "consolidation",
        "adapters",
        "answer_log",
        "archive",
        "inspection",
        "scoping",
        "schedule",
        "streaming",
    },
    {"arguments", "rehearsal", "rerouting"},
    {"restating"},
    {"intake"},
    {"forgetting", "verdicts"},
    {"asking", "review"},
    {"parts"},
    {"memory"},
    {"asynchronous"},
    {"distributed"},
    {"build"},
    {"__init__"},
    {"integrations", "serving", "testing", "progress"},
    {"demo"},
    {"cli", "__main__"},
]
DEPTH = {place: depth for depth, layer in enumerate(LAYERS) for place in layer}
UPWARD = {
    ("models", "weights"): "pull converts a GGUF once, and only then loads torch",
    ("memory", "build"): "HybridMemory.open calls the composition root, inside the method",
}
FENCES: dict[str, set[str]] = {
    "faiss": {"retrieval"},
    "sentence_transformers": {"retrieval"},
    "torch": {"weights", "testing", "distributed"},
    "transformers": {"weights", "testing", "distributed"},
    "peft": {"weights", "distributed"},
    "gguf": {"weights"},
    "llama_index": {"ingest", "retrieval", "integrations"},
    "langchain_core": {"integrations"},
    "langgraph": {"integrations"},
    "sqlalchemy": {"ledger"},
    "alembic": {"ledger"},
    "apscheduler": {"schedule"},
    "ray": {"distributed"},
    "vllm": {"distributed"},
    "fastapi": {"serving"},
    "starlette": {"serving"},
    "uvicorn": {"serving", "cli"},
    "typer": {"cli"},
    "rich": {"cli", "demo", "progress"},
    "sklearn": set(),
    "requests": set(),
}
MODULES = [*sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py"), PACKAGE / "__init__.py"]


def place_of(module: Path) -> str:
    """The name by which LAYERS knows a module: its own, or that of its folder."""
    return module.relative_to(PACKAGE).with_suffix("").parts[0]


def imported(source: str, inside: str) -> set[str]:
    """Every module a source imports, absolute and dotted; `inside` is the package it lies in."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(inside.split(".")[: len(inside.split(".")) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            found |= {f"{module}.{alias.name}" for alias in node.names}
    return found


def places_imported(module: Path) -> set[str]:
    """The places of this package that a module imports; a public name of the package counts as "__init__"."""
    own = {name.split(".")[1] for name in _imports(module) if name.startswith("hybrid_memory.")}
    return {place if _exists(place) else "__init__" for place in own}


def _imports(module: Path) -> set[str]:
    inside = ".".join(("hybrid_memory", *module.relative_to(PACKAGE).parts[:-1]))
    return imported(module.read_text(encoding="utf-8"), inside)


def _exists(place: str) -> bool:
    return place in DEPTH or (PACKAGE / place).is_dir() or (PACKAGE / f"{place}.py").is_file()


def _name(module: Path) -> str:
    return module.relative_to(PACKAGE).as_posix()


@pytest.mark.parametrize("module", MODULES, ids=_name)
def test_every_module_has_a_layer(module: Path) -> None:
    """A new place in the package is put into the layer list on purpose."""
    assert place_of(module) in DEPTH, (
        f"{_name(module)} is in no layer; add {place_of(module)!r} to LAYERS in this file, as low as possible"
    )


@pytest.mark.parametrize("module", MODULES, ids=_name)
def test_imports_point_down(module: Path) -> None:
    """A module imports from lower layers and from its own folder only; stages are one layer, so they never meet."""
    place = place_of(module)
    upward = {
        other
        for other in places_imported(module)
        if other != place and DEPTH.get(other, 0) >= DEPTH.get(place, len(LAYERS)) and (place, other) not in UPWARD
    }

    assert not upward, f"{_name(module)} may not import {sorted(upward)}: see LAYERS in {Path(__file__).name}"


@pytest.mark.parametrize("module", MODULES, ids=_name)
def test_third_party_packages_stay_behind_their_fences(module: Path) -> None:
    """Only the named places import the heavy packages, so that the others stay light and replaceable."""
    roots = {name.split(".")[0] for name in _imports(module)}
    outside = {root for root in roots & FENCES.keys() if place_of(module) not in FENCES[root]}

    assert not outside, f"{_name(module)} may not import {sorted(outside)}: see FENCES in {Path(__file__).name}"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import hybrid_memory.ledger.tables", "hybrid_memory.ledger.tables"),
        ("from hybrid_memory import ledger", "hybrid_memory.ledger"),
        ("from hybrid_memory.ledger import tables", "hybrid_memory.ledger.tables"),
        ("from . import fusion", "hybrid_memory.retrieval.fusion"),
        ("from .fusion import fuse", "hybrid_memory.retrieval.fusion.fuse"),
        ("from .. import ledger", "hybrid_memory.ledger"),
        ("from ..ledger import tables", "hybrid_memory.ledger.tables"),
        ("def f():\n    import faiss", "faiss"),
    ],
)
def test_every_form_of_import_is_seen(source: str, expected: str) -> None:
    """Absolute, relative and late imports all count."""
    assert imported(source, "hybrid_memory.retrieval") == {expected}
