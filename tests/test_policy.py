"""Routing policies: what a file may say, and where an error stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from hybrid_memory.errors import NotFoundError, PolicyError
from hybrid_memory.routing.policy import list_policies, load_policy
from hybrid_memory.routing.toml_lines import place_of
from hybrid_memory.types import Kind, Route


def written(folder: Path, text: str, name: str = "mine.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", list_policies())
def test_every_shipped_policy_loads_and_says_what_it_is_for(name: str) -> None:
    """Each file is valid, is named like its file and has a description."""
    policy = load_policy(name)

    assert policy.name == name
    assert policy.description


def test_the_shipped_policies_are_these() -> None:
    """The list is part of the public face."""
    assert list_policies() == [
        "coding_assistant",
        "default",
        "personal_assistant",
        "regulated",
        "retrieval_only",
        "support_desk",
        "weights_first",
    ]


def test_every_shipped_policy_is_described_in_the_readme() -> None:
    """policies/README.md names each file."""
    text = (Path(__file__).parents[1] / "policies" / "README.md").read_text(encoding="utf-8")

    assert [name for name in list_policies() if f"`{name}`" not in text] == []


def test_an_empty_policy_equals_the_default(tmp_path: Path) -> None:
    """default.toml writes out the values of the schema and no others; all it adds is the handbook rule."""
    bare = load_policy(written(tmp_path, 'name = "default"'))
    default = load_policy("default")

    assert default.model_copy(update={"rules": ()}).fingerprint == bare.fingerprint
    assert [rule.name for rule in default.rules] == ["the application's handbook"]


def test_a_child_overrides_key_by_key(tmp_path: Path) -> None:
    """Keys that the child leaves out keep the parent's value."""
    written(tmp_path, 'name = "base"\n[thresholds]\ndurable = 0.7\nfact = 0.95\n', "base.toml")
    child = written(tmp_path, 'name = "mine"\nextends = "base.toml"\n[thresholds]\ndurable = 0.4\n')

    thresholds = load_policy(child).thresholds

    assert (thresholds.durable, thresholds.fact) == (0.4, 0.95)


def test_a_childs_rules_are_asked_before_its_parents(tmp_path: Path) -> None:
    """The first rule that matches wins, so the child can overrule."""
    rule = '[[rules]]\nname = "{}"\nroute = "drop"\n'
    written(tmp_path, 'name = "base"\n' + rule.format("parent's"), "base.toml")
    child = written(tmp_path, 'name = "mine"\nextends = "base.toml"\n' + rule.format("child's"))

    assert [rule.name for rule in load_policy(child).rules] == ["child's", "parent's"]


def test_a_rule_is_read_with_all_its_conditions(tmp_path: Path) -> None:
    """Conditions arrive typed; metadata keys are written with a dot."""
    match = 'match = { kind = "fact", source = "kb/*", metadata.team = "ops" }'
    text = f'name = "m"\n[[rules]]\nname = "r"\n{match}\nroute = "learn"'
    rule = load_policy(written(tmp_path, text)).rules[0]

    assert (rule.match.kind, rule.match.source, rule.match.metadata) == (Kind.FACT, "kb/*", {"team": "ops"})
    assert rule.route is Route.LEARN


def test_the_fingerprint_changes_with_a_threshold_and_not_with_the_description(tmp_path: Path) -> None:
    """It names what decides, nothing else."""
    plain = load_policy(written(tmp_path, 'name = "m"'))
    told = load_policy(written(tmp_path, 'name = "m"\ndescription = "hello"'))
    moved = load_policy(written(tmp_path, 'name = "m"\n[thresholds]\nfact = 0.81'))

    assert plain.fingerprint == told.fingerprint != moved.fingerprint
    assert len(plain.fingerprint) == 12


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            'name = "m"\n[thresholds]\ndurabl = 0.7',
            r"line 3, column 1: unknown key thresholds\.durabl; did you mean durable\?",
        ),
        (
            'name = "m"\ndescripton = "x"',
            r"line 2, column 1: unknown key descripton; did you mean description\?",
        ),
        ('name = "m"\n[ladders]\nuser = 1', r"line 2, column 1: unknown key ladders; did you mean ladder\?"),
        (
            'name = "m"\n\n[ladder]\n  external = 1',
            r"line 4, column 3: ladder\.external: .*greater than or equal to 2, got 1",
        ),
        (
            'name = "m"\n[[rules]]\nname = "a"\nroute = "drop"\n[[rules]]\nname = "b"\nroute = "lern"',
            r"line 7, column 1: rules\.1\.route: .*got 'lern'; did you mean 'learn'\?",
        ),
        (
            'name = "m"\n[[rules]]\nname = "a"\nroute = "drop"\nmatch = { source = "x", kind = "fakt" }',
            r"line 5, column 25: rules\.0\.match\.kind: .*did you mean 'fact'\?",
        ),
        ('name = "m"\n[[rules]]\nroute = "drop"', r"line 2, column 1: rules\.0\.name is missing"),
        (
            'name = "m"\n[[rules]]\nname = "a"\nroute = "drop"\n[rules.match]\npattern = "("',
            r"line 6, column 1: rules\.0\.match\.pattern: not a regular expression \(missing \)",
        ),
        ('name = "m"\n[sensitivity]\nsecret = "learn"', r"line 3, column 1: sensitivity\.secret"),
        ('name = "m"\nthresholds = = 1', r"not valid TOML: .*line 2, column 14"),
        (
            'name = "m"\nextends = "defalt"',
            r"line 2, column 1: there is no policy 'defalt' to extend; did you mean 'default'\?",
        ),
        (
            'name = "m"\nextends = "mine.toml"',
            r"line 2, column 1: policies extend each other: .*mine\.toml -> .*mine\.toml",
        ),
    ],
)
def test_an_error_names_file_line_column_and_cure(tmp_path: Path, text: str, message: str) -> None:
    """Whoever reads the message can go there and fix it."""
    with pytest.raises(PolicyError, match=r"mine\.toml.*" + message):
        load_policy(written(tmp_path, text))


def test_every_mistake_is_reported_at_once(tmp_path: Path) -> None:
    """One run shows all of them, one line each."""
    with pytest.raises(PolicyError, match=r"line 2.*\n.*line 4"):
        load_policy(written(tmp_path, 'name = "m"\nfoo = 1\n[thresholds]\nfact = 2'))


def test_an_unknown_name_proposes_the_nearest() -> None:
    """A shipped policy may be misspelt."""
    with pytest.raises(NotFoundError, match=r"no policy 'suport_desk'; did you mean 'support_desk'\?"):
        load_policy("suport_desk")


def test_the_place_of_a_dotted_key_is_its_line() -> None:
    """`match.kind = ...` below a header counts as the key of the inner table."""
    text = '[[rules]]\nname = "a"\n\n[[rules]]\nname = "b"\nmatch.kind = "x"'

    assert place_of(text, ("rules", 1, "match", "kind")) == (6, 1)


def test_a_place_that_is_not_written_is_its_tables_header() -> None:
    """A missing key is reported where its table begins."""
    assert place_of("a = 1\n[[rules]]\nb = 2", ("rules", 0, "name")) == (2, 1)
