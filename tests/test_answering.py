"""Answering: which adapters serve a question, what stands in the prompt, and when "I don't know" is the answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from answer_bench import FERRY, LAMP, PAGE, PRICE, RULE, Bench, direction, hit
from ledger_entries import ANN, BEN, SLOT, day, decided, drafted
from records import record

from hybrid_memory.answering.abstention import abstains
from hybrid_memory.answering.adapter_choice import AdapterChooser, Choice
from hybrid_memory.answering.prompting import prompt
from hybrid_memory.evidence import UNKNOWN
from hybrid_memory.ordinary import study_prompts
from hybrid_memory.streaming import AnswerStream
from hybrid_memory.types import (
    Entry,
    Example,
    Kind,
    Learning,
    Mode,
    Route,
    Scope,
)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.ledger.close()


def ids(choice: Choice) -> list[str]:
    return [version.id for version in choice.adapters]


# ------------------------------------------------------------ which adapters serve


def test_the_shard_whose_nearest_record_is_closest_serves(bench: Bench) -> None:
    """10 degrees from the ferry, 80 from the lamp: cosine 0.98."""
    ferry = bench.learn(bench.write(FERRY))
    lamp = bench.learn(bench.write(LAMP), shard="facts-2")

    assert ids(bench.choose("Where is the ferry?")) == [ferry]
    assert ids(bench.choose("Who mends lamps?")) == [lamp]
    assert bench.choose("Where is the ferry?").similarity == pytest.approx(np.cos(np.radians(10)), abs=1e-6)


@pytest.mark.parametrize(("margin", "least", "count"), [(0.0, 0.5, 1), (0.07, 0.5, 1), (0.08, 0.5, 2), (0.08, 0.7, 1)])
def test_a_second_shard_speaks_along_when_it_is_nearly_as_close(
    bench: Bench, margin: float, least: float, count: int
) -> None:
    """The ferry at 42 degrees is a cosine of 0.743, the lamp at 48 of 0.669: 0.074 less."""
    ferry = bench.learn(bench.write(FERRY))
    lamp = bench.learn(bench.write(LAMP), shard="facts-2")

    assert ids(bench.choose("Between ferry and lamp?", margin=margin, least=least)) == [ferry, lamp][:count]


def test_a_second_shard_is_of_the_firsts_kind_and_current(bench: Bench) -> None:
    """Examples do not join facts, and what is stale is not summed with what holds."""
    ferry = bench.learn(bench.write(FERRY))
    bench.learn(bench.write(PRICE), shard="examples-1", group="examples")
    lamp = bench.write(LAMP)
    bench.learn(lamp, shard="facts-2")
    bench.write("The ferry waits at pier two.", supersedes=lamp)

    assert ids(bench.choose("Where is the ferry?", margin=1.0, least=0.0)) == [ferry]


def test_a_shard_that_is_too_far_away_does_not_serve(bench: Bench) -> None:
    """42 degrees are a cosine of 0.74."""
    ferry = bench.learn(bench.write(FERRY))

    near, far = (bench.choose("Between ferry and lamp?", least=least) for least in (0.74, 0.75))

    assert ids(near) == [ferry]
    assert ids(far) == []
    assert far.reason == "nearest learned record is too far (0.74)"


def test_behaviour_serves_every_question_of_its_scope(bench: Bench) -> None:
    """First in the sum, near or far, alone or with facts; never in another user's scope."""
    rule = bench.learn(bench.write(RULE, kind=Kind.PREFERENCE), shard="behaviour-1", group="behaviour")
    alone = bench.choose("Something else entirely?")
    ferry = bench.learn(bench.write(FERRY))

    assert ids(alone) == ids(bench.choose("Something else entirely?")) == [rule]
    assert ids(bench.choose("Where is the ferry?")) == [rule, ferry]
    assert ids(bench.choose("Where is the ferry?", scope=BEN)) == []


def test_the_organisations_shards_serve_everybody(bench: Bench) -> None:
    """A shard of the tenant is seen by its users, not by others."""
    shared = bench.learn(bench.write(FERRY, scope=Scope(tenant_id="acme")), scope=Scope(tenant_id="acme"))

    assert ids(bench.choose("Where is the ferry?", scope=BEN)) == [shared]
    assert ids(bench.choose("Where is the ferry?", scope=Scope(tenant_id="other"))) == []


