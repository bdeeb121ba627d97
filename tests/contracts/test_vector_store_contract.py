"""One contract for every dense store: FAISS, and LlamaIndex's SimpleVectorStore, Chroma, Qdrant and pgvector.

Over the real ledger and the real retriever; expected rankings come from NumPy over the very same vectors.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ledger_entries import ANN, BEN, day, decided, drafted, open_ledger
from stores import NAMES, PERSISTENT, Backend, backend

from hybrid_memory.retrieval.encoder import unit_rows
from hybrid_memory.retrieval.retriever import HybridRetriever
from hybrid_memory.testing import open_tiny_memory
from hybrid_memory.types import Entry, FloatArray, Hit, Scope, Slot

DIM = 8
EVERYONE = Scope()
pytestmark = [
    # chromadb 1.5, qdrant-client 1.20 and their drivers at import or at interpreter exit; none is about our calls
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect in the local Qdrant:UserWarning"),
    pytest.mark.filterwarnings("ignore:XDG_RUNTIME_DIR is not set:RuntimeWarning"),
]


@dataclass(frozen=True)
class Directions:
    """An encoder: every text has a random direction, spelled by its letters and a salt."""

    fingerprint: str = "directions"
    dim: int = DIM
    vocabulary: tuple[str, ...] = ()

    def encode(self, texts: Sequence[str]) -> FloatArray:
        return (
            unit_rows(np.stack([self._one(text) for text in texts])) if texts else np.zeros((0, self.dim), np.float32)
        )

    def _one(self, text: str) -> FloatArray:
        seed = int.from_bytes(hashlib.sha256(f"{self.fingerprint}/{text}".encode()).digest()[:8])
        return np.random.default_rng(seed).standard_normal(self.dim, dtype=np.float32)


@dataclass
class Bench:
    """A ledger, a store and the retriever over both."""

    folder: Path
    backend: Backend
    encoder: Directions = Directions()
    texts: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.ledger = open_ledger(self.folder)
        self.open()

    def open(self, *, encoder: Directions | None = None, for_reindex: bool = False) -> HybridRetriever:
        """A new process would do the same: a new retriever over what is on disk."""
        self.store = self.backend.open()
        self.retriever = HybridRetriever(
            self.ledger,
            encoder or self.encoder,
            self.folder / "index",
            lexical_weight=0,
            vector_store=self.store,
            for_reindex=for_reindex,
        )
        return self.retriever

    def put(self, *texts: str, **given: Any) -> list[str]:
        """Write records, each with one passage and its place in the call; return their ids."""
        entries = [
            Entry(
                draft=drafted(text, **{"scope": EVERYONE, "metadata": {"place": place}, **given}),
                decision=decided(),
                vectors=self.encoder.encode([text]),
                encoder=self.encoder.fingerprint,
            )
            for place, text in enumerate(texts)
        ]
        return [str(receipt.record_id) for receipt in self.ledger.write(entries)]

    def ask(self, question: str, *, top_k: int = 10, scope: Scope = EVERYONE, **options: Any) -> list[Hit]:
        vector = self.encoder.encode([question])
        return self.retriever.search(question, vector=vector, scope=scope, top_k=top_k, **options)

    def found(self, question: str, **options: Any) -> list[str]:
        return [hit.text for hit in self.ask(question, **options)]

    def nearest(self, question: str, texts: Sequence[str], top_k: int) -> list[str]:
        """The oracle: NumPy, no index."""
        cosines = self.encoder.encode(texts) @ self.encoder.encode([question])[0]
        return [texts[row] for row in np.argsort(-cosines)[:top_k]]

    @property
    def nodes(self) -> int:
        return self.backend.count(self.store)


@pytest.fixture(params=NAMES)
def bench(request: pytest.FixtureRequest, tmp_path: Path, server: Callable[[], str]) -> Iterator[Bench]:
    with backend(request.param, tmp_path, server) as kind:
        made = Bench(tmp_path, kind)
        yield made
        made.ledger.close()


def names(count: int) -> list[str]:
    return [f"fact {number}" for number in range(count)]


needs_a_store = pytest.mark.parametrize("bench", NAMES[1:], indirect=True)
keeps_itself = pytest.mark.parametrize("bench", PERSISTENT, indirect=True)


# ---------------------------------------------------------------- what every store must do


def test_ranking_and_cosines_equal_exact_search_in_numpy(bench: Bench) -> None:
    """Whatever the store calls a similarity, ours is the cosine."""
    bench.put(*names(200))

    hits = bench.ask("where?", top_k=10)

    expected = bench.nearest("where?", names(200), 10)
    cosines = bench.encoder.encode(expected) @ bench.encoder.encode(["where?"])[0]
    assert [hit.text for hit in hits] == expected
    assert [hit.similarity for hit in hits] == pytest.approx(cosines.tolist(), abs=1e-5)


@pytest.mark.parametrize("share", [0.005, 0.05, 0.5, 0.95])
def test_top_k_is_k_of_the_selection(bench: Bench, share: float) -> None:
    """The selection comes before the search: k results at every selectivity, the same as NumPy's."""
    several = names(200)
    bench.put(*several)
    first = int(200 * share)

    found = bench.found("where?", filters={"metadata.place": {"lt": first}})

    assert found == bench.nearest("where?", several[:first], 10)


