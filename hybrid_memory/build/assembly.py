"""The parts of a memory, put together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

from hybrid_memory.adapters import Adapters
from hybrid_memory.asking import Asking
from hybrid_memory.build.foundation import Foundation, lay, make_folder
from hybrid_memory.build.learning import imported, make_consolidation, make_outer_loop, teacher_of
from hybrid_memory.build.routing import default_screens, make_judge, router_of, with_windows_of
from hybrid_memory.config import LedgerSettings, Settings
from hybrid_memory.consolidation import Consolidation
from hybrid_memory.forgetting import Forgetting
from hybrid_memory.intake import Intake
from hybrid_memory.memory import HybridMemory
from hybrid_memory.parts import Parts
from hybrid_memory.protocols import Encoder, LanguageModel, Router, Screen, TextModel
from hybrid_memory.receipts import key_in
from hybrid_memory.rerouting import Rerouting
from hybrid_memory.restating import Restating
from hybrid_memory.review import Review
from hybrid_memory.textmodels import asking, require_complete
from hybrid_memory.verdicts import Verdicts

__all__ = ["build"]


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
    extractor: Any = None,
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
        extractor: a model with `complete(prompt)` or `chat(messages)` that states turns of conversations anew.
        for_reindex: accept vectors of another encoder; only `reindex` works then.
    """
    from hybrid_memory.routing.opinions import Opinions

    require_complete(judge, what="a judge")
    require_complete(proposer, what="a proposer")
    asked = teacher_of(settings, teacher)
    extract = _extracting(settings, extractor)
    make_folder(folder)
    base: Foundation
    opinions = Opinions(folder / "judge.jsonl", salt=cache(lambda: base.ledger.salt()))  # the ledger opens below
    load_router = partial(router_of, judge=make_judge(judge, settings, opinions))  # a file may change meanwhile
    router = load_router(settings.routing.policy)
    settings = with_windows_of(settings, router)
    base = lay(folder, settings, encoder=encoder, model=model, vector_store=vector_store, for_reindex=for_reindex)
    consolidation = make_consolidation(base, teacher=asked)
    screens = default_screens(settings.routing.screens)
    rerouting = Rerouting(ledger=base.ledger, screens=screens, router=router, load_router=load_router)
    intake = _intake(
        base,
        consolidation,
        rerouting,
        screens=screens,
        router=router,
        load_router=load_router,
        proposer=proposer,
        extract=extract,
    )
    forgetting = _forgetting(base, consolidation, opinions.forget)
    adapters = Adapters(base.ledger, base.store, base=lambda: base.language_model().fingerprint)
    return Parts(
        folder=folder,
        settings=settings,
        encoder=base.encoder,
        ledger=base.ledger,
        retriever=base.retriever,
        store=base.store,
        upkeep=base.upkeep,
        intake=intake,
        asking=_asking(base, adapters, forgetting),
        verdicts=Verdicts(ledger=base.ledger, answers=base.answers, intake=intake),
        rerouting=rerouting,
        consolidation=consolidation,
        forgetting=forgetting,
        adapters=adapters,
        review=Review(base.ledger, forgetting),
        outer_loop=partial(make_outer_loop, base),
        language_model=base.language_model,
        beside=partial(
            _beside, settings=settings, encoder=base.encoder, language_model=base.language_model, teacher=teacher
        ),
    )


@contextmanager
def _beside(
    folder: Path, settings: Settings, *, encoder: Encoder, language_model: Callable[[], LanguageModel], teacher: Any
) -> Iterator[HybridMemory]:
    """Open an empty memory in another folder, with one's own encoder, language model, settings and teacher.

    What is told to it comes with its route and slot, so judge, proposer and extractor are not asked again; its index
    is FAISS, because a foreign vector store holds the memory's own vectors. Its windows open when they are called; when
    it is closed, its adapters leave the language model.
    """
    by_call = settings.window.model_copy(update={"queue_size": 0, "cron": None})
    ingest = settings.ingest.model_copy(update={"extractor": None})
    aside = settings.model_copy(update={"ledger": LedgerSettings(), "window": by_call, "ingest": ingest})
    model = language_model()
    with HybridMemory(build(folder, aside, encoder=encoder, model=model, teacher=teacher)) as memory:
        yield memory
        for version in memory.adapters.list():
            model.release(version.id)


def _extracting(settings: Settings, given: Any) -> Callable[[str], str] | None:
    """Return how the extractor is asked; None when there is none. One that is only named is made when it is asked.

    Raises:
        ConfigError: it cannot be asked, or cannot be imported.
    """
    path = settings.ingest.extractor
    if given is not None:
        return asking(given, what="an extractor")
    if path is None:
        return None
    made = cache(imported(path, setting="ingest.extractor"))
    return lambda prompt: asking(made(), what="an extractor")(prompt)


def _intake(
    base: Foundation,
    consolidation: Consolidation,
    rerouting: Rerouting,
    *,
    screens: tuple[Screen, ...],
    router: Router,
    load_router: Callable[[str], Router],
    proposer: TextModel | None,
    extract: Callable[[str], str] | None,
) -> Intake:
    from hybrid_memory.ingest.extractor import Extractor
    from hybrid_memory.ingest.reader import Reader

    chosen = base.settings.ingest
    reader = Reader(
        chunk_tokens=chosen.chunk_tokens,
        max_chars=chosen.max_chars,
        attributes=chosen.attributes,
        proposer=proposer,
    )
    restating = None
    if extract is not None:
        extractor = Extractor(extract, rules=reader.rules, timeout_s=chosen.extractor_timeout_s)
        restating = Restating(extractor=extractor, screens=screens, ledger=base.ledger)
    return Intake(
        reader=reader,
        restating=restating,
        screens=screens,
        router=router,
        load_router=load_router,
        encoder=base.encoder,
        ledger=base.ledger,
        retriever=base.retriever,
        rerouting=rerouting,
        stored=consolidation.run_when_full,
        by_sentences=chosen.sentences,
    )


def _asking(base: Foundation, adapters: Adapters, forgetting: Forgetting) -> Asking:
    from hybrid_memory.answering.answerer import Answerer

    answerer = Answerer(
        ledger=base.ledger,
        retriever=base.retriever,
        encoder=base.encoder,
        language_model=base.language_model,
        settings=base.settings.answer,
    )
    return Asking(
        ledger=base.ledger,
        encoder=base.encoder,
        retriever=base.retriever,
        answerer=answerer,
        answers=base.answers,
        adapters=adapters,
        upkeep=base.upkeep,
        forgetting=forgetting,
        neighbours=base.settings.retrieval.neighbours,
    )


def _forgetting(
    base: Foundation, consolidation: Consolidation, forget_opinions: Callable[[Sequence[str]], int]
) -> Forgetting:
    return Forgetting(
        ledger=base.ledger,
        retriever=base.retriever,
        encoder=base.encoder,
        upkeep=base.upkeep,
        consolidation=consolidation,
        answers=base.answers,
        forget_opinions=forget_opinions,
        language_model=base.language_model,
        key=partial(_receipt_key, base),
    )


def _receipt_key(base: Foundation) -> bytes | None:
    file = base.settings.forget.key_file
    return None if file is None else key_in(base.folder / Path(file).expanduser())
