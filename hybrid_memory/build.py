"""The composition root: settings in, a memory's parts out. The only file that names concrete classes.

Imports: everything, the heavy stages inside the functions that need them: a memory that only searches
loads no language model, and importing this module loads neither torch nor faiss.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cache, partial
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hybrid_memory import models
from hybrid_memory.adapters import Adapters
from hybrid_memory.answer_log import AnswerLog
from hybrid_memory.archive import ADAPTERS, LEDGER
from hybrid_memory.asking import Asking
from hybrid_memory.catalogue import CATALOGUE
from hybrid_memory.config import LedgerSettings, Settings, home
from hybrid_memory.consolidation import Consolidation
from hybrid_memory.errors import ConfigError
from hybrid_memory.forgetting import Forgetting
from hybrid_memory.intake import Intake
from hybrid_memory.memory import HybridMemory
from hybrid_memory.parts import Parts
from hybrid_memory.protocols import (
    AdapterStore,
    Encoder,
    LanguageModel,
    Ledger,
    Router,
    Screen,
    SelfEditGenerator,
    TextModel,
)
from hybrid_memory.rebuilding import Rebuilding
from hybrid_memory.receipts import key_in
from hybrid_memory.rerouting import Rerouting
from hybrid_memory.review import Review
from hybrid_memory.trials import Trials, Workshop
from hybrid_memory.types import Json, SelfEdit
from hybrid_memory.upkeep import Upkeep
from hybrid_memory.verdicts import Verdicts
from hybrid_memory.workers import Workers

if TYPE_CHECKING:
    from hybrid_memory.rehearsal import Rehearsal
    from hybrid_memory.retrieval.rerank import Reranker
    from hybrid_memory.routing.judge import Judge
    from hybrid_memory.selfedit.outer_loop import OuterLoop
    from hybrid_memory.weights.language_model import LocalLanguageModel

__all__ = ["build", "default_screens", "rehearsal", "router_of"]

ROUTERS = "hybrid_memory.routers"
"""Entry points of this group are callables without arguments that return a Router."""

PACKAGES = ("torch", "transformers", "peft")
"""Their versions go into every adapter's manifest: with them, and the seed, it can be made again."""