def test_a_shard_is_masked_where_what_it_learned_is_stale(bench: Bench) -> None:
    """The ferry moved: that question is answered without the shard, its other one still with it."""
    version = bench.learn(bench.write(FERRY, slot=SLOT, value="nine"), bench.write(LAMP))
    bench.write("The ferry waits at pier two.", slot=SLOT, value="two", valid_from=day(5))

    moved = bench.choose("Where is the ferry?")

    assert (ids(moved), moved.masked) == ([], (version,))
    assert moved.reason == f"{version} is masked: what it learned here is stale"
    assert ids(bench.choose("Who mends lamps?")) == [version]


def test_a_shard_with_a_forgotten_record_serves_nothing(bench: Bench) -> None:
    """Until it is rebuilt, not even for its other records."""
    ferry = bench.write(FERRY)
    bench.learn(ferry, bench.write(LAMP))

    bench.ledger.forget([ferry])

    assert ids(bench.choose("Who mends lamps?")) == ids(bench.choose("Where is the ferry?")) == []


def test_a_chooser_notices_what_happens_in_the_ledger(bench: Bench) -> None:
    """A promotion, a rollback and switching off count at once, in every scope it was asked for."""
    chooser = AdapterChooser(bench.ledger, min_similarity=0.5)
    question = direction("Where is the ferry?")[None]

    def serving() -> list[list[str]]:
        return [ids(chooser.choose(question, scope)[0]) for scope in (ANN, BEN)]

    assert serving() == [[], []]
    ferry = bench.write(FERRY)
    first = bench.learn(ferry)
    assert serving() == [[first], []]
    second = bench.learn(ferry)
    assert serving() == [[second], []]
    bench.ledger.activate("facts-1", first)
    assert serving() == [[first], []]
    bench.ledger.activate("facts-1", None)
    assert serving() == [[], []]


def test_many_questions_are_chosen_for_at_once(bench: Bench) -> None:
    """One choice each, in order; none for none."""
    ferry = bench.learn(bench.write(FERRY))
    asked = ["Where is the ferry?", "Something else entirely?", "Where is the ferry?"]
    chooser = AdapterChooser(bench.ledger, min_similarity=0.5)

    found = chooser.choose(np.stack([direction(one) for one in asked]), ANN)

    assert [ids(one) for one in found] == [[ferry], [], [ferry]]
    assert chooser.choose(np.zeros((0, 2), np.float32), ANN) == []


# ------------------------------------------------------------ what stands in the prompt


def test_the_best_fact_stands_next_to_the_question() -> None:
    """Facts worst first, then the question, in one turn."""
    turns = prompt("Where?", [hit("Best fact."), hit("Second fact.")], [], dated="never")

    text = turns[-1].content
    assert len(turns) == 1
    assert text.index("Second fact.") < text.index("Best fact.") < text.index("Where?")


def test_rules_stand_first_and_examples_are_turns() -> None:
    """System, the worse example, the better one, the question as it was asked."""
    worse, better = (hit(f"{n}", kind=Kind.EXAMPLE, examples=(Example(f"in {n}", f"out {n}"),)) for n in "ab")

    turns = prompt("in c", [better, worse], [record("Be brief."), record("Be kind.")], dated="never")

    assert [(turn.role, turn.content) for turn in turns] == [
        ("system", "Be brief.\nBe kind."),
        ("user", "in a"),
        ("assistant", "out a"),
        ("user", "in b"),
        ("assistant", "out b"),
        ("user", "in c"),
    ]


@pytest.mark.parametrize(
    ("dated", "count", "shown"),
    [("never", 2, False), ("several", 1, False), ("several", 2, True), ("always", 1, True)],
)
def test_dates_are_shown_when_asked_for(dated: str, count: int, shown: bool) -> None:
    """To tell newer facts from older ones."""
    hits = [hit(f"Fact {number}.", valid_from=day(3)) for number in range(count)]

    assert ("2024-01-04" in prompt("Where?", hits, [], dated=dated)[-1].content) is shown


def test_a_plain_question_is_asked_as_it_is() -> None:
    """Without evidence there is nothing to add."""
    assert [turn.content for turn in prompt("Wo ist die Fähre? ☕", [], [], dated="always")] == ["Wo ist die Fähre? ☕"]


