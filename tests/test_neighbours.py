"""Neighbouring passages: the parts of a document before and after those that were found."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.schema import Document
from paper import pdf
from sqlalchemy import event
from tiny_flow import open_memory

from hybrid_memory import archive
from hybrid_memory.config import Settings
from hybrid_memory.errors import ConfigError, InputError, NotFoundError
from hybrid_memory.integrations.llama_index import HybridMemoryRetriever
from hybrid_memory.integrations.mem0 import Memory
from hybrid_memory.memory import HybridMemory
from hybrid_memory.types import Example, Hit, Status

NAMES = ("anchors", "ballast", "cables", "davits", "engines", "fenders", "gangways")
SHORT = {"ingest": {"chunk_tokens": 32}}
"""Each sentence below is a part: two of them are longer than 32 tokens."""


def sentence(name: str, check: str = "every spring") -> str:
    return f"The {name} are looked after {check} by two people of the yard, who write into the book what they saw."


def manual(*names: str, **checks: str) -> str:
    return "\n\n".join(sentence(name, checks.get(name, "every spring")) for name in names or NAMES)


def write(folder: Path, text: str, name: str = "manual.txt") -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[HybridMemory]:
    with open_memory(tmp_path / "memory", **SHORT) as opened:
        yield opened


def named(hits: Iterable[Hit]) -> list[str]:
    """What the hits are about; a neighbour's name stands in brackets."""
    names = [hit.text.split()[1] for hit in hits]
    return [name if hit.beside is None else f"({name})" for name, hit in zip(names, hits, strict=True)]


def look(memory: HybridMemory, what: str, neighbours: int | None = 1, **options: Any) -> list[str]:
    return named(memory.search(what, **{"top_k": 1, "neighbours": neighbours, **options}))


# ---------------------------------------------------------------- searching


def test_parts_around_a_hit_come_along_in_the_documents_order(memory: HybridMemory, tmp_path: Path) -> None:
    memory.ingest(write(tmp_path, manual()))

    assert look(memory, "davits", 0) == ["davits"]
    assert look(memory, "davits", 1) == ["(cables)", "davits", "(engines)"]
    assert look(memory, "davits", 3) == [
        "(anchors)", "(ballast)", "(cables)", "davits", "(engines)", "(fenders)", "(gangways)",
    ]  # fmt: skip


def test_a_document_ends_where_it_ends(memory: HybridMemory, tmp_path: Path) -> None:
    memory.ingest("The anchorage is closed at night.")
    memory.ingest(write(tmp_path, manual()))
    memory.ingest("The gangway of the ferry is new.")

    assert look(memory, "anchors", 2) == ["anchors", "(ballast)", "(cables)"]
    assert look(memory, "gangways", 2) == ["(engines)", "(fenders)", "gangways"]


def test_without_being_asked_for_nothing_comes_along(memory: HybridMemory, tmp_path: Path) -> None:
    memory.ingest(write(tmp_path, manual()))

    assert look(memory, "davits", None) == ["davits"]
    assert memory.search("davits", top_k=3) == memory.search("davits", top_k=3, neighbours=0)


def test_the_setting_holds_where_the_call_says_nothing(tmp_path: Path) -> None:
    with open_memory(tmp_path / "memory", **SHORT, retrieval={"neighbours": 1}) as memory:
        memory.ingest(write(tmp_path, manual()))

        assert look(memory, "davits", None) == ["(cables)", "davits", "(engines)"]
        assert look(memory, "davits", 0) == ["davits"]


def test_a_part_comes_once_also_between_two_hits(memory: HybridMemory, tmp_path: Path) -> None:
    """Davits and fenders are found; the engines between them are beside both, and the stretch is one."""
    memory.ingest(write(tmp_path, manual()))
    memory.ingest("The wheel is new.")

    assert look(memory, "davits davits fenders", 1, top_k=2) == [
        "(cables)", "davits", "(engines)", "fenders", "(gangways)",
    ]  # fmt: skip


def test_a_hit_that_stands_beside_a_better_one_stays_a_hit(memory: HybridMemory, tmp_path: Path) -> None:
    memory.ingest(write(tmp_path, manual()))

    hits = memory.search("engines engines davits", top_k=2, neighbours=1)

    assert named(hits) == ["(cables)", "davits", "engines", "(fenders)"]
    assert hits[2].score > hits[1].score > 0


