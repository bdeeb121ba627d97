"""Study material: what is written for a record, what verification keeps, what is read with evidence in sight."""

from __future__ import annotations

import string
from collections.abc import Sequence
from pathlib import Path
from random import Random

import numpy as np
import pytest
from records import record
from written import Writer

from hybrid_memory.forms import checkable_form, shapes_behaviour
from hybrid_memory.ordinary import read_facts, study_prompts
from hybrid_memory.protocols import LanguageModel, SelfEditGenerator
from hybrid_memory.selfedit.compiled import CompiledGenerator
from hybrid_memory.selfedit.demonstrations import DemonstrationGenerator
from hybrid_memory.selfedit.fitting import Refuses, fitted, without_too_long
from hybrid_memory.selfedit.model import ModelGenerator, is_question
from hybrid_memory.selfedit.neighbours import Neighbours
from hybrid_memory.selfedit.preferences import practice, short
from hybrid_memory.selfedit.reading import with_evidence, with_neighbours
from hybrid_memory.selfedit.verification import verify
from hybrid_memory.statements import content_words, statements
from hybrid_memory.testing import TableEncoder, WordEncoder, tiny_language_model
from hybrid_memory.types import Example, FloatArray, Kind, SelfEdit, StudyItem

FERRY = "The night ferry leaves from pier twelve."
LAMP = "Team Blue mends broken lamps within two days."


class Synonyms:
    """An encoder in which each word has one neighbour, its twin in capitals: both point the same way."""

    dim = 26
    fingerprint = "synonyms"
    vocabulary: Sequence[str] = ("vessel", "nocturnal", "zebra")

    def encode(self, texts: Sequence[str]) -> FloatArray:
        meant = {"vessel": "ferry", "nocturnal": "night"}
        rows = np.zeros((len(texts), self.dim), dtype=np.float32)
        for row, text in zip(rows, texts, strict=True):
            row[string.ascii_lowercase.index(meant.get(text, text)[0])] = 1.0
        return rows


def question(prompt: str, response: str, *, held_out: bool = False) -> StudyItem:
    return StudyItem(prompt=prompt, response=response, form="question", held_out=held_out)


def statement(text: str) -> StudyItem:
    return StudyItem(prompt="", response=text, form="statement")


def edit(record_id: str, *items: StudyItem) -> SelfEdit:
    return SelfEdit(record_id=record_id, items=items, generator="test", seed=0)


def prompts(given: SelfEdit, *, held_out: bool = False, form: str = "question") -> list[str]:
    return [item.prompt for item in given.items if item.form == form and item.held_out is held_out]


# ------------------------------------------------------------ statements


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The ferry waits. Lunch is at nine! Is it?", ["The ferry waits.", "Lunch is at nine!"]),
        ("The tank holds 3.5 litres of fuel. Fill it daily.", ["The tank holds 3.5 litres of fuel.", "Fill it daily."]),
        ("Ask e.g. Team Blue. Dr. Ash is away.", ["Ask e.g. Team Blue.", "Dr. Ash is away."]),
        (
            "- Forms lie here\n- Keys hang there\n1. Lock the door",
            ["Forms lie here", "Keys hang there", "Lock the door"],
        ),
        ('End with "Safe roads." Then you stop writing.', ['End with "Safe roads."', "Then you stop writing."]),
        ("Closed.", ["Closed."]),
        ("  Two \n words ", ["Two words"]),
        ("Über die Brücke führt kein Weg.", ["Über die Brücke führt kein Weg."]),
    ],
)
def test_a_text_is_cut_into_its_statements(text: str, expected: list[str]) -> None:
    """Sentences and list lines of three words or more; a short text whole; no sign is lost."""
    assert statements(text) == expected


def test_content_words_leave_out_those_that_carry_no_meaning() -> None:
    """Figures, codes and letters beyond ASCII stay; a text of function words has none."""
    assert content_words("What is it that they were?") == []
    assert content_words("Öffnet um 9:30 in B-12.") == ["Öffnet", "um", "9:30", "B-12"]


# ------------------------------------------------------------ forms


ENDS = "We open at Nine."


