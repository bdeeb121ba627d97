"""Ask somebody else's language model: in whatever form it is asked, and for no longer than it may take.

Flow:    teacher, extractor and judge ask with it; what comes back is text, or the reason why there is none.
Imports: errors, types.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from hybrid_memory.errors import ConfigError
from hybrid_memory.types import Turn

__all__ = ["asking", "require_complete", "within"]


def asking(model: Any, *, what: str) -> Callable[[str], str]:
    """Return how a model is asked: prompt in, text out.

    Args:
        model: any LlamaIndex LLM, or another object with `complete(prompt)` or `chat(messages)`.
        what: how an error message calls it, such as "a teacher".

    Raises:
        ConfigError: the model has neither method.
    """
    if callable(getattr(model, "complete", None)):
        return lambda prompt: _text(model.complete(prompt))
    if callable(getattr(model, "chat", None)):
        return lambda prompt: _text(model.chat([Turn("user", prompt)]))
    raise ConfigError(
        f"{what} must have complete(prompt) or chat(messages), {type(model).__name__} has neither; "
        "give a LlamaIndex LLM"
    )


def require_complete(model: object, *, what: str) -> None:
    """Raise ConfigError for a model without `complete(prompt)`; None passes."""
    if model is not None and not callable(getattr(model, "complete", None)):
        raise ConfigError(f"{what} must have complete(prompt), {type(model).__name__} has not; give a LlamaIndex LLM")


def _text(answer: Any) -> str:
    """Return the text of a completion (`.text`), of a chat's answer (`.message.content`), or of a plain string."""
    for found in (answer, getattr(answer, "text", None), getattr(getattr(answer, "message", None), "content", None)):
        if isinstance(found, str):
            return found
    raise TypeError(f"an answer of type {type(answer).__name__} has no text")


def within(timeout_s: float, ask: Callable[[], str]) -> tuple[str, str]:
    """Return (answer, "") or ("", why there is none); an answer that is late is left to come by itself.

    The model is somebody else's code behind a network: whatever it raises is its failure and not the caller's.
    """
    answer: Future[str] = Future()

    def run() -> None:
        try:
            answer.set_result(ask())
        except BaseException as error:  # noqa: BLE001 - told by the thread that waits
            answer.set_exception(error)

    # a daemon, and no pool: the interpreter waits at its exit for the threads of a pool, however long they hang
    threading.Thread(target=run, name="text model", daemon=True).start()
    try:
        error = answer.exception(timeout_s)
    except TimeoutError:
        return "", f"no answer within {timeout_s:g} s"
    if error is not None:
        return "", f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
    return answer.result(), ""