# ------------------------------------------------------------ answers


def test_both_halves_answer_together(bench: Bench) -> None:
    """The evidence is in the prompt, the adapter is on, and the answer says so."""
    ferry = bench.write(FERRY)
    version = bench.learn(ferry)

    found = bench.ask("Where is the ferry?")[0]

    assert (found.text, found.adapters, [one.id for one in found.sources]) == ("It is so.", (version,), [ferry])
    assert FERRY in bench.lm.asked[0]
    assert found.confidence == pytest.approx(np.exp(-1))
    assert set(found.seconds) == {"retrieve", "choose", "generate"}
    assert found.trace == ("1 passages of evidence, 0 rules stated", f"{version} knows a record at 0.98")


def test_each_half_can_answer_alone(bench: Bench) -> None:
    """The same object is its own baseline."""
    version = bench.learn(bench.write(FERRY))
    bench.write(RULE, kind=Kind.PREFERENCE)

    retrieved = bench.ask("Where is the ferry?", mode=Mode.RETRIEVAL_ONLY)[0]
    learned = bench.ask("Where is the ferry?", mode=Mode.WEIGHTS_ONLY)[0]

    assert (retrieved.adapters, len(retrieved.sources)) == ((), 1)
    assert (learned.adapters, len(learned.sources)) == ((version,), 0)
    assert [len(chat) for chat in bench.lm.chats] == [2, 1]
    assert bench.lm.chats[1][0].content == "Where is the ferry?"


def test_the_past_is_answered_from_evidence_alone(bench: Bench) -> None:
    """Adapters know only the present, and rules are those of that time."""
    bench.learn(bench.write(FERRY))
    bench.write(RULE, kind=Kind.PREFERENCE, valid_from=day(30))

    found = bench.ask("Where is the ferry?", as_of=day(10))[0]

    assert found.adapters == ()
    assert [turn.role for turn in bench.lm.chats[0]] == ["user"]
    assert bench.ask("Where is the ferry?", as_of=day(40))
    assert [turn.role for turn in bench.lm.chats[1]] == ["system", "user"]


def test_what_was_known_then_is_answered_from_evidence_alone(bench: Bench) -> None:
    """Adapters came later, rules and facts are those that had been recorded, and the trace says so."""
    ferry = bench.write(FERRY)
    then = datetime.now(UTC)
    bench.learn(ferry)
    bench.write(RULE, kind=Kind.PREFERENCE)
    bench.write(LAMP)

    found = bench.ask("Where is the ferry?", known_at=then)[0]

    assert (found.adapters, [hit.record.id for hit in found.sources]) == ((), [ferry])
    assert [hit.record.learning for hit in found.sources] == [Learning.QUEUED]  # not learned yet
    assert found.no_adapter.startswith("weights are left out: the past is asked for")
    assert [turn.role for turn in bench.lm.chats[0]] == ["user"]


def test_a_rule_is_stated_until_an_adapter_that_serves_has_learned_it(bench: Bench) -> None:
    """And again when that adapter is left out."""
    rule = bench.write(RULE, kind=Kind.PREFERENCE)

    bench.ask("Something else entirely?")
    bench.learn(rule, shard="behaviour-1", group="behaviour")
    bench.ask("Something else entirely?")
    bench.ask("Something else entirely?", mode=Mode.RETRIEVAL_ONLY)

    assert [[turn.role for turn in chat] for chat in bench.lm.chats] == [
        ["system", "user"],
        ["user"],
        ["system", "user"],
    ]
    assert bench.lm.chats[0][0].content == RULE


def test_a_shard_is_left_out_when_evidence_is_nearer_than_what_it_learned(bench: Bench) -> None:
    """The price is only in retrieval: one degree away, where the shard's ferry is 44."""
    version = bench.learn(bench.write(FERRY))
    price = bench.write(PRICE)

    found = bench.ask("What is a ticket?")[0]

    assert (found.adapters, [one.id for one in found.sources]) == ((), [price])
    assert found.no_adapter == (
        f"{version} left out: evidence is nearer (1.00 > 0.72); the best evidence waits for the next window"
    )