def build(
    folder: Path,
    settings: Settings,
    *,
    encoder: Encoder | None = None,
    model: Any = None,
    vector_store: object | None = None,
    teacher: Any = None,
    judge: TextModel | None = None,
    proposer: TextModel | None = None,
    for_reindex: bool = False,
) -> Parts:
    """Put a memory together.

    Args:
        folder: where ledger, index and adapters lie; created when it is not there.
        settings: all of them.
        encoder: used instead of the settings' one.
        model: a LanguageModel used instead of the settings' one.
        vector_store: a LlamaIndex vector store used instead of FAISS.
        teacher: writes the study material when `self_edit.generator` is "teacher".
        judge: a model with `complete(prompt)`, asked about what the classifier leaves undecided.
        proposer: a model with `complete(prompt)`, asked which slot a sentence fills that the rules do not read.
        for_reindex: accept vectors of another encoder; only `reindex` works then.
    """
    from hybrid_memory.answering.answerer import Answerer
    from hybrid_memory.ingest.reader import Reader
    from hybrid_memory.ledger.ledger import SqlLedger
    from hybrid_memory.retrieval.ranking import Ranking
    from hybrid_memory.retrieval.retriever import HybridRetriever
    from hybrid_memory.weights.store import FolderAdapterStore

    _make(folder)
    load_router = cache(partial(router_of, judge=_judge(judge, settings, folder)))
    router = load_router(settings.routing.policy)
    settings = _with_windows_of(settings, router)
    encoder = encoder or make_encoder(settings)
    loaded: list[LocalLanguageModel] = [] if model is None else [model]
    language_model = partial(_language_model, settings, loaded)
    ledger = SqlLedger.open(
        settings.ledger.url or f"sqlite:///{folder / LEDGER}",
        lock_path=folder / "writer.lock",
        lock_timeout_s=settings.ledger.lock_timeout_s,
        adapters=folder / ADAPTERS,
        former=folder / LEDGER if settings.ledger.url else None,
    )
    try:
        retriever = HybridRetriever(
            ledger,
            encoder,
            folder / "index",
            candidates=settings.retrieval.candidates,
            dense_weight=settings.retrieval.dense_weight,
            lexical_weight=settings.retrieval.lexical_weight,
            large=settings.retrieval.large_index,
            large_from=settings.retrieval.large_from,
            ranking=Ranking(**settings.retrieval.model_dump(include=set(Ranking.__slots__))),
            reranker=_reranker(settings),
            rerank_top=settings.retrieval.rerank_top,
            vector_store=vector_store,
            for_reindex=for_reindex,
        )
        store = FolderAdapterStore(folder / ADAPTERS)
        upkeep = Upkeep(ledger, store, lambda: loaded[0] if loaded else None, model=settings.model.name)
        upkeep.delete_those_that_saw_forgotten_records()
    except BaseException:
        ledger.close()
        raise
    answers = AnswerLog(folder / "answers.jsonl")
    workshop = cache(lambda: _workshop(settings, encoder, language_model(), teacher=teacher, ledger=ledger))
    consolidation = Consolidation(
        ledger=ledger,
        upkeep=upkeep,
        workers=Workers(folder / "windows"),
        workshop=workshop,
        rebuilding=Rebuilding(
            ledger=ledger,
            trials=Trials(
                ledger=ledger,
                store=store,
                upkeep=upkeep,
                workshop=workshop,
                scales=settings.gate.scales,
                keep_versions=settings.window.keep_versions,
                seed=settings.training.seed,
                provenance=_provenance(settings),
            ),
            workshop=workshop,
            gate=settings.gate,
            seed=settings.training.seed,
        ),
        window=settings.window,
    )
    screens = default_screens(settings.routing.screens)
    rerouting = Rerouting(ledger=ledger, screens=screens, router=router, load_router=load_router)
    intake = Intake(
        reader=Reader(
            chunk_tokens=settings.ingest.chunk_tokens,
            max_chars=settings.ingest.max_chars,
            attributes=settings.ingest.attributes,
            proposer=proposer,
        ),
        screens=screens,
        router=router,
        load_router=load_router,
        encoder=encoder,
        ledger=ledger,
        retriever=retriever,
        rerouting=rerouting,
        stored=consolidation.run_when_full,
    )
    forgetting = Forgetting(
        ledger=ledger,
        retriever=retriever,
        encoder=encoder,
        upkeep=upkeep,
        consolidation=consolidation,
        answers=answers,
        language_model=language_model,
        key=partial(_receipt_key, folder, settings),
    )
    adapters = Adapters(ledger, store)
    asking = Asking(
        ledger=ledger,
        encoder=encoder,
        retriever=retriever,
        answerer=Answerer(
            ledger=ledger,
            retriever=retriever,
            encoder=encoder,
            language_model=language_model,
            settings=settings.answer,
        ),
        answers=answers,
        adapters=adapters,
        upkeep=upkeep,
        forgetting=forgetting,
    )
    return Parts(
        folder=folder,
        settings=settings,
        encoder=encoder,
        ledger=ledger,
        retriever=retriever,
        store=store,
        upkeep=upkeep,
        intake=intake,
        asking=asking,
        verdicts=Verdicts(ledger=ledger, answers=answers, intake=intake),
        rerouting=rerouting,
        consolidation=consolidation,
        forgetting=forgetting,
        adapters=adapters,
        review=Review(ledger, forgetting),
        outer_loop=lambda: _outer_loop(settings, language_model(), ledger, store, folder / "outer_loop"),
        language_model=language_model,
    )


def beside(parts: Parts) -> Callable[[Path], AbstractContextManager[HybridMemory]]:
    """Return what opens an empty memory in another folder, with this one's encoder, language model and settings.

    Its windows open when they are called; when it is closed, its adapters leave the language model.
    """
    settings = parts.settings
    by_call = settings.window.model_copy(update={"queue_size": 0, "cron": None})
    aside = settings.model_copy(update={"ledger": LedgerSettings(), "window": by_call})

    @contextmanager
    def opened(folder: Path) -> Iterator[HybridMemory]:
        model = parts.language_model()
        with HybridMemory(build(folder, aside, encoder=parts.encoder, model=model)) as memory:
            yield memory
            for version in memory.adapters.list():
                model.release(version.id)

    return opened