@pytest.mark.parametrize(
    ("rule", "answer"),
    [
        ('End every answer with "Safe roads."', "We open at Nine. Safe roads."),
        ("Always sign off with 'Stay dry!'.", "We open at Nine. Stay dry!"),
        ("Finish by saying “All clear.”", "We open at Nine. All clear."),
        ("Conclude your replies with «Bis bald»", "We open at Nine. Bis bald"),
        ("End with 'Don't panic.'", "We open at Nine. Don't panic."),
        ('End every answer to a guest with the words "Come again."', "We open at Nine. Come again."),
        ('End every answer with "Never give up."', "We open at Nine. Never give up."),
        ('Begin every reply with "Ahoy,"', "Ahoy, We open at Nine."),
        ('Start your answers "Note:"', "Note: We open at Nine."),
        ("Open with „Guten Tag,“", "Guten Tag, We open at Nine."),
        ("Answer in lower case.", "we open at nine."),
        ("Write everything in capital letters.", "WE OPEN AT NINE."),
    ],
)
def test_a_rule_with_a_form_is_followed_by_making_it(rule: str, answer: str) -> None:
    """Beginnings, endings and letters, in the quotation marks people use."""
    form = checkable_form(rule)

    assert form is not None
    assert form(ENDS) == answer


@pytest.mark.parametrize(
    "rule",
    [
        "Be kind.",
        "Close the door when it's cold.",
        "Never end an answer with 'Cheers.'",
        'Please don\'t start with "Well,"',
        'End every answer with "Safe roads." when talking to drivers.',
        'In the end, call me "Boss".',
        "Do not use capital letters.",
        "Use capital letters for the names of ships.",
        "End every answer with a joke.",
        "",
    ],
)
def test_a_rule_without_a_sure_form_has_none(rule: str) -> None:
    """What forbids, holds sometimes, or only looks like a quotation is left to be learned as it stands."""
    assert checkable_form(rule) is None


def test_only_preferences_shape_behaviour() -> None:
    """A fact that quotes a rule does not."""
    rule = 'End every answer with "Ahoy."'

    assert shapes_behaviour(record(rule, kind=Kind.PREFERENCE))
    assert not shapes_behaviour(record(rule, kind=Kind.FACT))
    assert not shapes_behaviour(record("Be kind.", kind=Kind.PREFERENCE))


# ------------------------------------------------------------ neighbours


def test_words_are_swapped_for_their_neighbours() -> None:
    """Each word of the text at most once for each place; words without neighbours stay."""
    neighbours = Neighbours(Synonyms())
    neighbours.learn(FERRY)

    assert neighbours.vary(FERRY, Random(0), share=1.0) == "The nocturnal vessel leaves from pier twelve."
    assert neighbours.vary(FERRY, Random(0), share=0.0) == FERRY


def test_parts_of_words_are_left_alone() -> None:
    """Letters beyond ASCII belong to the word."""
    neighbours = Neighbours(Synonyms())
    neighbours.learn("ferry nightä")

    assert neighbours.vary("ferryß und nightä", Random(0), share=1.0) == "ferryß und nightä"


def test_an_encoder_without_words_varies_nothing() -> None:
    """A table has no neighbours."""
    neighbours = Neighbours(WordEncoder())
    neighbours.learn(FERRY)

    assert neighbours.vary(FERRY, Random(0), share=1.0) == FERRY


@pytest.mark.parametrize("rubbish", [b"", b"\x93NUMPY", b"not an array"])
def test_a_spoilt_table_of_words_is_made_again(tmp_path: Path, rubbish: bytes) -> None:
    """Empty, cut off, or something else; what is kept is found by the next process."""
    file = tmp_path / "words" / "synonyms-3.npy"
    file.parent.mkdir()
    file.write_bytes(rubbish)
    neighbours = Neighbours(Synonyms(), folder=file.parent)

    neighbours.learn(FERRY)

    assert neighbours.vary("ferry", Random(0), share=1.0) == "vessel"
    assert np.load(file).shape == (3, 26)
    assert [path.name for path in file.parent.iterdir()] == [file.name]


# ------------------------------------------------------------ the compiled generator


def compiled() -> CompiledGenerator:
    return CompiledGenerator(Neighbours(Synonyms()))


def shown(lm: LanguageModel | None = None) -> DemonstrationGenerator:
    return DemonstrationGenerator(lm or Writer(), Neighbours(Synonyms()))


