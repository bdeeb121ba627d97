"""The HTTP application: which path calls what, who may call it, and errors as JSON.

Flow:    HTTP -> [app] -> rest | completions -> the public API
Imports: errors, memory, types, and the modules beside it. fastapi and starlette only in this folder.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Mapping
from importlib.metadata import version
from typing import Any

from hybrid_memory.errors import (
    ConfigError,
    FilterError,
    HybridMemoryError,
    InputError,
    LockedError,
    MissingExtraError,
    NotFoundError,
    PolicyError,
)
from hybrid_memory.memory import HybridMemory
from hybrid_memory.types import named

try:
    from fastapi import Depends, FastAPI, Request
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import JSONResponse
    from starlette.exceptions import HTTPException
except ImportError as error:
    raise MissingExtraError("the server needs fastapi: pip install 'hybrid-memory-sdk[server]'") from error

from hybrid_memory.serving.completions import Completions
from hybrid_memory.serving.rest import Rest

__all__ = ["create_app"]

STATUS: dict[type[HybridMemoryError], int] = {
    NotFoundError: 404,
    InputError: 400,
    FilterError: 400,
    ConfigError: 400,
    PolicyError: 400,
    LockedError: 503,
}
OPEN = ("/health",)
"""Paths that need no key: what a load balancer asks."""
QUERIED = (("GET", "/v1/records"),)
"""What takes parameters in the query, and refuses unknown ones itself; anything else takes a body, or nothing."""


def create_app(memory: HybridMemory, *, api_key: str | None = None, remember: bool = False) -> FastAPI:
    """Return an ASGI application over an open memory, which stays the caller's to close.

    Args:
        memory: serves all requests; it is safe to share between threads.
        api_key: wanted as `Authorization: Bearer <key>` with every request; None lets everybody in. The key opens
            every scope: the application in front decides who may name which user.
        remember: ingest the latest user message of every chat completion, routed by the policy.
    """
    app = FastAPI(title="hybrid-memory", version=version("hybrid-memory-sdk"))
    rest, completions = Rest(memory), Completions(memory, remember=remember)
    for method, path, handler in (*rest.routes(), *completions.routes()):
        checks = [] if (method, path) in QUERIED or path in OPEN else [Depends(_nothing_asked)]
        app.add_api_route(path, handler, methods=[method], response_model=None, dependencies=checks)
    app.add_exception_handler(HybridMemoryError, _refused)
    app.add_exception_handler(RequestValidationError, _misread)
    app.add_exception_handler(HTTPException, _misplaced)
    if api_key is not None:
        app.middleware("http")(_locked(api_key))
    return app


def _locked(api_key: str) -> Callable[[Request, Callable[[Request], Awaitable[Any]]], Awaitable[Any]]:
    wanted = f"Bearer {api_key}".encode()

    async def check(request: Request, forward: Callable[[Request], Awaitable[Any]]) -> Any:
        given = request.headers.get("authorization", "").encode()
        if request.url.path in OPEN or hmac.compare_digest(given, wanted):
            return await forward(request)
        return JSONResponse(_error("Unauthorized", "send the header Authorization: Bearer <the server's key>"), 401)

    return check


async def _nothing_asked(request: Request) -> None:
    if request.query_params:
        raise InputError(
            f"{request.method} {request.url.path} takes no parameters in the query, got {named(request.query_params)}; "
            "send what it takes as JSON in the body, or leave it out"
        )


async def _refused(_request: Request, error: Exception) -> JSONResponse:
    status = next((status for kind, status in STATUS.items() if isinstance(error, kind)), 500)
    return JSONResponse(_error(type(error).__name__, str(error)), status)


async def _misread(_request: Request, error: RequestValidationError) -> JSONResponse:
    return JSONResponse(_error("InputError", "; ".join(_mistake(one) for one in error.errors())), 400)


def _mistake(found: Mapping[str, Any]) -> str:
    """Say what pydantic found wrong, and where: its place begins with "body" or "query"."""
    if found["type"] == "json_invalid":
        return f"the body is no JSON: {found['ctx']['error']}"
    place = ".".join(str(part) for part in found["loc"][1:])
    return f"{place}: {found['msg']}" if place else "the body must be a JSON object, sent as application/json"


async def _misplaced(request: Request, error: HTTPException) -> JSONResponse:
    what = f"{error.detail}: {request.method} {request.url.path}; /docs shows what there is"
    kind = "NotFoundError" if error.status_code == 404 else "InputError"
    return JSONResponse(_error(kind, what), error.status_code, headers=error.headers)


def _error(kind: str, message: str) -> dict[str, Any]:
    return {"error": {"kind": kind, "message": message}}
