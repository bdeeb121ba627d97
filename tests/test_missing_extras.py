"""Without its extra, an integration says which one it lacks; the rest of the package does not mind."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WITHOUT = """
import sys
sys.modules[{package!r}] = None  # what Python leaves where an import was forbidden
import hybrid_memory
from hybrid_memory.errors import MissingExtraError
try:
    import hybrid_memory.integrations.{module}
except MissingExtraError as error:
    print(isinstance(error, ImportError), error)
"""


@pytest.mark.parametrize(("module", "package"), [("langgraph", "langgraph"), ("langchain", "langchain_core")])
def test_a_missing_library_is_named_with_its_extra(module: str, package: str) -> None:
    """The line to type is in the message, and a plain `except ImportError` still catches it."""
    script = WITHOUT.format(module=module, package=package)

    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert run.stdout.startswith("True ")
    assert f"pip install 'hybrid-memory-sdk[{module}]'" in run.stdout


def test_what_the_server_needs_is_pinned() -> None:
    """The documented way to serve gets the version that was tried."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pinned = re.findall(r"^(\S+)==", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)

    needed = {re.split(r"[^\w.-]", one)[0] for one in project["optional-dependencies"]["server"]}

    assert needed
    assert needed <= set(pinned)