def test_all_generators_are_generators() -> None:
    """The type checker compares them with the protocol here."""
    lm: LanguageModel = Writer()
    kept: list[SelfEditGenerator] = [compiled(), ModelGenerator(lm, samples=2, temperature=1.0), shown()]

    assert [one.name for one in kept] == ["compiled", "model", "demonstrations"]


def test_a_statement_is_studied_whole_completed_and_asked_for() -> None:
    """The answer is always the statement; cuts lie at a third and at two thirds of its seven words."""
    items = compiled().write(record(FERRY), seed=0).items

    assert items[0] == statement(FERRY)
    assert [item.prompt for item in items if item.form == "completion"] == [
        "Complete the sentence: The night",
        "Complete the sentence: The night ferry leaves",
    ]
    assert {item.response for item in items} == {FERRY}
    assert sum(item.form == "question" and not item.held_out for item in items) >= 4


def test_what_is_written_depends_on_the_record_and_the_seed_alone() -> None:
    """First, second, or after another one."""
    ferry, lamp = record(FERRY), record(LAMP)
    generator = compiled()

    first = generator.write(ferry, seed=0)
    generator.write(lamp, seed=0)

    assert generator.write(ferry, seed=0) == first == compiled().write(ferry, seed=0)
    assert generator.write(ferry, seed=1) != first


def test_held_out_questions_are_not_studied() -> None:
    """Over many seeds, no question is both."""
    for seed in range(30):
        written = compiled().write(record(FERRY), seed=seed)
        assert not set(prompts(written)) & set(prompts(written, held_out=True))


@pytest.mark.parametrize("text", ["It is what it is.", "Closed.", "{}: {0} %s", "☕ 早く起きる", "."])
def test_texts_of_few_or_odd_words_get_material_too(text: str) -> None:
    """Only stop words, one word, braces, no letters of ours."""
    items = compiled().write(record(text), seed=0).items

    assert items[0].response == text
    assert all(item.response for item in items)


# ------------------------------------------------------------ the model as generator


def test_the_model_writes_questions_for_each_statement() -> None:
    """What is no question goes, and is counted; the same question twice counts once."""
    lm = Writer(questions=["Where does the ferry leave?", "Pier nine.", "Where does the ferry leave?", "Why?"])

    written = ModelGenerator(lm, samples=4, temperature=1.0).write(record(f"{FERRY} {LAMP}"), seed=0)

    assert written.items == (
        question("Where does the ferry leave?", FERRY),
        question("Where does the ferry leave?", LAMP),
    )
    assert written.dropped == {"no question": 6}
    assert all(one.endswith(f"Statement: {text}\nQuestion:") for one, text in zip(lm.asked, (FERRY, LAMP), strict=True))


def test_a_real_model_writes_the_same_for_the_same_seed() -> None:
    """The tiny model writes nonsense, which is dropped, but always the same nonsense."""
    lm = tiny_language_model()
    generator = ModelGenerator(lm, samples=3, temperature=1.0)

    assert generator.write(record(f"{FERRY} {LAMP}"), seed=1) == generator.write(record(f"{FERRY} {LAMP}"), seed=1)


@pytest.mark.parametrize(
    ("line", "whole"),
    [
        ("Which gate is it?", True),
        ("Why?", False),
        ("It is gate 4.", False),
        ("", False),
        ("A Statement: is it?", False),
    ],
)
def test_a_question_has_four_words_and_its_mark(line: str, whole: bool) -> None:
    """Anything else is not worth studying."""
    assert is_question(line) is whole


# ------------------------------------------------------------ examples, and practice of preferences


def test_an_example_is_its_own_material() -> None:
    """And, where words have neighbours, a variation of it is held out for the gate."""
    example = Example("Where is the ferry?", "harbour")
    written = shown().write(record(FERRY, kind=Kind.EXAMPLE, examples=(example,)), seed=3)

    assert [(item.prompt, item.response) for item in written.items if not item.held_out] == [
        (example.prompt, example.response)
    ]
    assert all("vessel" in item.prompt for item in written.items if item.held_out)


def test_what_is_shown_and_what_is_stated_are_written_about_by_one_generator_each() -> None:
    """Nobody asks the model about a labelled pair, and a statement is not practised."""
    lm = Writer(["Yes."], questions=["Where does the ferry leave?"])
    pair = record("a -> b", kind=Kind.EXAMPLE, examples=(Example("a", "b"),))
    rule = record('End every answer with "Ahoy."', kind=Kind.PREFERENCE)

    for generator in (compiled(), ModelGenerator(lm, samples=1, temperature=1.0)):
        assert generator.write(pair, seed=0).items == generator.write(rule, seed=0).items == ()
    assert shown(lm).write(record(FERRY), seed=0).items == ()
    assert lm.asked == []


