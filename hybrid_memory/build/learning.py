"""The learning half: who writes study material, what trains and judges it, and the windows around them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from hybrid_memory.build.foundation import Foundation
from hybrid_memory.build.models import without_memory
from hybrid_memory.config import Settings, home
from hybrid_memory.consolidation import Consolidation
from hybrid_memory.errors import ConfigError
from hybrid_memory.protocols import Encoder, LanguageModel, SelfEditGenerator
from hybrid_memory.rebuilding import Rebuilding
from hybrid_memory.trials import Trials, Workshop
from hybrid_memory.types import Json, SelfEdit, quoted
from hybrid_memory.workers import Workers

if TYPE_CHECKING:
    from hybrid_memory.selfedit.fitting import Refuses
    from hybrid_memory.selfedit.outer_loop import OuterLoop
    from hybrid_memory.selfedit.task_trials import TaskTrials

__all__ = ["imported", "make_consolidation", "make_outer_loop", "teacher_of"]

PACKAGES = ("torch", "transformers", "peft")
"""Their versions go into every adapter's manifest: with them, and the seed, it can be made again."""


def teacher_of(settings: Settings, given: Any) -> Callable[[], Any] | None:
    """Return what makes the teacher when the first window opens; None when nobody is to be asked.

    Raises:
        ConfigError: there is a teacher and it is not to be asked, or the other way round, or it cannot be imported; or
            the released recipe, which has a writer of its own, is set beside another one.
    """
    chosen = settings.self_edit
    if settings.training.seal_compat and chosen.generator in ("teacher", "compiled"):
        raise ConfigError(
            "training.seal_compat writes by SEAL's prompts with the model itself, and has no part for "
            f"self_edit.generator {chosen.generator!r}; leave the generator out, or set seal_compat to false"
        )
    there = given is not None or chosen.teacher is not None
    if there != (chosen.generator == "teacher"):
        raise ConfigError(
            f"self_edit.generator is {chosen.generator!r} and {'a' if there else 'no'} teacher was given; set it to "
            '"teacher" and give teacher=<a LlamaIndex LLM> or self_edit.teacher = "module:function", or neither'
        )
    if given is not None:
        return lambda: given
    return None if chosen.teacher is None else cache(imported(chosen.teacher, setting="self_edit.teacher"))


def imported(path: str, *, setting: str) -> Callable[[], Any]:
    """Return the function that a setting names as "module:function".

    Raises:
        ConfigError: it cannot be imported.
    """
    module, _, name = path.partition(":")
    try:
        found: Callable[[], Any] = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"{setting} = {quoted(path)} cannot be imported ({error}); name a function without arguments that "
            'returns a LlamaIndex LLM, as "module:function", and have its module installed or on PYTHONPATH'
        ) from error
    return found


def make_consolidation(base: Foundation, *, teacher: Callable[[], Any] | None) -> Consolidation:
    """Return what runs windows; the language model is loaded in the first one."""
    base = replace(base, encoder=without_memory(base.encoder))  # forgetting would not find vectors of study material
    settings, ledger = base.settings, base.ledger
    workshop = cache(lambda: _workshop(base, base.language_model(), teacher=teacher))
    trials = Trials(
        ledger=ledger,
        store=base.store,
        upkeep=base.upkeep,
        workshop=workshop,
        scales=settings.gate.scales,
        keep_versions=settings.window.keep_versions,
        seed=settings.training.seed,
        provenance=_provenance(settings),
    )
    return Consolidation(
        ledger=ledger,
        upkeep=base.upkeep,
        workers=Workers(base.folder / "windows"),
        workshop=workshop,
        rebuilding=Rebuilding(
            ledger=ledger, trials=trials, workshop=workshop, gate=settings.gate, seed=settings.training.seed
        ),
        window=settings.window,
    )


