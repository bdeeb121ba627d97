"""Commands for a memory as a whole: init, doctor, export, restore, reindex.

Imports: errors, config, memory, durable, the policy reader, and the modules beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from hybrid_memory.cli.command import command
from hybrid_memory.cli.session import SETTINGS_FILE, Output, Session, open_memory
from hybrid_memory.cli.tables import pairs
from hybrid_memory.config import Settings
from hybrid_memory.durable import write_text
from hybrid_memory.errors import InputError
from hybrid_memory.memory import HybridMemory
from hybrid_memory.routing.policy import load_policy

__all__ = ["app", "settings_text"]

app = typer.Typer()

SETTINGS_TEXT = """\
# Settings of this memory. A line that is commented out shows the default; remove the # to change it.
# The environment wins over this file: HYBRID_MEMORY_<GROUP>__<NAME>, such as HYBRID_MEMORY_WINDOW__QUEUE_SIZE=20.

[model]
# name = "{default.model.name}"  # a shipped name, a Hugging Face id, a local folder, or a .gguf file
# device = "{default.model.device}"  # "cuda", "mps"
# threads = {default.model.threads}  # 0 takes all cores

[encoder]
# name = "{default.encoder.name}"  # changing it later needs `hybrid-memory reindex`

[routing]
{policy}

[retrieval]
# dense_weight = {default.retrieval.dense_weight}  # how much the search by meaning counts
# lexical_weight = {default.retrieval.lexical_weight}  # how much the search by words counts

[answer]
# passages = {default.answer.passages}  # evidence passages in the prompt; larger models read more
# max_new_tokens = {default.answer.max_new_tokens}
# min_similarity = {default.answer.min_similarity}  # evidence less similar to the question is left out,
# min_words = {default.answer.min_words}  # unless words give it this much of its score

[self_edit]
# generator = "{default.self_edit.generator}"  # who writes the study material: "model", "compiled" or both

[training]
# lora_rank = {default.training.lora_rank}
# learning_rate = {default.training.learning_rate}
# epochs = {default.training.epochs}

[window]
# queue_size = {default.window.queue_size}  # learn by itself when so many records wait; 0 never does
# cron = "0 3 * * *"  # for `hybrid-memory consolidate --due`; none by default
# budget_s = 600.0  # longest window, seconds; no limit by default
"""


@command(app)
def init(
    here: Session,
    folder: Annotated[Path | None, typer.Argument(help="Where; --memory when not given.")] = None,
    policy: Annotated[
        str | None, typer.Option(help="Routing policy: a shipped name (see `policy list`) or a TOML file.")
    ] = None,
) -> Output:
    """Make a memory: write memory.toml with the main settings, and open it once."""
    target = folder or here.folder
    file = target / SETTINGS_FILE
    if file.exists() and policy is not None:
        raise InputError(f"{file} is there already; set policy under [routing] in it")
    written = not file.exists()
    if written:
        text = settings_text(policy)  # a wrong policy is refused before anything is written
        target.mkdir(parents=True, exist_ok=True)
        write_text(file, text)
    open_memory(target).close()
    state = f"is ready; settings are in {file}" if written else "is a memory already; it opens well"
    return Output({"folder": str(target), "settings": str(file), "created": written}, f"{target} {state}")


def settings_text(policy: str | None) -> str:
    """Return what a new memory.toml says: the main settings with their defaults, and the policy if one was chosen.

    Raises:
        NotFoundError: there is no such policy.
        PolicyError: the policy file cannot be used.
    """
    line = '# policy = "default"  # see `hybrid-memory policy list`, or the path of a TOML file'
    if policy is not None:
        load_policy(policy)
        name = str(Path(policy).resolve()) if Path(policy).is_file() else policy
        line = f"policy = '{name}'"  # a TOML literal string: a path's backslashes stay
    return SETTINGS_TEXT.format(default=Settings(), policy=line)


@command(app)
def doctor(here: Session) -> Output:
    """Check ledger, index and adapters; exit code 1 when something is wrong."""
    with here.open() as memory:
        found = memory.doctor()
    problems = found["problems"]
    if isinstance(problems, Sequence) and problems:
        return Output(found, "\n".join(f"- {problem}" for problem in problems), code=1)
    rows = {name: value for name, value in found.items() if name not in ("healthy", "problems")}
    return Output(found, pairs("healthy", {name: _brief(value) for name, value in rows.items()}))


def _brief(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{count} {name}" for name, count in value.items()) or "none"
    return str(value)


@command(app)
def export(here: Session, path: Annotated[Path, typer.Argument(help="A .tar.gz that does not exist yet.")]) -> Output:
    """Write ledger, adapters and settings into one file."""
    with here.open() as memory, here.progress("exporting"):
        written = memory.export(path)
    size = written.stat().st_size
    return Output({"path": str(written), "bytes": size}, f"exported to {written} ({size / 1e6:.1f} MB)")


@command(app)
def restore(
    here: Session,
    path: Annotated[Path, typer.Argument(help="What `export` wrote.")],
    folder: Annotated[Path, typer.Argument(help="A new or empty folder.")],
) -> Output:
    """Unpack an export into a new folder and open it."""
    with here.progress("restoring"):
        HybridMemory.restore(path, folder).close()
    return Output({"folder": str(folder)}, f"restored into {folder}")


@command(app)
def reindex(here: Session) -> Output:
    """Embed every passage again, as after a change of the encoder; the old index serves meanwhile."""
    with here.open(for_reindex=True) as memory, here.progress("embedding") as progress:
        passages = memory.reindex(progress=progress)
    return Output({"passages": passages}, f"{passages} passages embedded again")