def test_a_preference_is_practised_on_the_models_own_answers() -> None:
    """Two of six are held out, evenly spread; the others are studied."""
    items = practice('End every answer with "Ahoy."', list("abcdef"), Writer(["Yes. It is.", "No."]), held_out=2)

    assert all(item.own for item in items)

    assert [item.response for item in items[:2]] == ["Yes. It is. Ahoy.", "No. Ahoy."]
    assert [item.prompt for item in items if item.held_out] == ["a", "d"]
    assert [item.prompt for item in items] == list("abcdef")


def test_a_preference_is_practised_on_evidence_too() -> None:
    """The answer is what the fact says, in the rule's form."""
    facts = [("The pool is shut on Mondays.", "When is the pool shut?")]

    items = practice('End every answer with "Ahoy."', ["a"], Writer(["Yes."]), facts=facts, held_out=0)

    assert items[1:] == [
        StudyItem(
            prompt="When is the pool shut?",
            response="The pool is shut on Mondays. Ahoy.",
            form="evidence",
            evidence=("The pool is shut on Mondays.",),
        )
    ]


def test_a_third_of_the_practice_stands_beside_a_fact_that_does_not_answer_it() -> None:
    """Its answer stays the model's own; what is held out is asked plainly."""
    facts = [("One.", "Which?"), ("Two.", "What?")]

    items = practice("Answer in lower case.", list("abcdefghi"), Writer(["Yes."]), facts=facts, held_out=1)

    assert [(item.prompt, item.evidence) for item in items[:9] if item.evidence] == [
        ("b", ("One.",)),
        ("e", ("Two.",)),
        ("h", ("One.",)),
    ]
    assert {item.response for item in items[:9]} == {"yes."}
    assert [item.prompt for item in items if item.held_out] == ["a"]


@pytest.mark.parametrize(("answered", "held_out"), [(1, 0), (2, 1), (3, 1), (5, 2), (9, 4), (20, 4)])
def test_at_most_half_of_the_practice_is_held_out(answered: int, held_out: int) -> None:
    """A model that answers few prompts in whole sentences still has something to study."""
    answers = ["Yes."] * answered + ["no end"] * 20
    items = practice("Answer in lower case.", [str(n) for n in range(answered + 20)], Writer(answers), held_out=4)

    assert len(items) == answered
    assert sum(item.held_out for item in items) == held_out


def test_a_preference_without_a_form_asks_the_model_nothing() -> None:
    """There would be no way to make its answers follow it."""
    lm = Writer(["Yes."])

    assert practice("Be kind.", ["a"], lm, held_out=1) == []
    assert lm.asked == []


def test_preferences_are_practised_on_the_study_half() -> None:
    """The gate's probe prompts are never among them."""
    lm = Writer(["Yes."])
    rule = record('End every answer with "Ahoy."', kind=Kind.PREFERENCE)

    written = shown(lm).write(rule, seed=0)

    prompts, facts = study_prompts(), read_facts()
    assert [item.prompt for item in written.items[: len(prompts)]] == prompts == lm.asked
    assert [(item.evidence[0], item.prompt) for item in written.items[len(prompts) :]] == facts
    assert sum(item.held_out for item in written.items) == 4


@pytest.mark.parametrize(
    ("answer", "kept"),
    [
        ("It is 3.5 km. Walk! Or run. And r", "It is 3.5 km. Walk!"),
        ("Wait... what? No.", "Wait... what?"),
        ("no sentence at all", ""),
        ("", ""),
        ("One.\n\nTwo.\nThree.", "One. Two."),
        ("Schön. 早く。", "Schön."),
    ],
)
def test_an_answer_is_cut_to_two_whole_sentences(answer: str, kept: str) -> None:
    """A figure with a point in it is not torn apart."""
    assert short(answer) == kept


# ------------------------------------------------------------ verification

