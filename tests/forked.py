"""Processes of their own, to be interrupted or filled up.

They are forked from one process that has loaded torch and the stages, which would take each of them seconds.
"""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

PATIENCE_S = 120
_CONTEXT = multiprocessing.get_context("spawn" if sys.platform == "win32" else "forkserver")
multiprocessing.set_forkserver_preload(
    [
        "hybrid_memory.ledger.ledger",
        "hybrid_memory.retrieval.retriever",
        "hybrid_memory.weights.trainer",
        "transformers.models.llama.modeling_llama",
    ]
)


def forked(work: Callable[..., None], *arguments: Any) -> tuple[BaseProcess, Connection]:
    """Start `work(tell, *arguments)`; return its process, and the connection on which `tell.send(…)` arrives.

    At its end nothing is closed or flushed: it is as if it had crashed.
    """
    told, tell = _CONTEXT.Pipe(duplex=False)
    process = _CONTEXT.Process(target=work, args=(tell, *arguments), daemon=True)
    process.start()
    tell.close()
    return process, told


def all_told(work: Callable[..., None], *arguments: Any) -> list[Any]:
    """Return all that `work(tell, *arguments)` tells until its end."""
    process, told = forked(work, *arguments)
    heard = []
    with suppress(EOFError):
        while told.poll(PATIENCE_S):
            heard.append(told.recv())
    process.join(PATIENCE_S)
    return heard
