"""All groups together, and where their values come from."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import platformdirs
from pydantic import BaseModel, ValidationError

from hybrid_memory.config.finding import (
    AnswerSettings,
    ForgetSettings,
    IngestSettings,
    LedgerSettings,
    RetrievalSettings,
    RoutingSettings,
)
from hybrid_memory.config.group import Group
from hybrid_memory.config.learning import (
    GateSettings,
    OuterLoopSettings,
    SelfEditSettings,
    TrainingSettings,
    WindowSettings,
)
from hybrid_memory.config.models import EncoderSettings, ModelSettings
from hybrid_memory.errors import ConfigError
from hybrid_memory.types import quoted

__all__ = ["Settings", "folder_and_settings", "home"]

ENVIRONMENT_PREFIX = "HYBRID_MEMORY_"
NOT_SETTINGS = {"HYBRID_MEMORY_API_KEY", "HYBRID_MEMORY_FOLDER", "HYBRID_MEMORY_HOME"}


def home() -> Path:
    """Return the folder for downloaded models: HYBRID_MEMORY_HOME, or the user's cache folder."""
    given = os.environ.get("HYBRID_MEMORY_HOME")
    return Path(given).expanduser() if given else Path(platformdirs.user_cache_dir("hybrid_memory"))


class Settings(Group):
    """All settings of one memory."""

    model: ModelSettings = ModelSettings()
    encoder: EncoderSettings = EncoderSettings()
    ledger: LedgerSettings = LedgerSettings()
    ingest: IngestSettings = IngestSettings()
    routing: RoutingSettings = RoutingSettings()
    retrieval: RetrievalSettings = RetrievalSettings()
    self_edit: SelfEditSettings = SelfEditSettings()
    training: TrainingSettings = TrainingSettings()
    gate: GateSettings = GateSettings()
    answer: AnswerSettings = AnswerSettings()
    window: WindowSettings = WindowSettings()
    forget: ForgetSettings = ForgetSettings()
    outer_loop: OuterLoopSettings = OuterLoopSettings()

    def fingerprint(self) -> str:
        """Return 12 hex digits of the SHA-256 of the settings as JSON; names runs and adapter versions."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @classmethod
    def load(cls, source: Path | str | Mapping[str, Any] | None = None, **groups: Mapping[str, Any]) -> Settings:
        """Read settings from a TOML file or a dict, then the environment, then `groups`.

        Args:
            source: path of a TOML file, or the same content as a dict; None for defaults.
            groups: overrides by group, such as `training={"epochs": 4}`.

        Raises:
            ConfigError: a file that is not TOML, an unknown name, or a value out of range.
        """
        merged: dict[str, dict[str, Any]] = {}
        for layer in (_read(source), _environment(), groups):
            for group, values in layer.items():
                if not isinstance(values, Mapping):
                    raise ConfigError(
                        f"setting {quoted(group)} must be a table of settings, got {quoted(values)}; "
                        f"groups are {', '.join(cls.model_fields)}"
                    )
                merged.setdefault(group, {}).update(values)
        try:
            return cls.model_validate(merged)
        except ValidationError as error:
            raise ConfigError("; ".join(_sentences(error))) from error


def folder_and_settings(config: Path | str | Mapping[str, Any]) -> tuple[Path, Settings]:
    """Read `folder` and the groups of settings from a TOML file or a dict; a relative folder lies beside the file.

    Raises:
        ConfigError: `folder` is missing, or a setting is wrong.
    """
    content = dict(_read(config))
    folder = content.pop("folder", None)
    if not isinstance(folder, str | Path):
        raise ConfigError(f"the configuration must say where the memory lies: folder = './acme'; got {quoted(folder)}")
    base = Path() if isinstance(config, Mapping) else Path(config).parent
    return base / folder, Settings.load(content)


def _read(source: Path | str | Mapping[str, Any] | None) -> Mapping[str, Any]:
    if source is None:
        return {}
    if isinstance(source, Mapping):
        return source
    if not isinstance(source, str | Path):
        raise ConfigError(f"settings are a TOML file or a dict of groups, got {quoted(source)}")
    path = Path(source)
    if not os.path.isfile(path):  # Path.is_file raises where a name is too long for any file
        raise ConfigError(f"there is no settings file {path}; give a TOML file or a dict of groups")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error


def _environment() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for name, text in sorted(os.environ.items()):
        if not name.startswith(ENVIRONMENT_PREFIX) or name in NOT_SETTINGS:
            continue
        group, separator, key = name.removeprefix(ENVIRONMENT_PREFIX).lower().partition("__")
        if not separator:
            raise ConfigError(
                f"environment variable {name} names no setting; "
                f"write {ENVIRONMENT_PREFIX}<GROUP>__<NAME>, such as {ENVIRONMENT_PREFIX}TRAINING__EPOCHS"
            )
        found.setdefault(group, {})[key] = _value(text)
    return found


def _value(text: str) -> Any:
    """Read an environment value as TOML would; anything else is a plain string."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _sentences(error: ValidationError) -> Iterator[str]:
    for problem in error.errors():
        place = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            names = _names(problem["loc"][:-1])
            near = difflib.get_close_matches(str(problem["loc"][-1]), names, n=1)
            yield f"unknown setting {place}; " + (f"did you mean {near[0]}?" if near else f"known: {', '.join(names)}")
        elif problem["type"] == "value_error":  # our own: it says what was given and what is accepted
            yield f"setting {place}: {problem['ctx']['error']}"
        else:
            yield f"setting {place}: {problem['msg'].lower()}, got {quoted(problem['input'])}"


def _names(place: tuple[int | str, ...]) -> list[str]:
    fields = Settings.model_fields
    for part in place:
        kind = fields[str(part)].annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            fields = kind.model_fields
    return list(fields)