VECTORS = {
    "east": [1, 0],
    "north": [0, 1],
    "east?": [1, 0],
    "rather east?": [0.96, 0.28],
    "rather  EAST": [0.96, 0.28],
    "half east?": [0.8, 0.6],
    "half north?": [0.6, 0.8],
    "away?": [-1, 0],
    "north?": [0, 1],
}
TABLE = TableEncoder(VECTORS)


def checked(*edits: SelfEdit, least: float = 0.3, most: int = 10, held_out: int = 0) -> list[SelfEdit]:
    return verify(edits, encoder=TABLE, min_similarity=least, most=most, held_out=held_out)


def test_a_question_must_lead_to_its_own_statement() -> None:
    """Nearest first; one that is nearer to the other record goes, one that is near to none goes."""
    asked = ["away?", "half north?", "half east?", "east?"]
    east = edit("e", statement("east"), *(question(one, "east") for one in asked))

    found = checked(east, edit("n", question("north?", "north")))[0]

    assert prompts(found) == ["east?", "half east?"]
    assert found.items[0] == statement("east")
    assert found.dropped["leads to another record"] == 2


def test_a_question_must_be_close_enough() -> None:
    """0.8 is not 0.9."""
    found = checked(edit("e", question("half east?", "east"), question("rather east?", "east")), least=0.9)[0]

    assert prompts(found) == ["rather east?"]


def test_the_same_words_are_studied_once() -> None:
    """Case and punctuation do not make another question; nor may one be studied that the gate asks."""
    found = checked(edit("e", *(question(one, "east") for one in ("rather  EAST", "rather east?", "east?"))))[0]
    probe = question("rather east?", "east", held_out=True)
    probed = checked(edit("e", question("rather  EAST", "east"), question("east?", "east"), probe))[0]

    assert prompts(found) == ["east?", "rather  EAST"]
    assert found.dropped["asked before"] == 1
    assert prompts(probed) == ["east?"]


@pytest.mark.parametrize("most", [0, 1, 2])
def test_no_more_questions_are_kept_than_asked_for(most: int) -> None:
    """Held-out ones do not count, whether they were there or are taken now."""
    asked = [question(one, "east") for one in ("east?", "rather east?", "half east?")]
    probe = question("away?", "east", held_out=True)

    assert len(prompts(checked(edit("e", *asked, probe), most=most, held_out=1)[0])) == most
    assert len(prompts(checked(edit("e", *asked), most=most, held_out=1)[0])) == most


def test_the_middle_of_the_ranking_is_held_out() -> None:
    """Neither the easiest nor the oddest of three."""
    asked = [question(one, "east") for one in ("half east?", "east?", "rather east?")]

    found = checked(edit("e", *asked), held_out=1)[0]

    assert prompts(found) == ["east?", "half east?"]
    assert prompts(found, held_out=True) == ["rather east?"]


def test_a_single_question_is_studied_rather_than_held_out() -> None:
    """Something must be there to learn from."""
    found = checked(edit("e", question("east?", "east")), held_out=1)[0]

    assert prompts(found) == ["east?"]
    assert prompts(found, held_out=True) == []


def test_material_without_questions_passes_as_it_is() -> None:
    """Demonstrations and statements are checked by nobody here; an empty shard is no error."""
    plain = edit("e", StudyItem(prompt="a", response="b", form="demonstration"), statement("east"))

    assert checked(plain) == [plain]
    assert checked(plain, edit("n", question("north?", "north")))[0] == plain
    assert checked() == []


def pair(prompt: str, answer: str, source: str, *, held_out: bool = False) -> StudyItem:
    return StudyItem(prompt=prompt, response=answer, form="self-qa", source=source, held_out=held_out)


def test_a_written_pair_must_lead_to_a_sentence_of_its_own_passage() -> None:
    """The passage of the first record says two things; what leads to the second record goes, the rest is kept whole."""
    passage, other = f"{FERRY} {LAMP}", "Forms lie in room four."
    asked = [
        pair("From which pier does the night ferry leave?", "pier twelve", passage),
        pair("Who mends broken lamps?", "Team Blue", passage),
        pair("Where do forms lie, in which room?", "Team Blue", passage),
        pair("Who?", "Team Blue", passage),
    ]

    found, _ = verify(
        [edit("a", *asked), edit("b", pair("Where do forms lie?", "in room four", other))],
        encoder=WordEncoder(),
        min_similarity=0.3,
        most=1,
        held_out=0,
    )

    assert set(prompts(found, form="self-qa")) == {asked[0].prompt, asked[1].prompt}
    assert found.dropped["leads to another record"] == 2


