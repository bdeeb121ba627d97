"""Fill a store and die in the middle of a batch: run as `store_crash_worker.py NAME FOLDER URI WRITTEN`."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ledger_entries import open_ledger
from stores import backend

from hybrid_memory.retrieval.retriever import HybridRetriever


class Named:
    """As far as an encoder is asked here."""

    fingerprint = "directions"


def main(name: str, folder: Path, uri: str, written: int) -> None:
    """Open what is there, catch up, and be killed after so many nodes of the batch."""
    warnings.simplefilter("ignore")
    with backend(name, folder, lambda: uri) as kind:
        store = kind.open()
        add = type(store).add

        def dying(self: Any, nodes: Sequence[Any], **options: Any) -> None:
            add(self, list(nodes)[:written])
            os.kill(os.getpid(), signal.SIGKILL)

        type(store).add = dying
        ledger = open_ledger(folder)
        HybridRetriever(ledger, Named(), folder / "index", vector_store=store).catch_up()  # type: ignore[arg-type]


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