def test_the_document_of_the_best_hit_comes_first(memory: HybridMemory, tmp_path: Path) -> None:
    memory.ingest(write(tmp_path, manual("anchors", "ballast", "cables"), "first.txt"))
    memory.ingest(write(tmp_path, manual("davits", "engines", "fenders"), "second.txt"))

    assert look(memory, "engines engines ballast", 1, top_k=2) == [
        "(davits)", "engines", "(fenders)", "(anchors)", "ballast", "(cables)",
    ]  # fmt: skip


def test_a_neighbour_names_the_hit_that_brought_it(memory: HybridMemory, tmp_path: Path) -> None:
    memory.ingest(write(tmp_path, manual()))

    before, hit, after = memory.search("davits", top_k=1, neighbours=1)

    assert (before.beside, hit.beside, after.beside) == (hit.id, None, hit.id)
    assert (before.score, dict(before.scores)) == (0.0, {})
    assert math.isnan(before.similarity)
    assert before.explanation == (f"part 3, beside part 4 ({hit.id}), which was found",)
    assert hit.explanation == ()


@pytest.mark.parametrize("neighbours", [-1, 4, 1.0, True, "1"])
def test_a_number_out_of_range_is_refused(memory: HybridMemory, neighbours: Any) -> None:
    for ask in (memory.search, memory.query, memory.context):
        with pytest.raises(InputError, match="neighbours must be a whole number from 0 to 3, got"):
            ask("davits", neighbours=neighbours)


def test_a_setting_out_of_range_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"retrieval\.neighbours"):
        Settings.load({"retrieval": {"neighbours": 4}})


# ---------------------------------------------------------------- what is a document


def test_long_texts_and_llama_index_documents_have_neighbours_too(memory: HybridMemory) -> None:
    memory.ingest(manual("anchors", "ballast", "cables"))
    memory.ingest(Document(text=manual("davits", "engines", "fenders"), metadata={"title": "Yard"}))

    assert look(memory, "ballast") == ["(anchors)", "ballast", "(cables)"]
    assert look(memory, "engines") == ["(davits)", "engines", "(fenders)"]


def test_a_long_turn_of_a_conversation_has_neighbours_and_the_next_turn_is_none(memory: HybridMemory) -> None:
    memory.ingest([{"role": "user", "content": manual(*two)} for two in (("anchors", "ballast"), ("cables", "davits"))])

    assert look(memory, "ballast") == ["(anchors)", "ballast"]


def test_records_stored_together_that_are_no_parts_are_no_neighbours(memory: HybridMemory, tmp_path: Path) -> None:
    memory.ingest_many([sentence(name) for name in NAMES[:3]])
    lines = "\n".join(f'{{"text": "{sentence(name)}"}}' for name in NAMES[3:])
    memory.ingest(write(tmp_path, lines, "lines.jsonl"))

    assert look(memory, "ballast", 3) == ["ballast"]
    assert look(memory, "engines", 3) == ["engines"]


def test_a_page_goes_on_on_the_next_one(memory: HybridMemory, tmp_path: Path) -> None:
    """A short page is one record, of which only the page is known."""
    pages = [("anchors", "ballast"), ("cables",), ("davits", "engines")]
    memory.ingest(pdf(tmp_path / "manual.pdf", [" ".join(map(sentence, page)) for page in pages]))

    assert look(memory, "cables") == ["(ballast)", "cables", "(davits)"]
    assert look(memory, "anchors", 2) == ["anchors", "(ballast)", "(cables)"]
    assert look(memory, "anchors anchors engines", 1, top_k=2) == ["anchors", "(ballast)", "(davits)", "engines"]


# ---------------------------------------------------------------- what may be seen