def test_written_pairs_change_nothing_for_sampled_questions() -> None:
    """They are checked among themselves: a passage in the shard would be nearer to a question than its statement."""
    sampled = edit("e", statement("east"), question("east?", "east"), question("half east?", "east"))
    both = edit("e", *sampled.items, pair("north?", "north", "north"))

    assert prompts(checked(both)[0]) == prompts(checked(sampled)[0]) == ["east?", "half east?"]


def test_what_was_held_out_of_written_pairs_stays_the_only_probe() -> None:
    """The teacher chose it; nothing more is taken away from what is studied."""
    given = edit("e", pair("east?", "it", "east"), pair("half east?", "it", "east", held_out=True))

    assert prompts(checked(given, held_out=1)[0], form="self-qa") == ["east?"]


def test_a_removed_record_leaves_no_trace_in_what_is_kept() -> None:
    """Verified without it, the others are as if it had never been: what it had pushed out is back."""
    east, north = edit("e", question("half north?", "east")), edit("n", question("north?", "north"))

    assert prompts(checked(east, north)[0]) == []
    assert checked(east) == checked(*[one for one in (east, north) if one.record_id != "n"])
    assert prompts(checked(east)[0]) == ["half north?"]
    assert checked(north, east)[::-1] == checked(east, north)


# ------------------------------------------------------------ reading with evidence in sight


def shard() -> list[SelfEdit]:
    texts = [FERRY, LAMP, "Forms lie in room four.", "Keys hang beside the door.", "Team Red waters all plants."]
    return [compiled().write(record(text), seed=0) for text in texts]


def read(edits: Sequence[SelfEdit], *, seed: int = 0, right: int = 2, missed: int = 1) -> list[SelfEdit]:
    return with_evidence(edits, encoder=WordEncoder(), seed=seed, right=right, missed=missed)


def test_questions_are_studied_again_with_evidence() -> None:
    """Two with the own statement among at most two others, one with others only; the rest is untouched."""
    for before, after in zip(shard(), read(shard()), strict=True):
        added = [item for item in after.items if item.form == "evidence"]
        assert after.items[: len(before.items)] == before.items
        assert [item.response in item.evidence for item in added] == [True, True, False]
        assert all(1 <= len(set(item.evidence)) == len(item.evidence) <= 3 for item in added)
        assert {item.prompt for item in added} <= set(prompts(before))


def test_a_written_pair_is_read_with_its_passage_in_evidence() -> None:
    """The whole passage is what retrieval will show; what else was written about it is no other record."""
    own = edit("a", statement("The ferry leaves."), pair("Which pier?", "pier twelve", FERRY))

    with_own, missed = (
        read([own, edit("b", statement(LAMP))], right=right, missed=1 - right)[0].items[-1] for right in (1, 0)
    )

    assert set(with_own.evidence) <= {FERRY, LAMP}
    assert FERRY in with_own.evidence
    assert (missed.evidence, missed.response) == ((LAMP,), "pier twelve")


def test_reading_material_is_the_same_every_time() -> None:
    """The same seed the same, another seed another."""
    assert read(shard()) == read(shard())
    assert read(shard(), seed=1) != read(shard())


def test_a_removed_record_is_in_nobodys_evidence() -> None:
    """A pure function of the material."""
    without = [one for one in shard() if one.items[0].response != LAMP]

    assert not any(LAMP in item.evidence for one in read(without) for item in one.items)


def test_a_single_record_has_only_itself_as_evidence() -> None:
    """With no other statement there is nothing to miss."""
    added = [item for item in read(shard()[:1])[0].items if item.form == "evidence"]

    assert [item.evidence for item in added] == [(FERRY,), (FERRY,)]
    assert read([]) == []


def demonstrations(count: int) -> list[SelfEdit]:
    return [
        edit(f"r{n}", StudyItem(prompt=f"Sort the word w{n} into a box", response=f"box {n}", form="demonstration"))
        for n in range(count)
    ]


def follow(edits: Sequence[SelfEdit], *, seed: int = 0, shots: int = 3, repeats: int = 2) -> list[SelfEdit]:
    return with_neighbours(edits, encoder=WordEncoder(), seed=seed, shots=shots, repeats=repeats)