def test_examples_are_shown_when_the_question_looks_like_one(bench: Bench) -> None:
    """Each as two turns, up to the limit; facts stay out."""
    for text in ("Hello -> Ahoy", "Good evening -> Ahoy there"):
        given, wanted = text.split(" -> ")
        bench.write(text, kind=Kind.EXAMPLE, examples=(Example(given, wanted),))
    bench.write(FERRY)

    bench.ask("Hello!")
    bench.ask("Hello!", demonstrations=1)

    assert [turn.content for turn in bench.lm.chats[0]] == ["Good evening", "Ahoy there", "Hello", "Ahoy", "Hello!"]
    assert [turn.content for turn in bench.lm.chats[1]] == ["Hello", "Ahoy", "Hello!"]


def labelled(bench: Bench) -> list[str]:
    """Two examples labelled A, and one B that is nearest to "Hello!"."""
    said = {"Hello -> Ahoy": "B", "Good evening -> Ahoy there": "A", "Something else entirely?": "A"}
    return [bench.write(text, kind=Kind.EXAMPLE, examples=(Example(text, label),)) for text, label in said.items()]


def test_a_label_is_voted_for_without_asking_the_model(bench: Bench) -> None:
    """At 1 degree B has a weight of e^10, at 9 and 121 degrees the two A have less: B, and no token is spent."""
    labelled(bench)
    bench.learn(bench.write(RULE, kind=Kind.PREFERENCE), shard="behaviour-1", group="behaviour")

    answer = bench.ask("Hello!", min_similarity=-1.0)[0]

    assert (answer.text, answer.prompt_tokens, bench.lm.batches, answer.adapters) == ("B", 0, [], ())
    assert len(answer.sources) == 3
    assert "label B" in answer.trace[-1]


def test_a_filter_by_kind_says_what_kind_of_question_it_is(tmp_path: Path) -> None:
    """Ten tickets and ten ordinary questions draw a line; "Hello!" is beyond it, unless examples are asked for."""
    tickets = {f"ticket {number}": number / 10 for number in range(10)}
    bench = Bench(tmp_path, {**tickets, **dict.fromkeys(study_prompts(), 120.0), "Hello!": 100.0})
    for text in tickets:
        draft = drafted(text, kind=Kind.EXAMPLE, examples=(Example(text, "A"),))
        decision = decided(Route.RETRIEVE, kind=Kind.EXAMPLE)
        vectors = bench.encoder.encode([text])
        bench.ledger.write([Entry(draft=draft, decision=decision, vectors=vectors, encoder=bench.encoder.fingerprint)])

    plain = bench.ask("Hello!", min_similarity=-1.0)[0]
    named = bench.ask("Hello!", min_similarity=-1.0, filters={"and": [{"kind": "example"}]})[0]

    assert (plain.text, named.text) == ("It is so.", "A")


def test_no_shard_of_examples_serves_who_leaves_examples_out(bench: Bench) -> None:
    """However it is said, and though a ticket is what the question is nearest to."""
    version = bench.learn(*labelled(bench), shard="examples-1", group="examples")
    bench.write(FERRY)

    def serving(filters: dict[str, Any] | None) -> tuple[str, ...]:
        return bench.ask("Hello!", mode=Mode.WEIGHTS_ONLY, filters=filters)[0].adapters

    assert serving(None) == serving({"source": {"ne": "wiki"}}) == (version,)
    assert serving({"kind": {"ne": "example"}}) == serving({"not": {"kind": "example"}}) == serving({"id": "x"}) == ()


@pytest.mark.parametrize(
    ("filters", "serve"),
    [({"kind": "example"}, []), ({"kind": {"eq": "example"}}, []), ({"kind": {"ne": "example"}}, ["facts-1-v1"])],
)
def test_no_shard_of_facts_serves_who_asks_for_examples(
    bench: Bench, filters: dict[str, Any], serve: list[str]
) -> None:
    """Asking for anything but examples is not asking for them."""
    bench.learn(bench.write(FERRY))

    assert list(bench.ask("Where is the ferry?", filters=filters)[0].adapters) == serve