def test_a_document_of_the_same_name_in_another_scope_never_mixes(memory: HybridMemory, tmp_path: Path) -> None:
    for user in ("ann", "bob"):
        memory.ingest(write(tmp_path, manual("anchors", "ballast", "cables", ballast=f"by {user}")), user_id=user)
    memory.ingest(write(tmp_path, manual("anchors", "ballast", "cables", ballast="by all")))

    for user in ("ann", "bob"):
        around = memory.search("anchors", top_k=1, neighbours=3, filters={"user_id": user}, user_id=user)
        assert [hit.record.scope.user_id for hit in around] == [user] * 3
    assert {hit.record.scope.user_id for hit in memory.search("anchors", top_k=1, neighbours=3)} == {None}


def test_a_neighbour_meets_the_filters_of_the_search(memory: HybridMemory, tmp_path: Path) -> None:
    memory.ingest(write(tmp_path, manual()))

    assert look(memory, "davits", 2, filters={"metadata.part": {"gte": 4}}) == ["davits", "(engines)", "(fenders)"]


def test_what_is_forgotten_leaves_a_gap(memory: HybridMemory, tmp_path: Path) -> None:
    parts = memory.ingest(write(tmp_path, manual())).records
    memory.forget(parts[NAMES.index("cables")])

    assert look(memory, "davits", 1) == ["davits", "(engines)"]
    assert look(memory, "davits", 2) == ["(ballast)", "davits", "(engines)", "(fenders)"]


def test_a_part_that_was_replaced_is_no_neighbour_any_more_but_was_one(memory: HybridMemory, tmp_path: Path) -> None:
    """What replaced it was not stored with the document, and stands alone."""
    before = datetime.now(UTC) - timedelta(days=2)
    parts = memory.ingest(write(tmp_path, manual()), observed_at=before).records
    memory.update(parts[NAMES.index("cables")], "The winches have taken the place of all wires.")

    assert look(memory, "davits", 1) == ["davits", "(engines)"]
    assert look(memory, "winches", 1) == ["winches"]
    assert look(memory, "davits", 1, as_of=before + timedelta(days=1)) == ["(cables)", "davits", "(engines)"]


def test_a_quarantined_part_is_no_neighbour(memory: HybridMemory, tmp_path: Path) -> None:
    receipt = memory.ingest(write(tmp_path, manual("anchors", "ballast", "cables")))
    held = memory.ingest(write(tmp_path, manual("davits", "engines", "fenders")), route="quarantine")

    assert len(receipt.records) == len(held.records) == 3
    assert look(memory, "cables", 3) == ["(anchors)", "(ballast)", "cables"]


def test_two_versions_of_a_document_never_mix(memory: HybridMemory, tmp_path: Path) -> None:
    """Read again with every part changed, both versions stand; each hit brings its own."""
    three = ("anchors", "ballast", "cables")
    memory.ingest(write(tmp_path, manual(*three)))
    memory.ingest(write(tmp_path, manual(*three, **dict.fromkeys(three, "in autumn"))))
    memory.ingest(write(tmp_path, manual(*three, ballast="on Mondays")))

    for when in ("spring", "autumn"):
        hits = memory.search(f"ballast {when}", top_k=1, neighbours=3)
        assert [when in hit.text for hit in hits] == [True] * 3
    assert look(memory, "ballast Mondays", 3) == ["ballast"]  # its neighbours were there before, by another call


def test_a_part_that_a_later_call_added_stands_alone(memory: HybridMemory, tmp_path: Path) -> None:
    """The file has grown since; its new part is stored next to the old ones, and says the same of itself as they do."""
    for names in (NAMES[:3], NAMES[:4]):
        memory.ingest(write(tmp_path, manual(*names)), observed_at=datetime(2026, 5, 3, tzinfo=UTC))

    assert look(memory, "davits", 3) == ["davits"]
    assert look(memory, "cables", 3) == ["(anchors)", "(ballast)", "cables"]


def test_files_of_the_same_name_that_are_stored_together_never_mix(memory: HybridMemory, tmp_path: Path) -> None:
    """They share all that is known of them; the second begins where its numbers begin again, also without its first."""
    files = [
        write(tmp_path, manual("anchors", "ballast"), "a/readme.txt"),
        write(tmp_path, manual("cables", "davits"), "b/readme.txt"),
        write(tmp_path, manual("anchors", "engines"), "c/readme.txt"),
    ]
    assert memory.ingest_many(files, observed_at=datetime(2026, 5, 3, tzinfo=UTC)).duplicates == 1

    assert look(memory, "ballast", 3) == ["(anchors)", "ballast"]
    assert look(memory, "cables", 3) == ["cables", "(davits)"]
    assert look(memory, "engines", 3) == ["engines"]