def test_another_users_passages_are_never_found(bench: Bench) -> None:
    """Even when all the nearest ones belong to somebody else."""
    close = bench.nearest("where?", names(60), 60)
    bench.put(*close[:50], scope=ANN)
    bench.put(*close[50:], scope=BEN)

    assert bench.found("where?", scope=BEN) == close[50:]
    assert bench.found("where?", scope=ANN) == close[:10]
    assert bench.found("where?", scope=EVERYONE) == []


def test_only_the_current_value_is_found_and_history_answers_as_of(bench: Bench) -> None:
    """The ledger's supersession reaches the store without a word to it."""
    slot = Slot("museum", "closing time")
    bench.put("closes at five", slot=slot, value="five", valid_from=day(0))
    bench.put("closes at six", slot=slot, value="six", valid_from=day(100))

    assert bench.found("closes at five") == ["closes at six"]
    assert bench.found("closes at six", as_of=day(50)) == ["closes at five"]


def test_what_has_expired_or_not_begun_is_not_found(bench: Bench) -> None:
    """Validity is decided at the moment of the question, not of the writing."""
    now = datetime.now(UTC)
    bench.put("over", valid_to=day(1))
    bench.put("not yet", valid_from=now + timedelta(days=1))
    bench.put("now")

    assert bench.found("over") == ["now"]


def test_what_is_forgotten_leaves_the_store_at_the_next_catch_up(bench: Bench) -> None:
    """Not hidden: gone, and the count of nodes says so."""
    ids = bench.put(*names(20))
    bench.retriever.catch_up()
    bench.ledger.forget(ids[3:6])

    bench.retriever.catch_up()

    assert not {"fact 3", "fact 4", "fact 5"} & set(bench.found("where?", top_k=20))
    assert bench.retriever.check() == []
    if bench.backend.name != "faiss":
        assert bench.nodes == 17


def test_what_was_written_a_moment_ago_is_found(bench: Bench) -> None:
    """A search catches up with the ledger first."""
    bench.put("first")
    bench.ask("second")
    bench.put("second")

    assert bench.found("second", top_k=1) == ["second"]


def test_an_empty_memory_finds_nothing(bench: Bench) -> None:
    """No passages, no hits, no error; neither when the last one is forgotten."""
    assert bench.ask("anything") == []

    (only,) = bench.put("only")
    bench.ask("only")
    bench.ledger.forget([only])

    assert bench.ask("only") == []
    assert bench.retriever.check() == []


def test_a_reopened_memory_goes_on_where_it_was(bench: Bench) -> None:
    """Nothing is sent twice, nothing is missing."""
    bench.put(*names(30))
    bench.retriever.catch_up()
    bench.retriever.save()
    bench.put("one more")

    assert bench.open().catch_up() == 1
    assert bench.retriever.check() == []
    if bench.backend.name != "faiss":
        assert bench.nodes == 31


def test_another_encoder_takes_all_vectors_over(bench: Bench) -> None:
    """After reindexing, the new encoder's vectors rank, and the old ones are gone."""
    bench.put(*names(40))
    bench.retriever.catch_up()
    other = Directions("other")

    assert bench.open(encoder=other, for_reindex=True).reindex(other) == 40

    bench.encoder = other
    assert bench.found("where?") == bench.nearest("where?", names(40), 10)
    assert bench.open().check() == []
    if bench.backend.name != "faiss":
        assert bench.nodes == 40


# ---------------------------------------------------------------- what a store may suffer


@needs_a_store
def test_what_was_forgotten_while_the_store_was_away_leaves_it_at_the_next_opening(bench: Bench) -> None:
    """The memory works without its store, names what the store still holds, and catches up when it is back."""
    ids = bench.put(*names(10))
    bench.retriever.catch_up()
    without = HybridRetriever(bench.ledger, bench.encoder, bench.folder / "index")
    bench.ledger.forget(ids[:2])

    (problem,) = without.check()
    bench.open().catch_up()

    assert "still holds 2 vectors of passages that were forgotten" in problem
    assert bench.nodes == 8
    assert without.check() == []


@needs_a_store
def test_a_ledger_put_back_from_a_backup_is_not_mixed_with_later_vectors(bench: Bench, tmp_path: Path) -> None:
    """The same passage numbers mean other texts now; the store's vectors of before are not trusted."""
    bench.put("before")
    bench.ledger.backup(tmp_path / "backup.sqlite")
    bench.put("lost one", "lost two")
    bench.retriever.catch_up()
    bench.ledger.close()
    for file in tmp_path.glob("ledger.sqlite*"):
        file.unlink()
    shutil.copy(tmp_path / "backup.sqlite", tmp_path / "ledger.sqlite")

    bench.ledger = open_ledger(tmp_path)
    bench.open()
    bench.put("new one", "new two")

    assert bench.found("new two", top_k=1) == ["new two"]
    assert sorted(bench.found("lost one")) == ["before", "new one", "new two"]
    assert bench.nodes == 3


