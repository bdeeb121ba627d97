"""The command that serves a memory over HTTP.

Imports: errors, and the modules beside it; the server inside the command, because it needs an extra.
"""

from __future__ import annotations

import ipaddress
from typing import Annotated

import typer

from hybrid_memory.cli.command import command
from hybrid_memory.cli.session import Output, Session
from hybrid_memory.errors import ConfigError, MissingExtraError

__all__ = ["app"]

app = typer.Typer()
KEY = "HYBRID_MEMORY_API_KEY"


Host = Annotated[str, typer.Option(help="Address to listen on; any but this machine's own needs a key.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")]
Key = Annotated[str | None, typer.Option(envvar=KEY, help="Wanted as a bearer token; better set in the environment.")]
Remember = Annotated[bool, typer.Option("--remember", help="Ingest what users say in chat completions.")]


@command(app)
def serve(
    here: Session,
    host: Host = "127.0.0.1",
    port: Port = 8790,
    api_key: Key = None,
    remember: Remember = False,
) -> Output:
    """Serve the memory over HTTP: REST, and OpenAI's chat completions; Ctrl-C ends it."""
    if api_key is None and not _is_this_machine(host):
        raise ConfigError(
            f"{host} can be reached from other machines, and whoever reaches it can read and forget everything; "
            "set HYBRID_MEMORY_API_KEY, or listen on 127.0.0.1"
        )
    from hybrid_memory.serving.app import create_app

    try:
        import uvicorn
    except ImportError as error:
        raise MissingExtraError("the server needs uvicorn: pip install 'hybrid-memory-sdk[server]'") from error

    with here.open() as memory:
        here.say(f"serving {here.folder} on http://{host}:{port} (its paths: /docs)")
        application = create_app(memory, api_key=api_key, remember=remember)
        uvicorn.run(application, host=host, port=port, log_level="info" if here.verbose else "warning")
    return Output({"served": str(here.folder)}, None)


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