def test_demonstrations_are_studied_after_their_neighbours() -> None:
    """Twice each, after three others, never after themselves."""
    for after in follow(demonstrations(8)):
        added = after.items[1:]
        assert [len(item.shots) for item in added] == [3, 3]
        assert not any(shot.prompt == item.prompt for item in added for shot in item.shots)


def test_labels_are_studied_by_themselves() -> None:
    """Two of three share their response; the third is nobody's label, and has no neighbour left."""
    texts = {"Sort the lamp": "A", "Sort the rope": "A", "Sort the boat": "B"}
    edits = [
        edit(f"r{n}", StudyItem(prompt=prompt, response=label, form="demonstration"))
        for n, (prompt, label) in enumerate(texts.items())
    ]

    assert follow(edits) == edits


def test_neighbours_are_the_same_every_time() -> None:
    """The same seed the same, another seed another; an odd one out is no neighbour."""
    assert follow(demonstrations(8)) == follow(demonstrations(8))
    assert follow(demonstrations(8), seed=1) != follow(demonstrations(8))


def test_few_demonstrations_have_few_neighbours() -> None:
    """Two have one each; one has none, and nothing is added."""
    assert [len(one.items[1].shots) for one in follow(demonstrations(2))] == [1, 1]
    assert follow(demonstrations(1)) == demonstrations(1)
    assert follow([]) == []
    assert follow(demonstrations(4), shots=0) == demonstrations(4)


# ------------------------------------------------------------ what fits


def longer_than(most: int) -> Refuses:
    """Refuse a row of more than `most` letters, all that is shown counted."""

    def refuses(item: StudyItem) -> str:
        shown = [item.prompt, item.response, *item.evidence, *(one.prompt + one.response for one in item.shots)]
        return f"more than {most} letters" if sum(map(len, shown)) > most else ""

    return refuses


def test_the_farthest_shots_are_left_out_of_a_row_that_is_too_long() -> None:
    """Six letters are its own; of three shots of four letters the two nearest, which stand last, fit into fifteen."""
    shots = tuple(Example(name * 2, name * 2) for name in "abc")
    row = StudyItem(prompt="who", response="ann", form="demonstration", shots=shots)

    assert fitted([edit("r", row)], longer_than(18)) == [edit("r", row)]
    assert fitted([edit("r", row)], longer_than(15))[0].items[0].shots == shots[1:]
    assert fitted([edit("r", row)], longer_than(9)) == [edit("r")]


def test_of_evidence_the_own_statement_stays_or_the_row_goes() -> None:
    """Four and six letters of question and statement; a row that lost its statement would teach to guess."""
    row = StudyItem(prompt="who?", response="it ann", form="evidence", evidence=("it ben and eve", "it ann", "it ben"))

    assert fitted([edit("r", row)], longer_than(22))[0].items[0].evidence == ("it ann", "it ben")
    assert fitted([edit("r", row)], longer_than(16))[0].items[0].evidence == ("it ann",)
    assert fitted([edit("r", row)], longer_than(15)) == [edit("r")]


def test_practice_does_without_the_fact_beside_it() -> None:
    """It is studied nowhere else."""
    row = StudyItem(prompt="who?", response="ann", form="demonstration", evidence=("the moon",), own=True)

    assert fitted([edit("r", row)], longer_than(7))[0].items[0].evidence == ()


def test_a_record_too_long_by_itself_is_emptied_with_the_reason_and_no_other_one() -> None:
    """The longest with what is shown beside it is another."""
    shown = StudyItem(prompt="a", response="b", form="demonstration", shots=(Example("c" * 50, "d"),))
    long = StudyItem(prompt="e" * 10, response="f", form="demonstration")

    kept, emptied = without_too_long([edit("r", shown), edit("s", long)], longer_than(10))

    assert kept == edit("r", shown)
    assert (emptied.items, emptied.dropped) == ((), {"more than 10 letters": 1})


def test_held_out_questions_are_not_trained_on_and_may_be_long() -> None:
    """The gate asks them."""
    long = question("w" * 50, "a", held_out=True)

    assert without_too_long([edit("r", long)], longer_than(10)) == fitted([edit("r", long)], longer_than(10))
    assert fitted([edit("r", long)], longer_than(10)) == [edit("r", long)]
