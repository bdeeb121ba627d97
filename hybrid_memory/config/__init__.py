"""Every setting, one group per stage, frozen and checked once.

Flow:    build/ reads these and hands each stage the few values it uses.
Imports: errors, types. Others import from here, never from the modules inside.

Sources, the later wins: defaults, `memory.toml` in the memory's folder (or the path or
dict given to `HybridMemory.from_config`), environment variables `HYBRID_MEMORY_<GROUP>__<NAME>`,
and keyword arguments. An unknown name anywhere is a ConfigError that proposes the nearest one.
"""

from hybrid_memory.config.crontab import read_crontab
from hybrid_memory.config.finding import (
    MOST_NEIGHBOURS,
    AnswerSettings,
    ForgetSettings,
    IngestSettings,
    LedgerSettings,
    RetrievalSettings,
    RoutingSettings,
)
from hybrid_memory.config.learning import (
    GateSettings,
    OuterLoopSettings,
    SelfEditSettings,
    TrainingSettings,
    WindowSettings,
)
from hybrid_memory.config.models import EncoderSettings, ModelSettings
from hybrid_memory.config.settings import Settings, folder_and_settings, home

__all__ = [
    "MOST_NEIGHBOURS",
    "AnswerSettings",
    "EncoderSettings",
    "ForgetSettings",
    "GateSettings",
    "IngestSettings",
    "LedgerSettings",
    "ModelSettings",
    "OuterLoopSettings",
    "RetrievalSettings",
    "RoutingSettings",
    "SelfEditSettings",
    "Settings",
    "TrainingSettings",
    "WindowSettings",
    "folder_and_settings",
    "home",
    "read_crontab",
]