@needs_a_store
def test_other_nodes_in_the_same_store_are_neither_found_nor_touched(bench: Bench) -> None:
    """A collection may be shared with another application."""
    from llama_index.core.schema import TextNode

    row = bench.encoder.encode(["where?"])[0].tolist()
    bench.store.add([TextNode(id_="1b671a64-40d5-491e-99b0-da01ff1f3341", text="theirs", embedding=row)])
    ids = bench.put(*names(20))

    assert bench.found("where?") == bench.nearest("where?", names(20), 10)
    bench.ledger.forget(ids)
    bench.retriever.catch_up()
    assert bench.nodes == 1


@needs_a_store
def test_two_retrievers_over_one_store_send_each_passage_once(bench: Bench) -> None:
    """Two processes that share a store see what the other has sent."""
    bench.put(*names(10))
    bench.retriever.catch_up()
    other = HybridRetriever(
        bench.ledger, bench.encoder, bench.folder / "index", lexical_weight=0, vector_store=bench.store
    )
    other.catch_up()
    bench.put("from one")
    bench.retriever.catch_up()
    other.catch_up()
    bench.put("from the other")
    other.catch_up()

    assert bench.found("from the other", top_k=1) == ["from the other"]
    assert bench.nodes == 12


@keeps_itself
def test_a_store_that_was_emptied_is_filled_again(bench: Bench) -> None:
    """Somebody dropped the collection; the ledger has every vector."""
    bench.put(*names(20))
    bench.retriever.catch_up()
    bench.store.clear()

    bench.open()

    assert bench.found("where?") == bench.nearest("where?", names(20), 10)
    assert bench.nodes == 20


@keeps_itself
@pytest.mark.parametrize(("before", "written"), [(0, 7), (10, 0), (10, 7), (10, 20)])
def test_a_process_that_dies_while_it_sends_leaves_nothing_twice_and_nothing_out(
    bench: Bench, before: int, written: int
) -> None:
    """Killed after 0, 7 or all 20 of a batch were in the store, before that was written down."""
    bench.put(*names(before))
    bench.retriever.catch_up()
    bench.put(*(f"late {number}" for number in range(20)))
    everything = names(before) + [f"late {number}" for number in range(20)]
    add = type(bench.store).add

    def dying(self: Any, nodes: Sequence[Any], **options: Any) -> None:
        if written:
            add(self, list(nodes)[:written])
        raise Died("killed")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(bench.store), "add", dying)
        with pytest.raises(Died, match="killed"):
            bench.retriever.catch_up()

    assert bench.nodes == before + written
    assert bench.open().catch_up() == 20
    assert bench.retriever.check() == []
    assert bench.nodes == before + 20
    assert bench.found("where?") == bench.nearest("where?", everything, 10)


class Died(BaseException):
    """As abrupt as a kill: nothing of ours catches it."""


@pytest.mark.slow
@keeps_itself
@pytest.mark.parametrize("before", [0, 10])
def test_a_process_that_is_killed_while_it_sends_loses_nothing(
    bench: Bench, tmp_path: Path, server: Callable[[], str], before: int
) -> None:
    """SIGKILL to another process in the middle of its first batch, or of a later one."""
    bench.put(*names(before))
    bench.retriever.catch_up()
    bench.put(*(f"late {number}" for number in range(20)))
    bench.backend.close()
    uri = server() if bench.backend.name == "pgvector" else "none"
    worker = Path(__file__).with_name("store_crash_worker.py")

    command = [sys.executable, str(worker), bench.backend.name, str(tmp_path), uri, "7"]
    environment = {**os.environ, "PYTHONPATH": str(worker.parents[1])}
    run = subprocess.run(command, env=environment, capture_output=True, check=False)

    assert run.returncode == -signal.SIGKILL, run.stderr
    bench.open()
    assert bench.nodes == before + 7
    assert bench.retriever.catch_up() == 20
    assert bench.retriever.check() == []
    assert bench.found("late 3", top_k=1) == ["late 3"]
    assert bench.nodes == before + 20


# ---------------------------------------------------------------- the whole memory over it


@needs_a_store
def test_a_whole_memory_works_over_the_store(bench: Bench, tmp_path: Path) -> None:
    """Ingest, search, forget and doctor as with FAISS; the receipt's probe finds nothing."""
    with open_tiny_memory(tmp_path / "whole", vector_store=bench.backend.open(dim=384)) as memory:
        kept = memory.ingest("The harbour café opens at nine.", user_id="ann")
        gone = memory.ingest("The museum closes at six.", user_id="ann")

        assert memory.search("harbour café", user_id="ann", top_k=1)[0].id == kept.record_id
        receipt = memory.forget(gone.record_id)

        assert receipt.retrieval["still_found"] == 0
        assert memory.doctor()["problems"] == []
        assert memory.search("museum", user_id="ben") == []
