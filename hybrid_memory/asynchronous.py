"""The same memory for asyncio: one thin layer that runs each call in a thread.

Flow:    event loop -> [thread] -> memory
Imports: types, the memory. No logic of its own, so that nothing is written twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from hybrid_memory.arguments import known_options
from hybrid_memory.memory import HybridMemory
from hybrid_memory.protocols import TextModel
from hybrid_memory.types import Answer, IngestSummary

__all__ = ["AsyncHybridMemory"]

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def _in_a_thread(
    method: Callable[Concatenate[HybridMemory, Arguments], Result],
) -> Callable[Concatenate[AsyncHybridMemory, Arguments], Coroutine[Any, Any, Result]]:
    async def call(self: AsyncHybridMemory, /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        return await asyncio.to_thread(method, self.memory, *args, **kwargs)

    call.__doc__ = method.__doc__
    call.__name__ = method.__name__
    return call


class AsyncHybridMemory:
    """HybridMemory with awaitable methods of the same names, arguments and errors.

    `async with await AsyncHybridMemory.open("./acme") as memory:` opens and closes it; `memory.memory` is the
    synchronous one. Searches go on while a window trains; the language model serves one call at a time.
    """

    def __init__(self, memory: HybridMemory) -> None:
        """Wrap an open memory."""
        self.memory = memory

    @classmethod
    async def open(
        cls,
        folder: Path | str,
        *,
        vector_store: object | None = None,
        teacher: object | None = None,
        judge: TextModel | None = None,
        proposer: TextModel | None = None,
        extractor: object | None = None,
        for_reindex: bool = False,
        **groups: Mapping[str, Any],
    ) -> AsyncHybridMemory:
        """Open the memory in a folder; see HybridMemory.open."""
        options: dict[str, Any] = {
            "vector_store": vector_store,
            "teacher": teacher,
            "judge": judge,
            "proposer": proposer,
            "extractor": extractor,
            "for_reindex": for_reindex,
            **groups,
        }
        return cls(await asyncio.to_thread(HybridMemory.open, folder, **options))

    ingest = add = _in_a_thread(HybridMemory.ingest)
    route = _in_a_thread(HybridMemory.route)
    search = _in_a_thread(HybridMemory.search)
    query_many = _in_a_thread(HybridMemory.query_many)
    context = _in_a_thread(HybridMemory.context)
    explain = _in_a_thread(HybridMemory.explain)
    feedback = _in_a_thread(HybridMemory.feedback)
    consolidate = _in_a_thread(HybridMemory.consolidate)
    train_generator = _in_a_thread(HybridMemory.train_generator)
    forget = delete = _in_a_thread(HybridMemory.forget)
    check_receipt = _in_a_thread(HybridMemory.check_receipt)
    forget_audit = _in_a_thread(HybridMemory.forget_audit)
    benchmark = _in_a_thread(HybridMemory.benchmark)
    get = _in_a_thread(HybridMemory.get)
    update = _in_a_thread(HybridMemory.update)
    history = _in_a_thread(HybridMemory.history)
    purge = _in_a_thread(HybridMemory.purge)
    list = _in_a_thread(HybridMemory.list)
    where = _in_a_thread(HybridMemory.where)
    trace = _in_a_thread(HybridMemory.trace)
    doctor = _in_a_thread(HybridMemory.doctor)
    export = _in_a_thread(HybridMemory.export)
    close = _in_a_thread(HybridMemory.close)

    async def ingest_many(self, inputs: Iterable[object], **options: Any) -> IngestSummary:
        """Ingest many inputs; see HybridMemory.ingest_many."""
        return await asyncio.to_thread(self.memory.ingest_many, inputs, **options)

    async def import_from(self, source: object, form: str, **options: Any) -> IngestSummary:
        """Take over another memory's export; see HybridMemory.import_from."""
        return await asyncio.to_thread(self.memory.import_from, source, form, **options)

    async def query(self, question: str, **options: Any) -> Answer:
        """Answer one question; see HybridMemory.query_many for the options.

        Raises:
            InputError: an option has another name; a stream is read from `memory.query` in a thread of yours.
        """
        known_options(HybridMemory.query_many, options, named="query")
        return (await self.query_many([question], **options))[0]

    async def __aenter__(self) -> AsyncHybridMemory:
        """Return itself."""
        return self

    async def __aexit__(self, *error: object) -> None:
        """Close."""
        await self.close()