def _receipt_key(folder: Path, settings: Settings) -> bytes | None:
    file = settings.forget.key_file
    return None if file is None else key_in(folder / Path(file).expanduser())


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"{folder} cannot hold a memory ({error}); give a folder that this user may write to"
        ) from error


def make_encoder(settings: Settings) -> Encoder:
    """Return the encoder the settings name, with its cache when they name one.

    Raises:
        ModelError: it is not on this machine.
    """
    from hybrid_memory.retrieval.encoder import SentenceEncoder
    from hybrid_memory.retrieval.vector_cache import CachedEncoder

    name, cache_file = settings.encoder.name, settings.encoder.cache
    encoder = SentenceEncoder(models.path(name) if name in CATALOGUE else name, batch_size=settings.encoder.batch_size)
    return encoder if cache_file is None else CachedEncoder(encoder, Path(cache_file).expanduser())


def _reranker(settings: Settings) -> Reranker | None:
    if settings.retrieval.reranker is None:
        return None
    from hybrid_memory.retrieval.rerank import make_reranker

    return make_reranker(settings.retrieval.reranker_kind, settings.retrieval.reranker)


def _language_model(settings: Settings, loaded: list[LocalLanguageModel]) -> LanguageModel:
    """Load the model on first use and keep it."""
    if not loaded:
        from hybrid_memory.weights.convert import resolve_language_model
        from hybrid_memory.weights.language_model import LocalLanguageModel

        loaded.append(
            LocalLanguageModel.load(
                resolve_language_model(settings.model.name),
                device=settings.model.device,
                dtype=settings.model.dtype,
                four_bit=settings.model.four_bit,
                threads=settings.model.threads,
                batch_size=settings.model.batch_size,
            )
        )
    return loaded[0]


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


def _judge(model: TextModel | None, settings: Settings, folder: Path) -> Judge | None:
    from hybrid_memory.routing.judge import Judge

    return None if model is None else Judge(model, calls=settings.routing.judge_calls, cache=folder / "judge.jsonl")


def _with_windows_of(settings: Settings, router: Router) -> Settings:
    """Return the settings with the policy's [windows] where memory.toml and the environment say nothing."""
    from hybrid_memory.routing.router import PolicyRouter

    if not isinstance(router, PolicyRouter):
        return settings
    given = settings.window.model_fields_set if "window" in settings.model_fields_set else set()
    wanted = {key: value for key, value in router.policy.windows if value is not None and key not in given}
    return settings.model_copy(update={"window": settings.window.model_copy(update=wanted)}) if wanted else settings


def router_of(policy: str, judge: Judge | None = None) -> Router:
    """Return the router of a policy, by its name or file, or one that a package offers by entry point.

    Raises:
        NotFoundError: there is no such policy, file or entry point of the group "hybrid_memory.routers".
        PolicyError: the policy cannot be used.
    """
    from hybrid_memory.routing.durability import SHIPPED, DurabilityClassifier
    from hybrid_memory.routing.policy import list_policies, load_policy
    from hybrid_memory.routing.router import PolicyRouter

    if policy not in list_policies() and not Path(policy).is_file():
        offered = [point for point in entry_points(group=ROUTERS) if point.name == policy]
        if offered:
            plugged: Router = offered[0].load()()
            return plugged
    tables = load_policy(policy)
    heads = DurabilityClassifier.load(Path(tables.classifier) if tables.classifier else SHIPPED)
    return PolicyRouter(tables, heads, judge)


