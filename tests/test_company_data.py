"""The self-authored data: complete, unambiguous, and with nothing of the tests in the training material."""

import importlib.util
import json
import re
from collections import Counter
from itertools import combinations, permutations
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ORDINARY = ROOT / "hybrid_memory" / "data"
FILES = [
    ROOT / "benchmarks" / "data" / "companies" / f"{name}.json" for name in ("dev", "juniper", "halden", "ostrava")
]
DEMO = ROOT / "hybrid_memory" / "data" / "demo_company.json"


def _company_data():
    """Benchmarks are scripts, not an installed package: load the module from its file."""
    spec = importlib.util.spec_from_file_location("company_data", ROOT / "benchmarks" / "company_data.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


company_data = _company_data()
COMPANIES = {path.stem: company_data.load_company(path) for path in [*FILES, DEMO]}


@pytest.fixture(params=COMPANIES.values(), ids=COMPANIES.keys())
def company(request):
    return request.param


def contains(text, phrase):
    """Whole words, any case."""
    return re.search(rf"(?<!\w){re.escape(phrase)}(?!\w)", text, re.IGNORECASE) is not None


def words(text):
    return set(re.findall(r"\w+", text.lower()))


def training_texts(company):
    """Everything a memory may be given: all but questions, test tickets and test prompts."""
    return [
        *(fact.statement for fact in company.facts),
        *(ticket.text for ticket in company.train_tickets),
        *(text for example in company.preference.train for text in (example.prompt, example.response)),
        *(version.sentence for price in company.prices for version in price.history),
        company.preference.rule,
        *company.volatile,
        *company.chatter,
    ]


def questions(company):
    """Hard and plain ones."""
    return [question for fact in company.facts for question in (*fact.questions, fact.plain_question)]


def jsonl(name):
    return [json.loads(line) for line in (ORDINARY / name).read_text(encoding="utf-8").splitlines()]


# ---------------------------------------------------------------- counts


@pytest.mark.parametrize("name", [company_data.TUNING_COMPANY, *company_data.REPORTED_COMPANIES])
def test_a_benchmark_company_has_the_promised_sizes(name):
    """Sizes are part of every reported number."""
    company = company_data.load_company(name)

    assert len(company.facts) == 24
    assert (len(company.train_tickets), len(company.test_tickets)) == (72, 64)
    assert (len(company.preference.train), len(company.preference.test)) == (24, 24)
    assert (len(company.prices), len(company.volatile), len(company.chatter)) == (8, 8, 6)


def test_the_demo_company_is_smaller():
    """The example must finish in minutes."""
    company = COMPANIES["demo_company"]

    assert len(company.facts) == 12
    assert (len(company.train_tickets), len(company.test_tickets)) == (72, 24)
    assert (len(company.preference.train), len(company.preference.test)) == (24, 10)
    assert len(company.prices) == 5


def test_every_desk_gets_the_same_number_of_tickets(company):
    """Always guessing one label scores exactly one in four."""
    for tickets in (company.train_tickets, company.test_tickets):
        counts = Counter(ticket.label for ticket in tickets)

        assert counts == dict.fromkeys(company.desks, len(tickets) // 4)


# ---------------------------------------------------------------- facts


def test_an_answer_stands_verbatim_in_its_own_statement_only(company):
    """A containment check can tell which fact an answer came from."""
    for fact in company.facts:
        assert fact.answer in fact.statement
        assert len(fact.answer.split()) <= 4
        assert [other.id for other in company.facts if contains(other.statement, fact.answer)] == [fact.id]


def test_an_answer_stands_nowhere_else_in_the_training_material(company):
    """What is measured was learned from the fact, not from a ticket or a price."""
    for fact in company.facts:
        assert sum(contains(text, fact.answer) for text in training_texts(company)) == 1, fact


def test_statements_are_single_sentences_of_moderate_length(company):
    """Facts are comparable in size: ten to twenty words."""
    for fact in company.facts:
        assert 10 <= len(fact.statement.split()) <= 20, fact.statement
        assert fact.statement.endswith(".")


def test_a_question_does_not_give_its_answer_away(company):
    """Answers cannot be copied from the question."""
    for fact in company.facts:
        for question in (*fact.questions, fact.plain_question):
            assert not contains(question, fact.answer)
            assert question.endswith("?")


def test_questions_never_occur_in_the_training_material(company):
    """Every phrasing is unseen."""
    everything = "\n".join(training_texts(company)).lower()

    assert [question for question in questions(company) if question.lower() in everything] == []


def test_a_question_shares_few_words_with_its_statement(company):
    """At most a third of a question's words are the statement's, function words included."""
    for fact in company.facts:
        asked = [len(words(question) & words(fact.statement)) / len(words(question)) for question in fact.questions]

        assert sum(asked) / len(asked) <= 1 / 3, (fact, asked)


def test_a_plain_question_is_no_piece_of_its_statement(company):
    """It asks, it does not quote: not even when the question mark is taken off."""
    for fact in company.facts:
        assert fact.plain_question.rstrip("?").lower() not in fact.statement.lower()


def test_a_plain_question_is_worded_unlike_the_hard_ones(company):
    """It is a fourth phrasing: at least half of its words differ from those of each hard question."""
    for fact in company.facts:
        plain = words(fact.plain_question)
        for hard in fact.questions:
            assert len(plain & words(hard)) / len(plain | words(hard)) <= 1 / 2, (fact.plain_question, hard)


def test_plain_questions_stand_nearer_to_their_statements_than_hard_ones(company):
    """The two kinds differ in difficulty: plain ones have the higher share of the statement's words."""

    def mean_share(asked):
        shares = [len(words(question) & words(statement)) / len(words(statement)) for question, statement in asked]
        return sum(shares) / len(shares)

    plain = mean_share([(fact.plain_question, fact.statement) for fact in company.facts])
    hard = mean_share([(question, fact.statement) for fact in company.facts for question in fact.questions])

    assert 2 * hard < plain < 1 / 2


def test_ids_statements_answers_and_questions_are_unique_across_companies():
    """Companies can be learned side by side without touching each other."""
    facts = [fact for company in COMPANIES.values() for fact in company.facts]
    asked = [question for company in COMPANIES.values() for question in questions(company)]

    for values in ([f.id for f in facts], [f.statement for f in facts], [f.answer.lower() for f in facts], asked):
        assert [value for value, count in Counter(values).items() if count > 1] == []


# ---------------------------------------------------------------- tickets


def test_a_ticket_never_names_its_desk(company):
    """Codes are learned from examples, not read off the text."""
    for ticket in (*company.train_tickets, *company.test_tickets):
        assert not any(contains(ticket.text, code) for code in company.desks)


def test_a_code_does_not_hint_at_its_meaning(company):
    """No part of a code is a word of what it means."""
    for code, meaning in company.desks.items():
        assert not words(code) & words(meaning)


def test_test_tickets_are_other_situations_than_the_training_tickets(company):
    """No pair shares more than 45 % of its words (Jaccard), and none is equal."""
    for test in company.test_tickets:
        for train in company.train_tickets:
            overlap = words(test.text) & words(train.text)
            assert len(overlap) / len(words(test.text) | words(train.text)) <= 0.45, (test, train)


def test_no_ticket_appears_twice_in_all_companies():
    """Tickets of one company teach nothing about another's test."""
    texts = [t.text for c in COMPANIES.values() for t in (*c.train_tickets, *c.test_tickets)]

    assert len(set(texts)) == len(texts)


# ---------------------------------------------------------------- preference and prices


def test_every_demonstration_follows_the_rule_and_the_rule_quotes_the_closing(company):
    """The closing words are learned exactly as they are checked."""
    style = company.preference

    assert style.closing in style.rule
    assert all(style.is_followed_by(example.response) for example in style.train)
    assert all(example.response != style.closing for example in style.train)


def test_an_answer_that_goes_on_after_the_closing_does_not_follow_the_rule(company):
    """White space at the end is forgiven, words are not."""
    style = company.preference

    assert style.is_followed_by(f"Yes. {style.closing}\n")
    assert not style.is_followed_by(f"{style.closing} One more thing.")


def test_test_prompts_of_the_preference_are_unseen(company):
    """The habit is tested on other questions."""
    trained = {example.prompt for example in company.preference.train}

    assert not trained & set(company.preference.test)
    assert len(trained) == len(company.preference.train)


def test_price_values_cannot_be_mistaken_for_each_other(company):
    """No value is part of another, so containment decides which one an answer gives."""
    values = [version.value for price in company.prices for version in price.history]

    assert [pair for pair in permutations(values, 2) if pair[0] in pair[1]] == []


def test_a_price_has_three_dated_sentences_oldest_first(company):
    """Each sentence names its subject and its own value."""
    for price in company.prices:
        dates = [version.valid_from for version in price.history]

        assert len(set(dates)) == 3
        assert dates == sorted(dates)
        assert all(version.value in version.sentence for version in price.history)
        assert all(price.subject in version.sentence for version in price.history)
        assert price.subject in price.question
        assert price.current is price.history[2]


def test_the_loader_reads_a_price_by_hand():
    """One price of the demo, as it stands in the file."""
    price = COMPANIES["demo_company"].prices[0]

    assert (price.subject, price.attribute, price.current.value) == ("City bike", "price", "27")
    assert price.current.valid_from.isoformat() == "2025-03-01T00:00:00+00:00"
    assert price.current.sentence == "A City bike costs 27 euros per day."


def test_an_unknown_company_is_refused_with_the_known_names():
    """The message lists what can be loaded."""
    from hybrid_memory.errors import NotFoundError

    with pytest.raises(
        NotFoundError, match=r"no company file 'acme.json'; known names are dev, halden, juniper, ostrava"
    ):
        company_data.load_company("acme")


# ---------------------------------------------------------------- probes and general prompts


def test_probes_are_minimal_pairs_of_equal_length():
    """Log-probabilities of good and bad can be compared: same words but one or two."""
    for probe in jsonl("probes.jsonl"):
        good, bad = probe["good"].split(), probe["bad"].split()

        assert len(good) == len(bad)
        assert 1 <= sum(a != b for a, b in zip(good, bad, strict=True)) <= 2, probe


def test_there_are_sixty_different_probes_of_each_kind():
    """One point of accuracy is about one probe."""
    probes = jsonl("probes.jsonl")

    assert Counter(probe["kind"] for probe in probes) == {"grammar": 60, "sense": 60}
    assert len({probe["good"] for probe in probes}) == 120


def test_general_prompts_are_unique_and_belong_to_no_company():
    """Drift is measured on text that no company trains or tests."""
    prompts = [row["prompt"] for row in jsonl("general.jsonl")]
    styles = [company.preference for company in COMPANIES.values()]
    used = {text for style in styles for text in (*(example.prompt for example in style.train), *style.test)}

    assert len(prompts) == len(set(prompts)) == 96
    assert not used & set(prompts)


def test_companies_close_their_answers_differently():
    """A habit learned for one company cannot score for another."""
    closings = [company.preference.closing for company in COMPANIES.values()]

    assert [pair for pair in combinations(closings, 2) if pair[0] == pair[1]] == []


@pytest.mark.parametrize("path", [*FILES, DEMO], ids=lambda path: path.stem)
def test_company_files_stay_small(path):
    """Under 60 kB each, so that a reader can check them."""
    assert path.stat().st_size < 60_000
