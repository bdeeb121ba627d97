"""Lint, diff, examples and costs of policies."""

from __future__ import annotations

from pathlib import Path

import pytest

from hybrid_memory.build import router_of
from hybrid_memory.errors import NotFoundError, PolicyError
from hybrid_memory.routing.difference import Change, difference
from hybrid_memory.routing.examples import examples_of
from hybrid_memory.routing.lint import Remark, lint
from hybrid_memory.routing.policy import list_policies, load_policy
from hybrid_memory.types import Route, Trust


def written(folder: Path, text: str, name: str = "mine.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


# ---------------------------------------------------------------- costs


def test_thresholds_come_from_the_costs(tmp_path: Path) -> None:
    """stale / (stale + lost): 8 / (8 + 2) and 8 / (8 + 8)."""
    policy = load_policy(written(tmp_path, 'name = "m"\n[costs]\nstale = 8\nlost_fact = 2\nlost_behaviour = 8'))

    assert (policy.fact, policy.durable) == (0.8, 0.5)


def test_a_threshold_that_is_given_wins_over_the_costs(tmp_path: Path) -> None:
    """Whoever writes a number means it."""
    policy = load_policy(written(tmp_path, 'name = "m"\n[costs]\nstale = 8\n[thresholds]\nfact = 0.7'))

    assert policy.fact == 0.7


# ---------------------------------------------------------------- lint


@pytest.mark.parametrize("name", list_policies())
def test_nothing_is_to_be_said_about_the_shipped_policies(name: str) -> None:
    """They are what we would write."""
    assert lint(name) == []


@pytest.mark.parametrize(
    ("text", "remark"),
    [
        (
            '[[rules]]\nname = "a"\nroute = "drop"\n\n[[rules]]\nname = "b"\nmatch = { source = "x" }\nroute = "drop"',
            Remark(6, 1, "rule 'b' is never reached: 'a' above it matches all that it does"),
        ),
        (
            '[[rules]]\nname = "a"\nmatch = { source = "x" }\nroute = "drop"\n[[rules]]\nname = "a"\n'
            'match = { source = "y" }\nroute = "drop"',
            Remark(7, 1, "two rules are named 'a'; reasons would not tell them apart"),
        ),
        (
            '[[rules]]\nname = "a"\nroute = "drop"\nmatch = { pattern = "x*" }',
            Remark(5, 11, "the pattern 'x*' matches every text, since it matches the empty one"),
        ),
        (
            '[[rules]]\nname = "a"\nroute = "drop"\nmatch = { pattern = "(a+)+b" }',
            Remark(5, 11, "the pattern '(a+)+b' repeats a repetition and may take very long on some texts"),
        ),
        (
            "[ladder]\nuser = 5\nexternal = 3",
            Remark(4, 1, "others need 3 sources, users 5; do strangers need more?"),
        ),
        (
            "[thresholds]\ndurable = 0.8\nfact = 0.7",
            Remark(
                4,
                1,
                "plain facts are learned from 0.7 on, earlier than behaviour (0.8); "
                "a wrong fact goes stale in the weights",
            ),
        ),
        (
            '[[rules]]\nname = "a"\nmatch = { trust = "external" }\nroute = "learn"',
            Remark(5, 1, "rule 'a' cannot lift external texts over the ladder"),
        ),
    ],
)
def test_what_looks_unintended_is_remarked_with_its_place(tmp_path: Path, text: str, remark: Remark) -> None:
    """Line and column of the key; the file is valid all the same."""
    assert lint(written(tmp_path, f'name = "m"\n{text}')) == [remark]


def test_mistakes_are_remarks_that_count_as_errors(tmp_path: Path) -> None:
    """Each with the place and the nearest word, as loading it would say."""
    (remark,) = lint(written(tmp_path, 'name = "m"\n[ladder]\nusr = 1'))

    assert remark.error
    assert remark.text.endswith("line 3, column 1: unknown key ladder.usr; did you mean user?")


# ---------------------------------------------------------------- difference


def test_a_difference_names_key_and_both_values(tmp_path: Path) -> None:
    """Thresholds as the costs make them; a rule that one of them lacks."""
    base = written(tmp_path, 'name = "a"\n[costs]\nstale = 9\n', "a.toml")
    other = written(
        tmp_path, 'name = "b"\nextends = "a.toml"\n[costs]\nstale = 1\n[[rules]]\nname = "r"\nroute = "drop"', "b.toml"
    )

    assert difference(base, other) == [
        Change("costs.stale", 9.0, 1.0),
        Change("rules.r", None, {"place": 1, "match": {}, "route": "drop"}),
        Change("thresholds.durable", 0.6, 0.1429),
        Change("thresholds.fact", 0.9474, 0.6667),
    ]


def test_a_policy_differs_in_nothing_from_itself() -> None:
    """Also when it extends another."""
    assert difference("support_desk", "support_desk") == []


# ---------------------------------------------------------------- examples


def test_examples_are_read_from_the_file_beside_the_policy(tmp_path: Path) -> None:
    """`mine.examples.toml` beside `mine.toml`; what is left out is a user's plain text."""
    policy = written(tmp_path, 'name = "mine"')
    written(tmp_path, '[[examples]]\ntext = "hi"\nroute = "drop"', "mine.examples.toml")

    (case,) = examples_of(policy)

    assert (case.text, case.route, case.trust, case.sources) == ("hi", Route.DROP, Trust.USER, 1)


def test_a_missing_table_of_examples_is_named(tmp_path: Path) -> None:
    """With what to write into it."""
    with pytest.raises(NotFoundError, match=r"mine\.examples\.toml; write \[\[examples\]\] with text and route"):
        examples_of(written(tmp_path, 'name = "mine"'))


def test_a_mistake_in_the_examples_names_its_place(tmp_path: Path) -> None:
    """As for policies."""
    policy = written(tmp_path, 'name = "mine"')
    written(tmp_path, '[[examples]]\ntext = "hi"\nroute = "lern"', "mine.examples.toml")

    with pytest.raises(PolicyError, match=r"mine\.examples\.toml, line 3, column 1: .*did you mean 'learn'\?"):
        examples_of(policy)


@pytest.mark.parametrize("name", list_policies())
def test_every_shipped_policy_has_examples_of_what_it_learns_and_of_what_it_does_not(name: str) -> None:
    """Retrieval_only learns nothing, and says so by example."""
    routes = {case.route for case in examples_of(name)}

    assert Route.RETRIEVE in routes
    assert (Route.LEARN in routes) is (name != "retrieval_only")


# ---------------------------------------------------------------- routers in code

PLUGIN = '''
from hybrid_memory.build import router_of


def make():
    """A router that learns nothing, by another name."""
    router = router_of("retrieval_only")
    router.plugged = True
    return router
'''


def test_a_router_is_found_by_its_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As an installed package would offer it."""
    (tmp_path / "plugged_router.py").write_text(PLUGIN, encoding="utf-8")
    info = tmp_path / "plugged_router-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugged-router\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[hybrid_memory.routers]\nours = plugged_router:make\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)

    assert router_of("ours").plugged  # type: ignore[attr-defined]


def test_a_router_that_nobody_offers_is_an_unknown_policy() -> None:
    """With the nearest shipped name."""
    with pytest.raises(NotFoundError, match="no policy 'regulatd'; did you mean 'regulated'"):
        router_of("regulatd")
