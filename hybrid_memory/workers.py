"""Tell which learning windows are alive, so that a killed one keeps nobody waiting.

Flow:    consolidation enters here when it opens a window.
Imports: errors.

Each window holds a lock file with its worker's name; the system lets go of it when the process dies.
A lease whose worker is dead is given back at once instead of after `window.lease_s`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

__all__ = ["Workers"]

SUFFIX = ".worker"


class Workers:
    """The windows that are open on one memory, over all processes of this machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def enter(self, free: Callable[[str], None]) -> Iterator[str]:
        """Give a worker's name for one window; before that, call `free` with the name of every dead worker."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for file in sorted(self._folder.glob(f"*{SUFFIX}")):
            lock = FileLock(file)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            free(file.stem)
            lock.release()
            file.unlink(missing_ok=True)
        name = f"{os.getpid()}-{time.monotonic_ns()}"
        own = self._folder / f"{name}{SUFFIX}"
        with FileLock(own):
            yield name
        own.unlink(missing_ok=True)