def make_outer_loop(base: Foundation) -> OuterLoop:
    """Return what trains the generator of self-edits; loads the language model."""
    from hybrid_memory.selfedit.outer_loop import OuterLoop
    from hybrid_memory.weights.stacked import StackedTrainer
    from hybrid_memory.weights.trainer import LoraTrainer

    settings = base.settings
    if settings.training.seal_compat:
        raise ConfigError(
            "a memory with training.seal_compat cannot be trained by the outer loop, which has a recipe of its own, "
            "and no generator would write there; set seal_compat to false"
        )
    language_model: Any = base.language_model()
    inner = settings.training.model_copy(update={"epochs": 1, "min_steps": settings.outer_loop.inner_steps})
    outer = settings.outer_loop.model_dump(include={"epochs", "min_steps"})
    outer["learning_rate"] = min(settings.outer_loop.learning_rate, settings.training.learning_rate)
    return OuterLoop(
        language_model=language_model,
        candidates=StackedTrainer(language_model, inner),
        trainer=LoraTrainer(language_model, settings.training.model_copy(update=outer)),
        ledger=base.ledger,
        store=base.store,
        folder=base.folder / "outer_loop",
        settings=settings.outer_loop,
        seed=settings.training.seed,
        recipe=settings.training.model_dump(mode="json"),
        provenance=_provenance(settings),
    )


def _workshop(base: Foundation, language_model: Any, *, teacher: Callable[[], Any] | None) -> Workshop:
    from hybrid_memory.selfedit.restraint import ordinary_answers
    from hybrid_memory.weights.gate import Gate
    from hybrid_memory.weights.scaling import scale_adapter
    from hybrid_memory.weights.sharding import place, regroup
    from hybrid_memory.weights.trainer import LoraTrainer

    settings, encoder = base.settings, base.encoder
    known = language_model.layers.intersection(settings.training.directive_targets)
    trainer = LoraTrainer(language_model, settings.training)
    answers = cache(partial(ordinary_answers, language_model))
    return Workshop(
        language_model=language_model,
        generators=_generators(base, language_model, teacher=teacher),
        prepare=partial(_prepared, settings, encoder, known, answers, trainer.refuses),
        trainer=trainer,
        scale=scale_adapter,
        gate=Gate(language_model, settings.gate, encoder=encoder, min_similarity=settings.answer.shard_similarity),
        place=partial(place, cap=settings.window.shard_cap),
        regroup=partial(regroup, cap=settings.window.shard_cap),
    )


def _prepared(
    settings: Settings,
    encoder: Encoder,
    known: frozenset[str],
    answers: Callable[[], Mapping[str, str]],
    refuses: Refuses,
    edits: Sequence[SelfEdit],
) -> list[SelfEdit]:
    """Return the self-edits verified, and with the forms in which their material is studied once more."""
    from hybrid_memory.selfedit.augmentation import augmented
    from hybrid_memory.selfedit.deference import with_deference
    from hybrid_memory.selfedit.directives import with_known_targets
    from hybrid_memory.selfedit.fitting import fitted, without_too_long
    from hybrid_memory.selfedit.reading import with_evidence, with_neighbours
    from hybrid_memory.selfedit.restraint import with_ordinary, with_unknown
    from hybrid_memory.selfedit.verification import verify

    chosen, seed = settings.self_edit, settings.training.seed
    if settings.training.seal_compat:  # as released: studied as it was written, and no more
        return augmented(edits, chosen.augmentations, seed=seed)
    kept = verify(
        without_too_long(with_known_targets(edits, known), refuses),
        encoder=encoder,
        min_similarity=chosen.min_similarity,
        most=chosen.questions,
        held_out=chosen.held_out,
    )
    seen = augmented(kept, chosen.augmentations, seed=seed)
    read = with_evidence(seen, encoder=encoder, seed=seed, right=chosen.with_evidence, missed=chosen.missed_evidence)
    read = with_deference(read, seed=seed, count=chosen.deference)
    read = with_unknown(read, seed=seed, count=chosen.unknown)
    read = with_ordinary(read, answers(), seed=seed, count=chosen.ordinary) if chosen.ordinary else read
    read = with_neighbours(read, encoder=encoder, seed=seed, shots=chosen.shots, repeats=chosen.shot_repeats)
    return fitted(read, refuses)