def test_an_adapter_that_learned_the_labels_weighs_in(bench: Bench) -> None:
    """It is 9 nats surer of A per token; the behaviour adapter has no say in a label."""
    bench.learn(bench.write(RULE, kind=Kind.PREFERENCE), shard="behaviour-1", group="behaviour")
    version = bench.learn(*labelled(bench), shard="examples-1", group="examples")
    bench.lm.scores = {"A": -1.0, "B": -10.0}

    answer = bench.ask("Hello!", min_similarity=-1.0)[0]

    assert (answer.text, answer.adapters) == ("A", (version,))
    assert bench.lm.batches == [(2, (version,))]


def test_behaviour_has_the_last_word_after_a_fact(bench: Bench) -> None:
    """The shard of facts answers alone and stops after its statement; the behaviour adapter goes on from there."""
    rule = bench.learn(bench.write(RULE, kind=Kind.PREFERENCE), shard="behaviour-1", group="behaviour")
    facts = bench.learn(bench.write(FERRY))

    answer = bench.ask("Where is the ferry?")[0]

    assert bench.lm.batches == [(1, (facts,)), (1, (rule,))]
    assert bench.lm.begun == [("It is so.",)]
    assert (answer.text, answer.completion_tokens) == ("It is so. It is so.", 2)
    assert answer.adapters == (facts, rule)


def test_behaviour_has_no_word_in_what_a_shard_of_examples_answers(bench: Bench) -> None:
    """From the weights alone it is most likely a label, which takes no closing words."""
    bench.learn(bench.write(RULE, kind=Kind.PREFERENCE), shard="behaviour-1", group="behaviour")
    version = bench.learn(*labelled(bench), shard="examples-1", group="examples")

    assert bench.ask("Hello!", mode=Mode.WEIGHTS_ONLY)[0].text == "It is so."
    assert bench.lm.batches == [(1, (version,))]


def test_an_answer_with_a_last_word_is_streamed_whole(bench: Bench) -> None:
    """The space between the two is streamed too."""
    bench.learn(bench.write(RULE, kind=Kind.PREFERENCE), shard="behaviour-1", group="behaviour")
    bench.learn(bench.write(FERRY))
    pieces: list[str] = []

    answer = bench.ask("Where is the ferry?", on_text=pieces.append)[0]

    assert "".join(pieces) == answer.text == "It is so. It is so."


def test_evidence_that_is_too_far_away_is_left_out(bench: Bench) -> None:
    """42 degrees are 0.74; one word of two in common does not help."""
    bench.write(FERRY)

    assert [len(bench.ask("Between ferry and lamp?", min_similarity=least)[0].sources) for least in (0.74, 0.75)] == [
        1,
        0,
    ]
    assert bench.ask("Where is the ferry?", passages=0)[0].sources == ()


def test_evidence_that_says_the_words_of_the_question_is_near_enough(bench: Bench) -> None:
    """A page about several things is near to no question by meaning: here it lies 100 degrees away, a cosine of -0.17.

    It says both words of the question and gets the whole weight of words, 1.25; a bar above that keeps it out.
    """
    page = bench.write("The ferry waits at pier nine. Ann leads Team Red. Team Blue mends lamps. Tickets cost four.")
    bench.write(PRICE)

    found = {bar: bench.ask("Who mends lamps?", min_words=bar, sentences=0)[0].sources for bar in (1.2, 1.3)}

    assert [hit.record.id for hit in found[1.2]] == [page]
    assert page not in [hit.record.id for hit in found[1.3]]


def test_the_prompt_shows_the_sentence_of_a_page_that_is_nearest(bench: Bench) -> None:
    """Lamps are 10 degrees from the question, the price 35, the ferry 80. A model of the caller's gets the page."""
    page = bench.write(PAGE)

    answer = bench.ask("Who mends lamps?")[0]
    context = bench.answerer().context("Who mends lamps?", scope=ANN, mode=Mode.HYBRID)

    assert [(hit.id, hit.excerpt) for hit in answer.sources] == [(page, LAMP)]
    assert bench.lm.chats[0] == prompt("Who mends lamps?", answer.sources, (), dated="never")
    assert FERRY not in bench.lm.chats[0][0].content
    assert "1 of the passages cut to what is nearest to the question: answer.sentences" in answer.trace
    assert PAGE in context.messages[0].content