def test_all_neighbours_of_a_search_are_read_at_once(memory: HybridMemory, tmp_path: Path) -> None:
    """The ledger's clock and the passages; nothing more is asked of it for more hits, nothing at all without any."""
    memory.ingest(write(tmp_path, manual()))

    def asked(**options: Any) -> int:
        said: list[str] = []
        engine = memory._ledger._database._engine  # type: ignore[attr-defined]
        engine.dispose()  # the next connection is made anew, and listened to
        event.listen(engine, "connect", lambda made, _: made.set_trace_callback(said.append), once=True)
        memory.search("davits", **options)
        return sum(statement.lstrip().upper().startswith("SELECT") for statement in said)

    for top_k in (1, 4):
        plain = [asked(top_k=top_k) for _ in range(3)][-1]  # what may be seen is known by then, and until when
        assert asked(top_k=top_k, neighbours=0) == plain
        assert asked(top_k=top_k, neighbours=1) == plain + 2
    memory.ingest("A whistle is blown at six.")
    whole = {"metadata.part": {"exists": False}}
    plain = [asked(filters=whole) for _ in range(3)][-1]
    assert asked(filters=whole, neighbours=3) == plain


def test_a_part_that_was_found_by_its_sentence_has_neighbours_too(tmp_path: Path) -> None:
    """Sentences have numbers of their own, behind those of the parts; what is found, and comes along, are parts."""
    pages = "\n\n".join(
        f"The {name} in the second shed are old and rather heavy. Nobody at the yard oils the {name} in any winter."
        for name in NAMES
    )
    with open_memory(tmp_path / "memory", **SHORT) as memory:
        parts = memory.ingest(write(tmp_path, pages)).parts
        memory.ingest("The hawsers are new. Nobody has seen them.")

        hits = memory.search("Nobody at the yard oils the davits in any winter.", top_k=1, neighbours=2)
        last = memory.search("Nobody at the yard oils the gangways in any winter.", top_k=1, neighbours=2)

    assert len(parts) == len(NAMES)
    assert named(hits) == ["(ballast)", "(cables)", "davits", "(engines)", "(fenders)"]
    assert [hit.passage.position for hit in hits] == [0] * 5
    assert named(last) == ["(engines)", "(fenders)", "gangways"]


def test_a_restored_memory_knows_neighbours(memory: HybridMemory, tmp_path: Path) -> None:
    memory.ingest(write(tmp_path, manual()))
    exported = memory.export(tmp_path / "export.tar.gz")
    restored = Path(archive.restore(exported, tmp_path / "restored"))

    with open_memory(restored, **SHORT) as again:
        assert look(again, "davits") == ["(cables)", "davits", "(engines)"]


# ---------------------------------------------------------------- answering


def test_evidence_reads_in_the_documents_order_the_best_stretch_next_to_the_question(
    memory: HybridMemory, tmp_path: Path
) -> None:
    memory.ingest(write(tmp_path, manual("anchors", "ballast", "cables"), "first.txt"))
    memory.ingest(write(tmp_path, manual("davits", "engines", "fenders"), "second.txt"))
    question = "Who looks after the engines, the engines and the ballast?"

    context = memory.context(question, passages=2, neighbours=1)

    assert named(context.sources) == ["(davits)", "engines", "(fenders)", "(anchors)", "ballast", "(cables)"]
    facts = [line.split()[2] for line in context.messages[-1].content.splitlines() if line.startswith("Fact: ")]
    assert facts == ["anchors", "ballast", "cables", "davits", "engines", "fenders"]