def _workshop(settings: Settings, encoder: Encoder, language_model: Any, *, teacher: Any, ledger: Ledger) -> Workshop:
    from hybrid_memory.selfedit.augmentation import augmented
    from hybrid_memory.selfedit.deference import with_deference
    from hybrid_memory.selfedit.reading import with_evidence, with_neighbours
    from hybrid_memory.selfedit.verification import verify
    from hybrid_memory.weights.gate import Gate
    from hybrid_memory.weights.scaling import scale_adapter
    from hybrid_memory.weights.sharding import place, regroup
    from hybrid_memory.weights.trainer import LoraTrainer

    def prepared(edits: Sequence[SelfEdit]) -> list[SelfEdit]:
        chosen, seed = settings.self_edit, settings.training.seed
        kept = verify(
            edits,
            encoder=encoder,
            min_similarity=chosen.min_similarity,
            most=chosen.questions,
            held_out=chosen.held_out,
        )
        seen = augmented(kept, chosen.augmentations, seed=seed)
        read = with_evidence(
            seen, encoder=encoder, seed=seed, right=chosen.with_evidence, missed=chosen.missed_evidence
        )
        read = with_deference(read, seed=seed, count=chosen.deference)
        return with_neighbours(read, encoder=encoder, seed=seed, shots=chosen.shots, repeats=chosen.shot_repeats)

    return Workshop(
        language_model=language_model,
        generators=_generators(settings, encoder, language_model, teacher=teacher, ledger=ledger),
        prepare=prepared,
        trainer=LoraTrainer(language_model, settings.training),
        scale=scale_adapter,
        gate=Gate(language_model, settings.gate, encoder=encoder, min_similarity=settings.answer.shard_similarity),
        place=partial(place, cap=settings.window.shard_cap),
        regroup=partial(regroup, cap=settings.window.shard_cap),
    )


def _generators(
    settings: Settings, encoder: Encoder, language_model: LanguageModel, *, teacher: Any, ledger: Ledger
) -> list[SelfEditGenerator]:
    from hybrid_memory.selfedit.compiled import CompiledGenerator
    from hybrid_memory.selfedit.model import ModelGenerator
    from hybrid_memory.selfedit.neighbours import Neighbours
    from hybrid_memory.selfedit.outer_loop import serving_generator
    from hybrid_memory.selfedit.proposals import TrainedGenerator

    chosen = settings.self_edit
    if (teacher is None) != (chosen.generator != "teacher"):
        raise ConfigError(
            f"self_edit.generator is {chosen.generator!r} and {'no' if teacher is None else 'a'} teacher was given; "
            'set it to "teacher" and open with teacher=<a LlamaIndex LLM>, or neither'
        )
    if settings.training.seal_compat:
        return [_written(settings, language_model)]
    by_model = ModelGenerator(language_model, samples=chosen.samples, temperature=chosen.temperature)
    compiled = CompiledGenerator(Neighbours(encoder, folder=home() / "words"))
    adapter = serving_generator(ledger)
    trained = [TrainedGenerator(language_model, adapter, settings=settings.outer_loop)] if adapter else []
    by_name: dict[str, list[SelfEditGenerator]] = {
        "model": [by_model, *trained],
        "compiled": [compiled],
        "mixed": [compiled, by_model, *trained],
        "teacher": [_taught(settings, teacher)] if teacher is not None else [],
    }
    more = [_written(settings, language_model)] if chosen.prompts else []
    return [*by_name[chosen.generator], *more]


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


def _outer_loop(
    settings: Settings, language_model: Any, ledger: Ledger, store: AdapterStore, folder: Path
) -> OuterLoop:
    from hybrid_memory.selfedit.outer_loop import OuterLoop
    from hybrid_memory.weights.stacked import StackedTrainer
    from hybrid_memory.weights.trainer import LoraTrainer

    inner = settings.training.model_copy(update={"epochs": 1, "min_steps": settings.outer_loop.inner_steps})
    return OuterLoop(
        language_model=language_model,
        candidates=StackedTrainer(language_model, inner),
        trainer=LoraTrainer(language_model, settings.training),
        ledger=ledger,
        store=store,
        folder=folder,
        settings=settings.outer_loop,
        seed=settings.training.seed,
        provenance=_provenance(settings),
    )


def _provenance(settings: Settings) -> dict[str, Json]:
    return {
        "model": settings.model.name,
        "settings": settings.fingerprint(),
        "recipe": settings.training.model_dump(mode="json"),
        "packages": {name: version(name) for name in PACKAGES},
    }
