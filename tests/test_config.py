"""Settings: where they come from, which one wins, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from hybrid_memory import config
from hybrid_memory.config import Settings
from hybrid_memory.errors import ConfigError


def test_defaults_need_no_file() -> None:
    """Settings without any source are the documented defaults."""
    assert Settings.load() == Settings()
    assert Settings.load().training.lora_rank == 16


def test_a_file_sets_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    """Everything a TOML file leaves out keeps its default."""
    file = tmp_path / "memory.toml"
    file.write_text('[model]\nname = "my-model"\n[training]\nepochs = 3\n', encoding="utf-8")

    settings = Settings.load(file)

    assert (settings.model.name, settings.training.epochs) == ("my-model", 3)
    assert settings.training.lora_rank == Settings().training.lora_rank


def test_a_dict_reads_like_the_file() -> None:
    """A dict has the same groups and names."""
    assert Settings.load({"training": {"epochs": 3}}).training.epochs == 3


def test_the_environment_beats_the_file_and_arguments_beat_both(monkeypatch: pytest.MonkeyPatch) -> None:
    """Defaults, file, environment, arguments: the later wins, name by name."""
    monkeypatch.setenv("HYBRID_MEMORY_TRAINING__EPOCHS", "4")
    monkeypatch.setenv("HYBRID_MEMORY_TRAINING__BATCH_SIZE", "5")
    given = {"training": {"epochs": 3, "batch_size": 3, "min_steps": 3}}

    training = Settings.load(given, training={"batch_size": 6}).training

    assert (training.min_steps, training.epochs, training.batch_size) == (3, 4, 6)


@pytest.mark.parametrize(
    ("text", "expected"), [("0 3 * * *", "0 3 * * *"), ('"0 4 * * *"', "0 4 * * *")], ids=["bare", "quoted"]
)
def test_text_in_the_environment_needs_no_quotes(monkeypatch: pytest.MonkeyPatch, text: str, expected: str) -> None:
    """A value that is not TOML is taken as it stands."""
    monkeypatch.setenv("HYBRID_MEMORY_WINDOW__CRON", text)

    assert Settings.load().window.cron == expected


def test_a_list_in_the_environment_is_written_as_in_toml(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers, booleans and lists are read as TOML reads them."""
    monkeypatch.setenv("HYBRID_MEMORY_TRAINING__TARGETS", '["q_proj", "v_proj"]')

    assert Settings.load().training.targets == ("q_proj", "v_proj")


def test_a_variable_without_a_group_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A misspelt variable is an error, not silence."""
    monkeypatch.setenv("HYBRID_MEMORY_EPOCHS", "4")

    with pytest.raises(ConfigError, match=r"HYBRID_MEMORY_EPOCHS names no setting; write HYBRID_MEMORY_<GROUP>__"):
        Settings.load()


def test_the_home_variable_is_no_setting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """HYBRID_MEMORY_HOME moves the models and does not disturb the settings."""
    monkeypatch.setenv("HYBRID_MEMORY_HOME", str(tmp_path))

    assert config.home() == tmp_path
    assert Settings.load() == Settings()


def test_home_without_the_variable_is_the_users_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is written beside the code."""
    monkeypatch.delenv("HYBRID_MEMORY_HOME", raising=False)

    assert config.home().name == "hybrid_memory"
    assert config.home().is_absolute()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"training": {"epoch": 3}}, r"unknown setting training\.epoch; did you mean epochs\?"),
        ({"trainin": {"epochs": 3}}, r"unknown setting trainin; did you mean training\?"),
        ({"window": {"zzz": 3}}, r"unknown setting window\.zzz; known: queue_size, cron, "),
        ({"training": {"epochs": 0}}, r"setting training\.epochs: .*greater than or equal to 1, got 0"),
        ({"training": {"learning_rate": 1}}, r"setting training\.learning_rate: .*less than or equal to 0\.05, got 1"),
        ({"model": {"device": "tpu"}}, r"setting model\.device: .*'cpu'.*, got 'tpu'"),
        ({"training": 3}, r"setting 'training' must be a table of settings, got 3; groups are model, encoder"),
    ],
    ids=["near name", "near group", "no near name", "too low", "too high", "not in the list", "no table"],
)
def test_a_wrong_setting_is_refused_with_its_place(given: dict[str, object], message: str) -> None:
    """The message has the place, what is accepted, and what was found."""
    with pytest.raises(ConfigError, match=message):
        Settings.load(given)


def test_all_mistakes_are_told_at_once() -> None:
    """Two mistakes need one run to be found."""
    with pytest.raises(ConfigError, match=r"training\.epoch; .*; setting gate\.max_drift"):
        Settings.load({"training": {"epoch": 3}, "gate": {"max_drift": -1}})


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """A wrong path is not silently the defaults."""
    with pytest.raises(ConfigError, match=r"there is no settings file .*nowhere\.toml"):
        Settings.load(tmp_path / "nowhere.toml")


def test_a_file_that_is_not_toml_is_refused_with_the_line(tmp_path: Path) -> None:
    """The message of the TOML reader has line and column."""
    file = tmp_path / "memory.toml"
    file.write_text("[training]\nepochs = = 3\n", encoding="utf-8")

    with pytest.raises(ConfigError, match=r"memory\.toml is not valid TOML: .*line 2"):
        Settings.load(file)


def test_settings_cannot_be_changed() -> None:
    """They are checked once, so they stay what was checked."""
    with pytest.raises(ValidationError, match="frozen"):
        Settings().training.epochs = 3


def test_the_fingerprint_depends_on_values_only() -> None:
    """However the settings were given, equal settings have one name, and it is 12 hex digits."""
    written = Settings.load({"training": {"epochs": Settings().training.epochs}, "model": {}})

    assert written.fingerprint() == Settings().fingerprint()
    assert len(Settings().fingerprint()) == 12
    assert int(Settings().fingerprint(), 16) >= 0


def test_the_fingerprint_changes_with_any_value() -> None:
    """Two settings that differ never share a name."""
    assert Settings.load(training={"epochs": 9}).fingerprint() != Settings().fingerprint()