def test_an_answer_stands_on_its_neighbours_too(memory: HybridMemory, tmp_path: Path) -> None:
    """They are sources, were shown, are explained, and what was made of the answer goes with them."""
    memory.ingest(write(tmp_path, manual("anchors", "ballast", "cables")))

    answer = memory.query("Who looks after the ballast?", mode="retrieval_only", neighbours=1)
    accepted = memory.feedback(answer.id, accepted=True).record_id

    assert named(answer.sources) == ["(anchors)", "ballast", "(cables)"]
    assert sorted(answer.shown) == sorted(hit.id for hit in answer.sources)
    assert "2 of the passages stand beside those found" in answer.trace
    assert set(memory.explain(answer).sources) == set(answer.shown)
    memory.forget(answer.sources[0].id)
    assert memory.get(str(accepted)).status is Status.FORGOTTEN
    with pytest.raises(NotFoundError):
        memory.explain(answer)


def test_neighbours_choose_no_adapter(memory: HybridMemory, tmp_path: Path) -> None:
    """The parts of a handbook are learned; which shard answers, and what is masked, is the same with neighbours."""
    memory.ingest(write(tmp_path, manual()), route="learn", trust="operator")
    memory.consolidate()
    question = "Who looks after the davits?"

    alone, beside = (memory.query(question, neighbours=count) for count in (0, 2))

    assert alone.adapters
    assert (beside.adapters, beside.masked) == (alone.adapters, alone.masked)
    assert named(beside.sources) == ["(ballast)", "(cables)", *named(alone.sources), "(engines)", "(fenders)"]
    assert [line for line in beside.trace if "beside" not in line][-1] == alone.trace[-1]


def test_evidence_that_is_left_out_to_save_tokens_brings_nothing_along(tmp_path: Path) -> None:
    with open_memory(tmp_path / "memory", **SHORT, answer={"without_evidence_from": 0.0, "second_look": 0}) as memory:
        memory.ingest(write(tmp_path, manual()), route="learn", trust="operator")
        memory.consolidate()

        answer = memory.query(sentence("davits"), neighbours=1)

        assert (named(answer.sources), answer.shown) == (["davits"], ())


def test_neighbours_vote_for_no_label(memory: HybridMemory, tmp_path: Path) -> None:
    memory.ingest(write(tmp_path, manual()))
    memory.ingest_many(
        [Example(f"The {color} lamp at gate {gate} is out.", "repair") for color in ("red", "green") for gate in (1, 2)]
    )
    question = "The red lamp at gate 3 is out."

    alone, beside = (memory.query(question, neighbours=count) for count in (0, 3))

    assert alone.vote == beside.vote == {"repair": 1.0}
    assert alone.sources == beside.sources


@pytest.mark.parametrize("options", [{"passages": 0}, {"mode": "weights_only"}])
def test_where_there_is_no_evidence_there_is_nothing_beside_it(
    memory: HybridMemory, tmp_path: Path, options: dict[str, Any]
) -> None:
    memory.ingest(write(tmp_path, manual()))

    assert memory.query("Who looks after the davits?", neighbours=1, **options).sources == ()


def test_who_knows_nothing_abstains_with_neighbours_too(tmp_path: Path) -> None:
    with open_memory(tmp_path / "memory", **SHORT, answer={"min_similarity": 0.9, "min_confidence": 1.0}) as memory:
        memory.ingest(write(tmp_path, manual()))

        answer = memory.query("When does the davits' keeper sleep?", neighbours=3)

        assert (answer.abstained, answer.sources) == (True, ())


# ---------------------------------------------------------------- other doors


def test_llama_index_gets_neighbours_as_nodes(memory: HybridMemory, tmp_path: Path) -> None:
    memory.ingest(write(tmp_path, manual()))

    nodes = HybridMemoryRetriever(memory, top_k=1, neighbours=1).retrieve("davits")

    assert [node.text.split()[1] for node in nodes] == ["cables", "davits", "engines"]
    assert [node.metadata.get("beside") for node in nodes] == [nodes[1].node_id, None, nodes[1].node_id]
    assert [node.score == 0.0 for node in nodes] == [True, False, True]


def test_who_counts_on_top_k_gets_no_more(tmp_path: Path) -> None:
    """Whatever the setting says: mem0's `top_k` is a promise."""
    with open_memory(tmp_path / "memory", **SHORT, retrieval={"neighbours": 1}) as memory:
        memory.ingest(write(tmp_path, manual()), user_id="ann")

        assert len(Memory(memory).search("davits", user_id="ann", top_k=1)["results"]) == 1