def _generators(
    base: Foundation, language_model: LanguageModel, *, teacher: Callable[[], Any] | None
) -> Callable[[], list[SelfEditGenerator]]:
    """Return what gives the generators of one window."""
    from hybrid_memory.selfedit.compiled import CompiledGenerator
    from hybrid_memory.selfedit.demonstrations import DemonstrationGenerator
    from hybrid_memory.selfedit.model import ModelGenerator
    from hybrid_memory.selfedit.neighbours import Neighbours

    settings, chosen = base.settings, base.settings.self_edit
    neighbours = Neighbours(base.encoder, folder=home() / "words")
    shown = DemonstrationGenerator(language_model, neighbours, _task_trials(settings, language_model))
    if settings.training.seal_compat:
        released: list[SelfEditGenerator] = [shown, _written(settings, language_model)]
        return lambda: released
    by_model = ModelGenerator(language_model, samples=chosen.samples, temperature=chosen.temperature)
    compiled = CompiledGenerator(neighbours)
    by_name: dict[str, list[SelfEditGenerator]] = {
        "model": [by_model],
        "compiled": [compiled],
        "mixed": [compiled, by_model],
        "teacher": [],
    }
    more = [_written(settings, language_model)] if chosen.prompts else []
    always = [*by_name[chosen.generator], *more]

    def writers() -> list[SelfEditGenerator]:
        taught = [_taught(settings, teacher())] if teacher is not None else []
        return [shown, *taught, *always, *(_trained(base, language_model) if by_model in always else [])]

    return writers


def _task_trials(settings: Settings, language_model: Any) -> TaskTrials | None:
    """Return what tries self-edits of tasks; None when they are studied in the fixed way."""
    from hybrid_memory.selfedit.task_trials import TaskTrials
    from hybrid_memory.weights.stacked import StackedTrainer

    samples = settings.self_edit.task_samples
    if not samples:
        return None
    return TaskTrials(language_model, StackedTrainer(language_model, settings.training), samples=samples)


def _trained(base: Foundation, language_model: LanguageModel) -> list[SelfEditGenerator]:
    """Return the generator that the outer loop trained, if one serves."""
    from hybrid_memory.selfedit.outer_loop import serving_generator
    from hybrid_memory.selfedit.proposals import TrainedGenerator

    adapter = serving_generator(base.ledger, base.store, base=language_model.fingerprint)
    return [TrainedGenerator(language_model, adapter, settings=base.settings.outer_loop)] if adapter else []


def _written(settings: Settings, language_model: LanguageModel) -> SelfEditGenerator:
    """Return the generator of SEAL's prompts; with seal_compat the released form: titled, the passage itself last."""
    from hybrid_memory.selfedit.written import Family, WrittenGenerator

    chosen, released = settings.self_edit, settings.training.seal_compat
    family = Family(
        prompts=chosen.prompts or ("implications",),
        samples=chosen.completions,
        temperature=1.0 if released else chosen.temperature,
        max_new_tokens=chosen.completion_tokens,
        budget=chosen.budget_tokens,
        chat=chosen.chat_form,
        titled=released,
    )
    return WrittenGenerator(language_model, family)


def _taught(settings: Settings, teacher: Any) -> SelfEditGenerator:
    from hybrid_memory.selfedit.teacher import TeacherGenerator

    chosen = settings.self_edit
    return TeacherGenerator(
        teacher,
        facts=chosen.teacher_facts,
        questions=chosen.teacher_facts,
        attempts=chosen.teacher_attempts,
        timeout_s=chosen.teacher_timeout_s,
        budget=chosen.budget_tokens,
    )


def _provenance(settings: Settings) -> dict[str, Json]:
    return {
        "model": settings.model.name,
        "settings": settings.fingerprint(),
        "recipe": settings.training.model_dump(mode="json"),
        "packages": {name: version(name) for name in PACKAGES},
    }
