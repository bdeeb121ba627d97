"""The durability classifier: inference, its files, and how right it is on statements it never saw."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from hybrid_memory.config import home
from hybrid_memory.errors import IndexMismatchError, ModelError
from hybrid_memory.routing.cues import CUE_NAMES, cue_features
from hybrid_memory.routing.durability import SHIPPED, DurabilityClassifier, Judgement
from hybrid_memory.types import FloatArray, Kind

HELD_OUT = Path(__file__).parent / "data" / "routing_heldout.jsonl"
ENCODER = home() / "models" / "all-minilm-l6-v2"


def cues_of(text: str) -> set[str]:
    return {name for name, seen in zip(CUE_NAMES, cue_features([text])[0], strict=True) if seen}


def no_vectors(count: int) -> FloatArray:
    """Vectors of a length that no shipped head fits."""
    return np.zeros((count, 2), dtype=np.float32)


# ---------------------------------------------------------------- cues


@pytest.mark.parametrize(
    ("text", "cue"),
    [
        ("The desk costs $49.", "money"),
        ("It closes at 18:30.", "clock"),
        ("who won the league last year", "last_period"),
        ("When is the next eclipse?", "next"),
        ("Who is the mayor of Oslo?", "office"),
        ("the tallest building in Asia", "superlative"),
        ("who won in 1994", "in_year"),
        ("Release 3.12.1 is out", "version"),
        ("Use tabs.", "imperative"),
        ("I prefer tea.", "i_like"),
        ("ok thanks", "thanks"),
        ('{"sku": 4}', "json"),
        ("Q: Who? A: Me", "qa"),
        ('{"sku": 4, "unit_price": 3.20}', "offer_field"),
        ("seats=4; fare=80", "offer_field"),
        ("gauge 7,2024-05-01,3.18", "dated_value"),
        ("gauge 7: 3.18 m on 2024-05-01", "dated_value"),
    ],
)
def test_a_cue_is_seen(text: str, cue: str) -> None:
    """One wording each."""
    assert cue in cues_of(text)


@pytest.mark.parametrize(
    ("text", "cue"),
    [
        ("$49.99", "clock"),
        ("The user said so.", "imperative"),
        ("nextdoor", "next"),
        ("1,204 people", "year_old"),
        ("It was signed on 2024-05-01. Five people came.", "dated_value"),
        ("The price: a secret", "json"),
    ],
)
def test_a_cue_is_not_seen_in_its_look_alike(text: str, cue: str) -> None:
    """Parts of words and of numbers do not count."""
    assert cue not in cues_of(text)


def test_cues_come_in_rows_of_shares() -> None:
    """Shape (texts, cues), float32, within [0, 1]; no text gives no row."""
    features = cue_features(["Use tabs.", ""])

    assert features.shape == (2, len(CUE_NAMES))
    assert features.dtype == np.float32
    assert set(np.unique(features)) <= {0.0, 1.0}
    assert cue_features([]).shape == (0, len(CUE_NAMES))


# ---------------------------------------------------------------- inference


def test_half_of_slow_is_durable() -> None:
    """p_durable = P(never) + 0.5 P(slow)."""
    judgement = Judgement(never=0.2, slow=0.6, fast=0.2, behaviour=0.0, kinds={Kind.FACT: 1.0})

    assert judgement.p_durable == pytest.approx(0.5)
    assert judgement.volatility == "slow"


def test_the_expected_lifetime_lies_between_those_of_the_classes() -> None:
    """On a log scale: half fast (30 days) and half slow (1,100 days) is the root of their product."""
    judgement = Judgement(never=0.0, slow=0.5, fast=0.5, behaviour=0.0, kinds={Kind.FACT: 1.0})

    assert judgement.lifetime_days == pytest.approx((30 * 1100) ** 0.5)


def drawn_heads(width: int, phrases: list[str]) -> DurabilityClassifier:
    """A classifier for vectors of `width` numbers with weights drawn at random, the same at every call."""
    rng = np.random.default_rng(0)
    sizes = {"question": width, "statement": width, "surface": 0}
    tensors = {
        name: rng.normal(size=(size + len(CUE_NAMES) + len(phrases), 10)).astype(np.float32)
        for name, size in sizes.items()
    }
    tensors |= {f"{name}.bias": rng.normal(size=10).astype(np.float32) for name in sizes}
    return DurabilityClassifier(tensors, {"encoder": "test", "phrases": phrases})


@pytest.mark.parametrize(
    ("text", "head"),
    [
        ("Who left the office?", "question"),
        ("who won the cup last year", "question"),
        ("Q: Who won? A: Nobody", "question"),
        ("Somebody left the office.", "statement"),
        ("Do not ask who left.", "statement"),
        ("When a guest leaves, lock the door", "statement"),
        ("Read the page aloud. " * 12 + "Would you read on?", "statement"),
    ],
)
def test_questions_and_statements_are_judged_by_heads_of_their_own(text: str, head: str) -> None:
    """A search without a question mark is a question; a rule that begins like one, or a page that ends so, is none."""
    assert drawn_heads(3, []).heads_of([text], np.zeros((1, 3), np.float32)) == [head]


def test_vectors_of_another_length_are_left_to_the_spare_head() -> None:
    """It sees the surface only."""
    heads = drawn_heads(3, []).heads_of(["Who left?", "Somebody left."], no_vectors(2))

    assert heads == ["surface", "surface"]


def test_a_cue_in_one_of_four_sentences_counts_a_quarter() -> None:
    """So that one "must" in an article is no rule."""
    text = "The law is old. You must register. It was passed in spring. Nobody objected."

    assert cue_features([text])[0][CUE_NAMES.index("must")] == 0.25


def test_the_answer_to_a_question_shows_no_cues() -> None:
    """How long an answer holds is decided by what was asked."""
    seen = cues_of("Q: Who wrote the anthem? A: The current president, in 2021")

    assert not seen & {"current", "year_2020s", "office"}


@pytest.mark.parametrize("text", ["Use tabs, never spaces.", "Is it tabs or spaces?"])
def test_inference_equals_the_softmax_of_one_matrix_product(text: str) -> None:
    """The oracle: the formula written out, with weights the test drew and two phrases of which one is in the text."""
    classifier = drawn_heads(3, ["spaces", "unseen phrase"])
    vector = np.array([[0.6, 0.0, 0.8]], np.float32)

    judgement = classifier.judge([text], vector)[0]

    head = "question" if text.endswith("?") else "statement"
    seen = np.concatenate([vector[0], cue_features([text])[0], [1.0, 0.0]])
    scores = seen @ classifier.tensors[head] + classifier.tensors[f"{head}.bias"]
    shares = np.exp(scores[:3]) / np.exp(scores[:3]).sum()
    assert [judgement.never, judgement.slow, judgement.fast] == pytest.approx(shares, rel=1e-4)
    assert judgement.behaviour == pytest.approx(1 / (1 + np.exp(-scores[3])), rel=1e-4)
    assert judgement.kind is list(Kind)[int(np.argmax(scores[4:]))]


def test_vectors_of_another_encoder_are_judged_by_cues_alone() -> None:
    """Other lengths do not fit the heads; a price is still a price."""
    price, rule = DurabilityClassifier.load().judge(
        ["The blue kettle is €29 today, only 3 left in stock.", "Always use tabs, never spaces."], no_vectors(2)
    )

    assert price.fast > 0.8
    assert rule.behaviour > 0.8


def test_a_missing_vector_is_refused() -> None:
    """Rows belong to texts one to one."""
    with pytest.raises(IndexMismatchError, match=r"shape \(2, dim\), got \(1, 2\)"):
        DurabilityClassifier.load().judge(["a", "b"], no_vectors(1))


# ---------------------------------------------------------------- files


def test_the_shipped_heads_know_the_cues_of_this_code() -> None:
    """Whoever changes cues.py must train again."""
    assert tuple(json.loads(SHIPPED.with_suffix(".json").read_text(encoding="utf-8"))["cues"]) == CUE_NAMES


def test_heads_trained_with_other_cues_are_refused(tmp_path: Path) -> None:
    """The message says what differs and what to run."""
    copy = tmp_path / SHIPPED.name
    shutil.copy(SHIPPED, copy)
    description = json.loads(SHIPPED.with_suffix(".json").read_text(encoding="utf-8"))
    description["cues"] = [*CUE_NAMES[1:], "smell"]
    copy.with_suffix(".json").write_text(json.dumps(description), encoding="utf-8")

    with pytest.raises(ModelError, match=r"other cues \(now, smell\); run scripts/train_durability\.py"):
        DurabilityClassifier.load(copy)


def test_heads_of_an_older_make_are_refused(tmp_path: Path) -> None:
    """A policy fitted with an earlier version names what is missing and how to make it again."""
    copy = tmp_path / SHIPPED.name
    save_file({"full": np.zeros((2, 10), np.float32)}, copy)
    shutil.copy(SHIPPED.with_suffix(".json"), copy.with_suffix(".json"))

    with pytest.raises(ModelError, match=r"older make \(no question, statement, surface\); run .* `hybrid-memory pol"):
        DurabilityClassifier.load(copy)


def test_damaged_heads_are_refused(tmp_path: Path) -> None:
    """A cut file is not read half."""
    copy = tmp_path / SHIPPED.name
    copy.write_bytes(SHIPPED.read_bytes()[:100])
    shutil.copy(SHIPPED.with_suffix(".json"), copy.with_suffix(".json"))

    with pytest.raises(ModelError, match=r"cannot be read: .*; reinstall the package"):
        DurabilityClassifier.load(copy)


# ---------------------------------------------------------------- how right it is


def held_out() -> list[dict[str, object]]:
    return [json.loads(line) for line in HELD_OUT.read_text(encoding="utf-8").splitlines()]


def test_cues_alone_find_most_of_the_held_out_volatility() -> None:
    """Written apart from the training lines; chance is a third."""
    rows = [row for row in held_out() if row["kind"] != "conversation"]
    judgements = DurabilityClassifier.load().judge([str(row["text"]) for row in rows], no_vectors(len(rows)))

    right = [judgement.volatility == row["volatility"] for judgement, row in zip(judgements, rows, strict=True)]
    assert np.mean(right) >= 0.65


@pytest.mark.slow
@pytest.mark.skipif(not ENCODER.is_dir(), reason=f"no encoder in {ENCODER}")
def test_the_shipped_classifier_is_right_on_held_out_statements() -> None:
    """Volatility at least 80 %, behaviour at least 90 % of statements that it never saw."""
    from sentence_transformers import SentenceTransformer

    rows = [row for row in held_out() if row["kind"] != "conversation"]
    texts = [str(row["text"]) for row in rows]
    vectors = np.asarray(SentenceTransformer(str(ENCODER), device="cpu").encode(texts, normalize_embeddings=True))

    judgements = DurabilityClassifier.load().judge(texts, vectors.astype(np.float32))

    pairs = list(zip(judgements, rows, strict=True))
    assert np.mean([judgement.volatility == row["volatility"] for judgement, row in pairs]) >= 0.8
    assert np.mean([(judgement.behaviour >= 0.5) is row["behaviour"] for judgement, row in pairs]) >= 0.9
