"""Chat completions as OpenAI's clients speak them: change the base URL, and answers come from the memory.

Flow:    app -> [completions] -> HybridMemory.query -> chat.completion | chat.completion.chunk events
Imports: errors, types, memory, and the modules beside it.

The latest user message is the question; evidence and adapters are the memory's. Shapes follow OpenAI's
API reference, "Create chat completion"; what is ours lies under the key `hybrid_memory`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fastapi.responses import StreamingResponse

from hybrid_memory.errors import InputError
from hybrid_memory.memory import HybridMemory
from hybrid_memory.serving.bodies import Chat
from hybrid_memory.serving.events import DONE, event, started
from hybrid_memory.serving.rest import Route
from hybrid_memory.types import Answer, named

__all__ = ["Completions"]

MODEL = "hybrid-memory"
REFUSED = ("tools", "functions", "response_format", "audio", "logprobs")
"""A client that asks for one of these cannot use the answer without it."""
IN_METADATA = ("tenant_id", "agent_id", "run_id", "mode")


class Completions:
    """The handlers of one memory."""

    def __init__(self, memory: HybridMemory, *, remember: bool) -> None:
        self._memory = memory
        self._remember = remember

    def routes(self) -> list[Route]:
        """Return every path there is."""
        return [("GET", "/v1/models", self.models), ("POST", "/v1/chat/completions", self.complete)]

    def models(self) -> Any:
        """List the one model there is."""
        return {"object": "list", "data": [{"id": MODEL, "object": "model", "created": 0, "owned_by": "you"}]}

    def complete(self, body: Chat) -> Any:
        """Answer the latest user message, at once or as a stream of chunks."""
        question, options = _question(body.messages), _options(body)
        if not body.stream:
            answer = self._memory.query(question, **options)
            self._keep(question, options)
            return _completion(answer, body)
        stream = self._memory.query(question, stream=True, **options)
        pieces = started(stream)

        def events() -> Iterator[str]:
            chunk = {"object": "chat.completion.chunk", "created": int(time.time()), "model": body.model}
            choice: dict[str, Any] = {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}
            yield event({**chunk, "id": "chatcmpl", "choices": [choice]})
            for piece in pieces:
                yield event({**chunk, "id": "chatcmpl", "choices": [{**choice, "delta": {"content": piece}}]})
            self._keep(question, options)
            last = {**choice, "delta": {}, "finish_reason": _reason(stream.answer, options)}
            yield event({**chunk, "id": "chatcmpl", "choices": [last], "hybrid_memory": _ours(stream.answer, body)})
            yield DONE

        return StreamingResponse(events(), media_type="text/event-stream")

    def _keep(self, question: str, options: Mapping[str, Any]) -> None:
        if not self._remember:
            return
        scope = {name: value for name, value in options.items() if name.endswith("_id")}
        self._memory.ingest([{"role": "user", "content": question}], **scope)


def _question(messages: Sequence[Mapping[str, Any]]) -> str:
    said = [message.get("content") for message in messages if message.get("role") == "user"]
    if not said:
        raise InputError("there is no user message to answer; the latest one is the question")
    content = said[-1]
    if isinstance(content, str):
        return content
    if isinstance(content, list) and all(isinstance(part, Mapping) and part.get("type") == "text" for part in content):
        return "\n".join(str(part.get("text", "")) for part in content)
    raise InputError("a message's content must be text or a list of text parts; images and audio are not read")


def _options(body: Chat) -> dict[str, Any]:
    extra = body.model_extra or {}
    refused = [name for name in REFUSED if extra.get(name)] + (["n"] if extra.get("n", 1) != 1 else [])
    if refused:
        raise InputError(f"{', '.join(refused)} cannot be served; leave it out")
    given = dict(body.metadata or {})
    unknown = sorted(set(given) - set(IN_METADATA))
    if unknown:
        raise InputError(f"metadata has {named(unknown)}; known are {', '.join(IN_METADATA)}")
    longest = body.max_completion_tokens if body.max_completion_tokens is not None else body.max_tokens
    options = {"user_id": body.user, "max_new_tokens": longest, **given}
    return {name: value for name, value in options.items() if value is not None}


def _completion(answer: Answer, body: Chat) -> dict[str, Any]:
    message = {"role": "assistant", "content": answer.text}
    total = answer.prompt_tokens + answer.completion_tokens
    return {
        "id": f"chatcmpl-{answer.id}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": body.model,
        "choices": [{"index": 0, "message": message, "finish_reason": _reason(answer, _options(body))}],
        "usage": {
            "prompt_tokens": answer.prompt_tokens,
            "completion_tokens": answer.completion_tokens,
            "total_tokens": total,
        },
        "hybrid_memory": _ours(answer, body),
    }


def _reason(answer: Answer, options: Mapping[str, Any]) -> str:
    longest = options.get("max_new_tokens")
    return "length" if longest is not None and answer.completion_tokens >= longest else "stop"


def _ours(answer: Answer, body: Chat) -> dict[str, Any]:
    return {
        "answer_id": answer.id,
        "sources": [hit.id for hit in answer.sources],
        "adapters": list(answer.adapters),
        "abstained": answer.abstained,
        "not_used": sorted(body.model_extra or {}),
    }
