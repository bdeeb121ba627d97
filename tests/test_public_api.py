"""What `import hybrid_memory` offers, and what it costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import hybrid_memory

HEAVY = ("torch", "faiss", "transformers", "sentence_transformers", "peft", "llama_index", "sqlalchemy", "sklearn")
PACKAGE = Path(hybrid_memory.__file__).parent
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")


def test_every_promised_name_is_there() -> None:
    """`__all__` names nothing that cannot be imported."""
    missing = [name for name in hybrid_memory.__all__ if not hasattr(hybrid_memory, name)]

    assert not missing


def test_every_public_name_is_promised() -> None:
    """What can be seen in the package is in `__all__`, in order; modules and underscores are not public names."""
    machinery = {"annotations", "TYPE_CHECKING"}
    seen = {
        name
        for name, value in vars(hybrid_memory).items()
        if not name.startswith("_") and not isinstance(value, ModuleType) and name not in machinery
    }

    assert seen <= set(hybrid_memory.__all__)
    assert list(hybrid_memory.__all__) == sorted(hybrid_memory.__all__)


def test_importing_the_package_loads_nothing_heavy() -> None:
    """A command line that only prints help, or a service that only talks to a server, must not wait for torch."""
    script = f"import sys, hybrid_memory; print([name for name in {HEAVY!r} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_every_module_begins_with_its_place_in_the_flow(module: Path) -> None:
    """The first thing to read in a file says what it is for."""
    assert ast.get_docstring(ast.parse(module.read_text(encoding="utf-8")))
