"""The `hybrid-memory` command: a thin layer over HybridMemory."""

from hybrid_memory.cli.app import main

__all__ = ["main"]  # the one re-export: pyproject's entry point names it
