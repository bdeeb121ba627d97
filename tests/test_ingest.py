"""Reading: text, files, documents, facts, examples and preferences become stamped drafts."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paper import pdf

from hybrid_memory.errors import InputError, MissingExtraError
from hybrid_memory.ingest.reader import Reader
from hybrid_memory.ingest.text import count_tokens, normalise, split
from hybrid_memory.types import Draft, Example, Fact, Kind, Preference, Scope, Slot, Trust

MAY_3 = datetime(2026, 5, 3, 12, tzinfo=UTC)
ANN = Scope(user_id="ann")
SENTENCE = "Every valve is tested at twice its rated pressure before it leaves the hall. "


def read(x: object, **arguments: object) -> list[Draft]:
    return Reader(chunk_tokens=60, max_chars=5000).read(x, **{"scope": ANN, **arguments})  # type: ignore[arg-type]


def read_one(x: object, **arguments: object) -> Draft:
    (draft,) = read(x, **arguments)
    return draft


# ---------------------------------------------------------------- text


def test_a_short_text_is_one_draft() -> None:
    """The text itself is what is embedded; the router decides the kind."""
    draft = read_one("Valves are tested at twice their rated pressure.")

    assert draft.text == "Valves are tested at twice their rated pressure."
    assert draft.passages == (draft.text,)
    assert (draft.kind, draft.scope, draft.source, draft.trust) == (None, ANN, "text", Trust.USER)


def test_a_string_is_text_even_when_it_names_a_file(tmp_path: Path) -> None:
    """Only a pathlib.Path is opened: text from a user must not read files."""
    path = tmp_path / "secret.txt"
    path.write_text("the secret", encoding="utf-8")

    assert read_one(str(path)).text == str(path)


def test_a_long_text_becomes_numbered_parts_that_lose_nothing() -> None:
    """Cut at sentence ends, no word lost, none twice."""
    text = (SENTENCE * 20).strip()

    drafts = read(text)

    assert [draft.metadata["part"] for draft in drafts] == list(range(1, len(drafts) + 1))
    assert {draft.metadata["parts"] for draft in drafts} == {len(drafts)}
    assert len({draft.metadata["document"] for draft in drafts}) == 1
    assert " ".join(draft.text for draft in drafts) == text
    assert all(draft.text.endswith("hall.") for draft in drafts)


@given(st.text(alphabet="ab .!?\n,é語", min_size=1, max_size=600))
def test_splitting_keeps_every_character_but_blanks_at_the_cuts(text: str) -> None:
    """The oracle: without blanks, the parts joined are the text."""
    parts = split(text, chunk_tokens=32)

    assert "".join("".join(parts).split()) == "".join(text.split())
    assert len(parts) == 1 or all(count_tokens(part) <= 32 for part in parts)


def test_splitting_needs_no_network_data() -> None:
    """The splitter's own defaults would load tiktoken and NLTK, which fetch files."""
    code = (
        "import sys; from hybrid_memory.ingest.text import split; "
        "assert len(split('One more line is here. ' * 200, chunk_tokens=50)) > 9; "
        "print({'tiktoken', 'nltk', 'torch'} & set(sys.modules))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "set()"


def test_reading_a_short_text_does_not_import_llama_index() -> None:
    """It takes a second, and one sentence does not need it."""
    code = (
        "import sys; from hybrid_memory.ingest.reader import Reader; from hybrid_memory.types import Scope; "
        "Reader(200, 1000).read('A word.', scope=Scope()); print('llama_index' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("given_text", "clean"),
    [
        ("cafe\u0301", "caf\u00e9"),
        ("a\x00b\x07c", "abc"),
        ("pay\u200b no\u202e w", "pay no w"),
        ("hidden\U000e0041\U000e0042", "hidden"),
        ("one  two\t\tthree ", "one two three"),
        ("line one\r\nline two\rline three", "line one\nline two\nline three"),
        ("steps:\n  - first\n  - second", "steps:\n  - first\n  - second"),
        ("top\n\n\n\n\nbottom", "top\n\nbottom"),
        ("  one line  ", "one line"),
        ("half \ud83d pair", "half pair"),
        ("family \U0001f468\u200d\U0001f469", "family \U0001f468\u200d\U0001f469"),
    ],
)
def test_text_is_brought_to_one_form(given_text: str, clean: str) -> None:
    """What looks equal is equal; what cannot be seen is gone; structure stays."""
    assert normalise(given_text, max_chars=100) == clean


@pytest.mark.parametrize("text", ["", "   ", "\n\t\n", "\u200b", "\x00"])
def test_a_text_without_a_word_is_refused(text: str) -> None:
    """There is nothing to remember."""
    with pytest.raises(InputError, match="empty or only blanks"):
        read(text)


def test_a_text_that_is_too_long_is_refused_not_cut() -> None:
    """The message has both numbers and the setting."""
    with pytest.raises(InputError, match=r"has 5001 characters, accepted are up to 5000.*ingest\.max_chars"):
        read("x" * 5001)


@pytest.mark.parametrize("x", [None, 7, b"bytes", {"text": "a"}, object()])
def test_an_unknown_type_is_refused_with_what_is_accepted(x: object) -> None:
    """Bytes and bare dicts are a mistake, not text."""
    with pytest.raises(InputError, match=r"cannot ingest a \w+; accepted are text, a pathlib\.Path"):
        read(x)


def test_a_plain_statement_gets_its_slot() -> None:
    """Two prices said in different words fill one slot, so the newer one replaces the older."""
    first, second = (
        read_one("The Pro plan costs 49 EUR per month."),
        read_one("The price of the Pro plan is now 59 EUR."),
    )

    assert first.slot is not None
    assert second.slot is not None
    assert first.slot.key == second.slot.key == "pro plan | price"
    assert (first.value, second.value) == ("49 EUR per month", "59 EUR")


def test_external_text_gets_no_slot() -> None:
    """A web page that states a price must not replace what the user said."""
    assert read_one("The Pro plan costs 1 EUR.", trust="external").slot is None


# ---------------------------------------------------------------- the stamp


def test_times_default_to_now_and_validity_to_the_observation() -> None:
    """All of them in UTC."""
    before = datetime.now(UTC)
    draft = read_one("A word.")

    assert before <= draft.observed_at <= datetime.now(UTC)
    assert draft.valid_from == draft.observed_at
    assert (draft.valid_to, draft.expires_at) == (None, None)


def test_a_time_of_another_zone_is_brought_to_utc() -> None:
    """12:00 at +02:00 is 10:00 UTC."""
    draft = read_one("A word.", observed_at=datetime(2026, 5, 3, 12, tzinfo=timezone(timedelta(hours=2))))

    assert draft.observed_at.isoformat() == "2026-05-03T10:00:00+00:00"


def test_a_lifetime_ends_that_long_after_the_observation() -> None:
    """An hour after noon is one o'clock."""
    assert read_one("A word.", observed_at=MAY_3, ttl_s=3600).expires_at == MAY_3 + timedelta(hours=1)


@pytest.mark.parametrize("name", ["observed_at", "valid_from", "valid_to"])
def test_a_time_without_a_zone_is_refused(name: str) -> None:
    """Noon where?"""
    with pytest.raises(InputError, match=f"{name} 2026-05-03T12:00:00 has no time zone"):
        read("A word.", **{name: datetime(2026, 5, 3, 12)})


@pytest.mark.parametrize("valid_to", [MAY_3, MAY_3 - timedelta(days=1)])
def test_validity_must_end_after_it_begins(valid_to: datetime) -> None:
    """An empty span would never be evidence."""
    with pytest.raises(InputError, match=r"valid_to .* is not after valid_from"):
        read("A word.", valid_from=MAY_3, valid_to=valid_to)


@pytest.mark.parametrize("ttl_s", [0, -1, float("nan"), float("inf"), True])
def test_a_lifetime_must_be_positive(ttl_s: float) -> None:
    """Zero seconds is a mistake, not a wish."""
    with pytest.raises(InputError, match="ttl must be a positive number of seconds"):
        read("A word.", ttl_s=ttl_s)


def test_an_unknown_trust_is_refused() -> None:
    """The message lists the three there are."""
    with pytest.raises(InputError, match="trust must be one of operator, user, external, got 'admin'"):
        read("A word.", trust="admin")


@pytest.mark.parametrize("metadata", [{"when": MAY_3}, {"x": float("nan")}, {1: "x"}, ["x"]])
def test_metadata_must_be_plain_json(metadata: object) -> None:
    """It is stored as JSON and filtered as JSON."""
    with pytest.raises(InputError, match="metadata must be"):
        read("A word.", metadata=metadata)


def test_metadata_is_copied() -> None:
    """A caller who reuses the dict does not change a draft."""
    tags: dict[str, object] = {"team": "north", "tags": ["a"]}
    draft = read_one("A word.", metadata=tags)
    tags["team"] = "south"

    assert draft.metadata == {"team": "north", "tags": ["a"]}


def test_several_drafts_share_a_key_with_their_number() -> None:
    """A repeated call finds each part again."""
    drafts = read(SENTENCE * 10, idempotency_key="job-7")

    assert [draft.idempotency_key for draft in drafts[:2]] == ["job-7#0", "job-7#1"]
    assert read_one("A word.", idempotency_key="job-7").idempotency_key == "job-7"


def test_only_a_single_record_can_supersede_another() -> None:
    """Which of several would be the replacement?"""
    assert read_one("A word.", supersedes="01ABC").supersedes == "01ABC"
    with pytest.raises(InputError, match="supersedes names one record, but this input became"):
        read(SENTENCE * 10, supersedes="01ABC")


# ---------------------------------------------------------------- facts, examples, preferences


@pytest.mark.parametrize(
    ("fact", "text"),
    [
        (Fact("Pro plan", "price", "59 EUR"), "The price of the Pro plan is 59 EUR."),
        (Fact("the Pro plan", "The price", "59 EUR."), "The price of the Pro plan is 59 EUR."),
        (Fact("Norway", "capital", "Oslo"), "The capital of Norway is Oslo."),
        (Fact("Lumen Works", "support_hours", "9-17"), "The support hours of Lumen Works are 9-17."),
        (Fact("Dana's car", "colour", "red"), "The colour of Dana's car is red."),
        (Fact("Our Bergen store", "address", "Harbour Road 7"), "The address of our Bergen store is Harbour Road 7."),
        (Fact("pump", "status", "off", text="The pump is off."), "The pump is off."),
    ],
)
def test_a_fact_is_written_as_a_sentence(fact: Fact, text: str) -> None:
    """With an article where a common noun needs one."""
    assert read_one(fact).text == text


def test_a_fact_fills_its_slot() -> None:
    """A synonym of the attribute fills the same slot as a plain sentence does."""
    draft = read_one(Fact("the Pro plan", "cost", "59 EUR"))

    assert (draft.kind, draft.slot, draft.value) == (Kind.FACT, Slot("Pro plan", "price"), "59 EUR")
    assert draft.source == "fact"


@pytest.mark.parametrize("fact", [Fact("", "price", "1"), Fact("a", " ", "1"), Fact("a", "price", "")])
def test_a_fact_with_an_empty_part_is_refused(fact: Fact) -> None:
    """The message names the part."""
    with pytest.raises(InputError, match=r"the fact's (subject|attribute|value) is empty"):
        read(fact)


def test_an_example_is_found_by_its_prompt() -> None:
    """A new prompt looks like an old prompt, not like a response."""
    draft = read_one(Example("Greet Dana", "Good morning, Dana."))

    assert draft.text == "Input: Greet Dana\nOutput: Good morning, Dana."
    assert draft.passages == ("Greet Dana",)
    assert (draft.kind, draft.examples) == (Kind.EXAMPLE, (Example("Greet Dana", "Good morning, Dana."),))


def test_a_preference_keeps_its_rule_and_examples() -> None:
    """The rule is the text; the examples wait for training."""
    rule = Preference("Answer in one sentence.", (Example("Why?", "Because it must."),))

    draft = read_one(rule)

    assert (draft.text, draft.kind, draft.examples) == (rule.rule, Kind.PREFERENCE, rule.examples)


def test_an_example_without_a_response_is_refused() -> None:
    """It demonstrates nothing."""
    with pytest.raises(InputError, match="the example's response is empty"):
        read(Example("Greet Dana", " "))


# ---------------------------------------------------------------- files


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("suffix", [".txt", ".md"])
def test_a_text_file_is_read_with_its_name(tmp_path: Path, suffix: str) -> None:
    """The file name is the source; nobody has vouched for its content."""
    draft = read_one(write(tmp_path / f"rules{suffix}", "\ufeffValves are red.\n"))

    assert (draft.text, draft.source, draft.trust) == ("Valves are red.", f"rules{suffix}", Trust.EXTERNAL)
    assert draft.metadata["document"] == f"rules{suffix}"


def test_the_caller_can_vouch_for_a_file(tmp_path: Path) -> None:
    """The application's own handbook is trusted when it says so."""
    path = write(tmp_path / "handbook.txt", "The Pro plan costs 49 EUR.")

    draft = read_one(path, trust=Trust.OPERATOR, source="handbook")

    assert (draft.trust, draft.source) == (Trust.OPERATOR, "handbook")
    assert draft.slot == Slot("Pro plan", "price")


def test_html_gives_what_a_browser_shows(tmp_path: Path) -> None:
    """Blocks are lines, scripts and styles are not text, entities are characters."""
    html = (
        "<html><head><title>T</title><style>p{}</style></head><body><h1>Prices</h1><p>Pro <b>plan</b>:"
        "\n 49&nbsp;&euro;</p><ul><li>one</li><li>two</li></ul><script>alert(1)</script></body></html>"
    )

    assert read_one(write(tmp_path / "a.html", html)).text == "Prices\nPro plan: 49 €\none\ntwo"


def test_a_pdf_gives_one_draft_per_page(tmp_path: Path) -> None:
    """With the page number, for citing it."""
    drafts = read(pdf(tmp_path / "manual.pdf", ["Valves are red.", "Pumps are blue."]))

    assert [(draft.text, draft.metadata["page"]) for draft in drafts] == [
        ("Valves are red.", 1),
        ("Pumps are blue.", 2),
    ]


def test_a_damaged_pdf_is_refused(tmp_path: Path) -> None:
    """The message has the cause that the reader found."""
    path = write(tmp_path / "broken.pdf", "no pdf at all")

    with pytest.raises(InputError, match=r"broken\.pdf cannot be read as PDF"):
        read(path)


def test_a_pdf_without_text_is_refused(tmp_path: Path) -> None:
    """A scan has only pictures of words."""
    with pytest.raises(InputError, match="holds no text"):
        read(pdf(tmp_path / "scan.pdf", [""]))


def test_a_pdf_without_pypdf_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message is the line to type."""
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pypdf" else find(name))

    with pytest.raises(MissingExtraError, match=r"pip install 'hybrid-memory-sdk\[pdf\]'"):
        read(pdf(tmp_path / "manual.pdf", ["Valves are red."]))


def test_json_lines_hold_every_form(tmp_path: Path) -> None:
    """Text, example, fact, rule and conversation, each on its line."""
    rows: list[dict[str, object]] = [
        {"text": "Valves are red.", "metadata": {"team": "north"}},
        {"prompt": "Greet Dana", "response": "Good morning."},
        {"subject": "Pro plan", "attribute": "price", "value": "59 EUR"},
        {"rule": "Be brief.", "examples": [{"prompt": "Why?", "response": "Because."}]},
        {"messages": [{"role": "user", "content": "I moved to the new hall."}]},
    ]
    path = write(tmp_path / "notes.jsonl", "\n\n".join(json.dumps(row) for row in rows))

    drafts = read(path)

    assert [draft.kind for draft in drafts] == [None, Kind.EXAMPLE, Kind.FACT, Kind.PREFERENCE, None]
    assert drafts[0].metadata == {"team": "north", "line": 1, "document": "notes.jsonl"}
    assert drafts[2].slot == Slot("Pro plan", "price")
    assert drafts[3].examples == (Example("Why?", "Because."),)
    assert drafts[4].metadata["role"] == "user"
    assert {draft.source for draft in drafts} == {"notes.jsonl"}


def test_only_a_newline_ends_a_json_line(tmp_path: Path) -> None:
    """JSON text may hold other line separators as they are."""
    path = write(tmp_path / "notes.jsonl", '{"text": "one\u2028two"}\r\n{"text": "three"}\n')

    assert [draft.text for draft in read(path)] == ["one two", "three"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", r"notes\.jsonl line 2 is not JSON"),
        ("[1]", r"line 2 is \[1\]; a line is an object"),
        ('{"txt": "a"}', r"line 2 has the keys txt; a line is one of"),
        ('{"text": 5}', r"line 2: text must be text, got 5"),
        ('{"text": " "}', r"line 2: the text is empty"),
        ('{"text": "a", "metadata": 3}', r"line 2: metadata must be an object"),
        ('{"rule": "a", "examples": {}}', r"line 2: examples must be a list"),
        ('{"messages": []}', r"line 2: the conversation has nothing to remember"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    """File, line number, what is wrong; the good lines before it are not returned either."""
    path = write(tmp_path / "notes.jsonl", '{"text": "fine"}\n' + line)

    with pytest.raises(InputError, match=message):
        read(path)


def test_a_folder_is_read_in_the_order_of_names(tmp_path: Path) -> None:
    """Hidden, empty and foreign files are passed over; a document's name is its path in the folder."""
    for name, text in [
        ("b.txt", "Second."),
        ("a/z.md", "First."),
        (".git/x.txt", "no"),
        ("c.png", "no"),
        ("d.txt", ""),
    ]:
        write(tmp_path / "docs" / name, text)

    drafts = read(tmp_path / "docs")

    assert [(draft.text, draft.metadata["document"]) for draft in drafts] == [
        ("First.", "a/z.md"),
        ("Second.", "b.txt"),
    ]


def test_a_missing_path_says_that_strings_are_text(tmp_path: Path) -> None:
    """The commonest confusion."""
    with pytest.raises(InputError, match="there is no file or folder"):
        read(tmp_path / "nowhere.txt")


def test_a_foreign_suffix_is_refused(tmp_path: Path) -> None:
    """The message lists what can be read."""
    with pytest.raises(InputError, match=r"suffix '\.png'; accepted are \.txt, \.md, \.jsonl, \.pdf"):
        read(write(tmp_path / "a.png", "x"))


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    """Most likely the wrong folder."""
    with pytest.raises(InputError, match="has no file that can be read"):
        read(tmp_path)


def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    """Guessing an encoding would store wrong letters."""
    path = tmp_path / "old.txt"
    path.write_bytes("Zürich".encode("latin-1"))

    with pytest.raises(InputError, match=r"old\.txt is not UTF-8 text \(byte 1\)"):
        read(path)


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    """By its size: 5,000 characters have at most 20,000 bytes."""
    with pytest.raises(InputError, match="has 20001 bytes; accepted are up to 5000 characters"):
        read(write(tmp_path / "big.txt", "x" * 20001))


# ---------------------------------------------------------------- llama-index documents


def test_a_llama_index_document_is_read_with_its_metadata() -> None:
    """Recognised by its members; a long one is split."""
    from llama_index.core import Document

    drafts = read(Document(text=SENTENCE * 10, metadata={"file_name": "manual.md", "year": 2026, "when": MAY_3}))

    assert len(drafts) > 1
    assert drafts[0].source == "manual.md"
    assert drafts[0].trust is Trust.EXTERNAL
    assert drafts[0].metadata == {
        "file_name": "manual.md",
        "year": 2026,
        "when": str(MAY_3),
        "document": "manual.md",
        "part": 1,
        "parts": len(drafts),
    }


def test_a_llama_index_node_without_a_file_is_named_by_its_id() -> None:
    """So that its parts stay together."""
    from llama_index.core.schema import TextNode

    draft = read_one(TextNode(text="Valves are red.", id_="node-1"))

    assert (draft.text, draft.source, draft.metadata["document"]) == ("Valves are red.", "document", "node-1")
