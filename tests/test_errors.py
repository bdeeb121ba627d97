"""Errors are caught by our base or by the built-in, survive a worker, and read as sentences."""

from __future__ import annotations

import pickle

import pytest

from hybrid_memory import errors

BUILT_IN = {
    "AdapterError": RuntimeError,
    "ClosedError": RuntimeError,
    "ConfigError": ValueError,
    "ConsolidationError": RuntimeError,
    "DeadlineError": RuntimeError,
    "FilterError": ValueError,
    "IndexMismatchError": ValueError,
    "InputError": ValueError,
    "LedgerError": RuntimeError,
    "LockedError": RuntimeError,
    "MissingExtraError": ImportError,
    "ModelError": RuntimeError,
    "NotFoundError": KeyError,
    "PolicyError": ValueError,
    "TeacherError": RuntimeError,
}


def test_the_list_of_errors_is_complete() -> None:
    """A new error is added to the table above, with its built-in."""
    assert {*BUILT_IN, "HybridMemoryError"} == set(errors.__all__)


@pytest.mark.parametrize(("name", "built_in"), BUILT_IN.items())
def test_an_error_is_caught_by_our_base_and_by_its_built_in(name: str, built_in: type[Exception]) -> None:
    """Callers who know nothing of this package already write the right except clause."""
    kind = getattr(errors, name)

    assert issubclass(kind, errors.HybridMemoryError)
    assert issubclass(kind, built_in)


@pytest.mark.parametrize("name", errors.__all__)
def test_an_error_survives_pickling(name: str) -> None:
    """An error of a worker process arrives whole."""
    original = getattr(errors, name)("record 7 has no text; give one")

    copy = pickle.loads(pickle.dumps(original))  # noqa: S301 - our own bytes

    assert type(copy) is type(original)
    assert str(copy) == "record 7 has no text; give one"


def test_not_found_reads_without_quotes() -> None:
    """KeyError shows its message as a repr; ours shows the sentence."""
    assert str(errors.NotFoundError("there is no record 7")) == "there is no record 7"


def test_an_error_without_a_message_is_empty() -> None:
    """No argument, no text, no IndexError."""
    assert str(errors.NotFoundError()) == ""


@pytest.mark.parametrize("name", errors.__all__)
def test_the_tree_in_the_docstring_names_every_error(name: str) -> None:
    """The drawing at the top of the module is complete."""
    assert name in (errors.__doc__ or "")
