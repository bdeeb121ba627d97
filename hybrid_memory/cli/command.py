"""Turn a function into a command: shared options, groups of options, errors as one line.

Flow:    arguments -> [command] -> the function's Output -> stdout
Imports: errors, and the session beside it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import logging
import os
import traceback
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import typer

from hybrid_memory.cli.session import Globals, Output, Session
from hybrid_memory.errors import ConfigError, FilterError, HybridMemoryError, InputError, PolicyError

__all__ = ["command", "shared_options"]

Work: TypeAlias = Callable[..., Output]
USAGE = (ConfigError, FilterError, InputError, PolicyError)
"""What the user typed or configured is wrong: exit code 2, as for an unknown option."""


def command(app: typer.Typer, name: str | None = None) -> Callable[[Work], Work]:
    """Register a function `(options...) -> Output` as a command of `app`.

    A parameter annotated Session receives the session; one annotated with another dataclass stands for
    one option per field of it. The options of every command are added. An error of this package
    becomes one line on stderr and an exit code.
    """

    def register(work: Work) -> Work:
        everything = inspect.signature(work, eval_str=True).parameters.values()
        sessions = [item.name for item in everything if item.annotation is Session]
        parameters = [item for item in everything if item.annotation is not Session]
        groups = {item.name: item.annotation for item in parameters if _is_group(item.annotation)}
        options = [option for item in parameters for option in _options(item)]

        def run(**given: Any) -> None:
            context: typer.Context = given.pop("context")
            above = context.obj if isinstance(context.obj, Globals) else Globals()
            session = Session.of(above, _take(Globals, given), os.environ)
            grouped = {parameter: _take(kind, given) for parameter, kind in groups.items()}
            with _one_line_errors(session), _log(session):
                output = work(**dict.fromkeys(sessions, session), **given, **grouped)
                session.show(output)
            raise typer.Exit(output.code)

        context = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
        run.__name__, run.__doc__ = work.__name__, work.__doc__
        _declare(run, [context, *options, *_fields(Globals)])
        app.command(name)(run)
        return work

    return register


def shared_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options of every command to a Typer callback; they arrive in its `**shared`."""
    parameters = inspect.signature(function, eval_str=True).parameters.values()
    own = [item for item in parameters if item.kind is not inspect.Parameter.VAR_KEYWORD]
    _declare(function, [*own, *_fields(Globals)])
    return function


def _options(parameter: inspect.Parameter) -> list[inspect.Parameter]:
    if _is_group(parameter.annotation):
        return _fields(parameter.annotation)
    return [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)]


def _is_group(annotation: Any) -> bool:
    return isinstance(annotation, type) and dataclasses.is_dataclass(annotation)


def _fields(group: type) -> list[inspect.Parameter]:
    hints = typing.get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(item.name, inspect.Parameter.KEYWORD_ONLY, annotation=hints[item.name], default=item.default)
        for item in dataclasses.fields(group)
    ]


def _take(group: type, given: dict[str, Any]) -> Any:
    """Take a group's options out of what was given."""
    return group(**{item.name: given.pop(item.name) for item in dataclasses.fields(group)})


def _declare(function: Callable[..., Any], parameters: list[inspect.Parameter]) -> None:
    """Let Typer see these parameters instead of the function's own."""
    function.__annotations__ = {item.name: item.annotation for item in parameters}
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]


# ---------------------------------------------------------------- errors and log


@contextlib.contextmanager
def _one_line_errors(session: Session) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        session.say("stopped", style="red")
        raise typer.Exit(130) from None
    except BrokenPipeError:
        raise  # the reader of our output has gone; Typer ends quietly
    except (HybridMemoryError, OSError) as error:
        if session.verbose:
            session.err.print(traceback.format_exc(), soft_wrap=True)
        session.say(f"Error: {error}", style="red")
        if session.as_json:
            session.show(Output(_as_json(error), None))
        raise typer.Exit(2 if isinstance(error, USAGE) else 1) from None


def _as_json(error: Exception) -> Mapping[str, Any]:
    return {"error": {"kind": type(error).__name__, "message": str(error)}}


@contextlib.contextmanager
def _log(session: Session) -> Iterator[None]:
    """With --verbose, write this package's log to stderr while the command runs."""
    if not session.verbose:
        yield
        return
    log = logging.getLogger("hybrid_memory")
    handler = logging.StreamHandler(session.err.file)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    before = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(before)