def test_questions_that_share_adapters_are_generated_together(bench: Bench) -> None:
    """Three questions, two calls; answers come back in the order of the questions."""
    version = bench.learn(bench.write(FERRY))

    found = bench.ask("Where is the ferry?", "Something else entirely?", "Where is the ferry?")

    assert bench.lm.batches == [(2, (version,)), (1, ())]
    assert [one.question for one in found] == ["Where is the ferry?", "Something else entirely?", "Where is the ferry?"]
    assert len({one.id for one in found}) == 3


def test_no_question_needs_no_model(bench: Bench) -> None:
    """An empty batch is answered by nothing."""
    assert bench.ask() == []
    assert bench.lm.batches == []


def test_the_context_is_what_would_be_sent(bench: Bench) -> None:
    """For the caller's own model: messages, sources, adapters, and what is masked."""
    version = bench.learn(bench.write(FERRY, slot=SLOT, value="nine"))
    bench.write("The ferry waits at pier two.", slot=SLOT, value="two", valid_from=day(5))
    bench.write(RULE, kind=Kind.PREFERENCE)

    found = bench.answerer().context(
        "Where is the ferry?", scope=ANN, mode=Mode.HYBRID, filters=None, as_of=None, passages=None
    )
    bench.ask("Where is the ferry?")

    assert found.messages == bench.lm.chats[0]
    assert (found.adapters, found.masked) == ((), (version,))
    assert [one.text for one in found.sources] == ["The ferry waits at pier two."]


# ------------------------------------------------------------ abstention


@pytest.mark.parametrize(
    ("evidence", "learned", "confidence", "threshold", "silent"),
    [
        (False, False, 0.39, 0.4, True),
        (False, False, 0.4, 0.4, False),
        (True, False, 0.1, 0.4, False),
        (False, True, 0.1, 0.4, False),
        (False, False, 0.0, 0.0, False),
    ],
)
def test_only_an_unsure_answer_that_stands_on_nothing_is_withheld(
    evidence: bool, learned: bool, confidence: float, threshold: float, silent: bool
) -> None:
    """A threshold of zero never abstains."""
    assert abstains(evidence=evidence, learned=learned, confidence=confidence, threshold=threshold) is silent


def test_an_unsure_answer_is_replaced_by_i_dont_know(bench: Bench) -> None:
    """exp(-1) = 0.37 is less than 0.4; with evidence it stands."""
    bench.write(FERRY)

    silent = bench.ask("Something else entirely?", min_confidence=0.4)[0]
    sure = bench.ask("Something else entirely?", min_confidence=0.3)[0]
    informed = bench.ask("Where is the ferry?", min_confidence=0.4)[0]

    assert (silent.text, silent.abstained) == (UNKNOWN, True)
    assert silent.trace[-1] == "abstained: no evidence, no adapter, confidence 0.37"
    assert [(one.text, one.abstained) for one in (sure, informed)] == [("It is so.", False)] * 2


def test_a_shard_that_says_what_it_studied_for_unknown_things_abstains(bench: Bench) -> None:
    """Its words stay, with the closing of a preference behind them."""
    bench.learn(bench.write(FERRY))
    bench.lm.answers = [f"{UNKNOWN} Ahoy."]

    (answer,) = bench.ask("Where is the ferry?", mode=Mode.WEIGHTS_ONLY)

    assert (answer.text, answer.abstained) == (f"{UNKNOWN} Ahoy.", True)
    assert answer.trace[-1] == "abstained: that nothing is known is what was learned for such questions"


@pytest.mark.parametrize("question", ["Where is the ferry?", "Something else entirely?"])
@pytest.mark.parametrize("least", [0.0, 0.3, 0.4])
def test_what_is_streamed_is_the_answer(bench: Bench, question: str, least: float) -> None:
    """Also when it is withheld: the reader never sees what the answer then denies."""
    bench.write(FERRY)

    stream = AnswerStream(lambda on_text: bench.ask(question, min_confidence=least, on_text=on_text)[0])

    assert "".join(stream) == stream.answer.text
    assert stream.answer.abstained is (least == 0.4 and question == "Something else entirely?")


def test_an_answer_knows_its_scope_only_by_its_evidence(bench: Bench) -> None:
    """Another user's question finds neither the record nor the adapter."""
    bench.learn(bench.write(FERRY))

    found = bench.ask("Where is the ferry?", scope=replace(ANN, user_id="ben"))[0]

    assert (found.sources, found.adapters) == ((), ())
