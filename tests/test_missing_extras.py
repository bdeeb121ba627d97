"""Without its extra, an integration says which one it lacks; the rest of the package does not mind."""

from __future__ import annotations

import subprocess
import sys

import pytest

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
