"""Policies become routers; screens, the judge, and what tries policies out."""

from __future__ import annotations

import os.path
from collections.abc import Callable, Sequence
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from hybrid_memory.build.models import make_encoder
from hybrid_memory.config import Settings
from hybrid_memory.protocols import Encoder, Router, Screen, TextModel

if TYPE_CHECKING:
    from hybrid_memory.rehearsal import Rehearsal
    from hybrid_memory.routing.judge import Judge
    from hybrid_memory.routing.opinions import Opinions

__all__ = ["default_screens", "make_judge", "rehearsal", "router_of", "with_windows_of"]

ROUTERS = "hybrid_memory.routers"
"""Entry points of this group are callables without arguments that return a Router."""


def default_screens(more: Sequence[str] = ()) -> tuple[Screen, ...]:
    """Return the screens that every text passes: instructions, secrets, personal identifiers, and those asked for."""
    from hybrid_memory.routing.extra_screens import DetectSecretsScreen, PresidioScreen
    from hybrid_memory.routing.screens import InstructionScreen, PersonalScreen, SecretScreen

    makers: dict[str, Callable[[], Screen]] = {"detect-secrets": DetectSecretsScreen, "presidio": PresidioScreen}
    return (InstructionScreen(), SecretScreen(), PersonalScreen(), *(makers[name]() for name in more))


def rehearsal(settings: Settings, *, encoder: Encoder | None = None) -> Rehearsal:
    """Return what tries and fits policies: the encoder and the screens of a memory with these settings."""
    from hybrid_memory.rehearsal import Rehearsal

    return Rehearsal(
        encoder=encoder or make_encoder(settings),
        screens=default_screens(settings.routing.screens),
        load_router=cache(router_of),
    )


def router_of(policy: str, judge: Judge | None = None) -> Router:
    """Return the router of a policy, by its name or file, or one that a package offers by entry point.

    Raises:
        NotFoundError: there is no such policy, file or entry point of the group "hybrid_memory.routers".
        PolicyError: the policy cannot be used.
    """
    from hybrid_memory.routing.durability import DurabilityClassifier
    from hybrid_memory.routing.policy import list_policies, load_policy
    from hybrid_memory.routing.router import PolicyRouter

    if policy not in list_policies() and not os.path.isfile(policy):
        offered = [point for point in entry_points(group=ROUTERS) if point.name == policy]
        if offered:
            plugged: Router = offered[0].load()()
            return plugged
    tables = load_policy(policy)
    return PolicyRouter(tables, DurabilityClassifier.load(tables.classifier), judge)


def make_judge(model: TextModel | None, settings: Settings, opinions: Opinions) -> Judge | None:
    """Return what asks a model about undecided texts, within the settings' budget; None without a model."""
    from hybrid_memory.routing.judge import Judge

    return None if model is None else Judge(model, calls=settings.routing.judge_calls, opinions=opinions)


def with_windows_of(settings: Settings, router: Router) -> Settings:
    """Return the settings with the policy's [windows] where memory.toml and the environment say nothing."""
    from hybrid_memory.routing.router import PolicyRouter

    if not isinstance(router, PolicyRouter):
        return settings
    given = settings.window.model_fields_set if "window" in settings.model_fields_set else set()
    wanted = {key: value for key, value in router.policy.windows if value is not None and key not in given}
    return settings.model_copy(update={"window": settings.window.model_copy(update=wanted)}) if wanted else settings
