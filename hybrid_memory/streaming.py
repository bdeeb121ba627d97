"""An answer that can be read while it is written.

Flow:    query(stream=True) -> [stream] -> the caller's loop
Imports: types.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator

from hybrid_memory.types import Answer

__all__ = ["AnswerStream"]


class AnswerStream:
    """Iterate for pieces of text; `answer` is the whole, once the last piece has come.

    The model writes in a thread of its own. Leaving the loop early does not stop it; reading `answer` waits.
    """

    def __init__(self, work: Callable[[Callable[[str], None]], Answer]) -> None:
        """`work` is given a function to call with each piece of text and returns the answer."""
        self._pieces: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._answer: Answer | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()

    def _run(self, work: Callable[[Callable[[str], None]], Answer]) -> None:
        try:
            self._answer = work(self._pieces.put)
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            self._error = error
        finally:
            self._pieces.put(None)

    def __iter__(self) -> Iterator[str]:
        """Yield pieces of text as they are written, each once; raises what the writing raised."""
        while (piece := self._pieces.get()) is not None:
            yield piece
        self._pieces.put(None)  # for the next loop, which would wait for ever
        if self._error is not None:
            raise self._error

    @property
    def answer(self) -> Answer:
        """The whole answer; waits for the last piece."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        if self._answer is None:
            raise RuntimeError("the answer was not written; this is a bug in hybrid_memory")
        return self._answer
