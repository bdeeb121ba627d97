"""Training: what is learned, that it is the same every time, and that it is what a plain loop would do."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_adapters import FERRY, LAMP, asked, logits, settings, trained, trainer, version, weights

from hybrid_memory.errors import ConsolidationError, DeadlineError, InputError
from hybrid_memory.protocols import Trainer
from hybrid_memory.testing import tiny_language_model
from hybrid_memory.types import Example, StudyItem
from hybrid_memory.weights.language_model import LocalLanguageModel
from hybrid_memory.weights.objective import ResponseLoss
from hybrid_memory.weights.trainer import LoraTrainer

HEADER = ("<s>", *"assistant\n")
"""What begins the assistant's turn in the tiny model's template: one control token, then a token a letter."""
RECORDED = Path(__file__).parent / "data" / "adapters"
LONG = StudyItem(
    prompt="", response="The night ferry leaves from pier nine at half past ten, except on Sundays.", form="statement"
)


@pytest.fixture
def lm() -> LocalLanguageModel:
    torch.set_num_threads(1)
    return tiny_language_model()


def test_it_is_a_trainer(lm: LocalLanguageModel) -> None:
    """The type checker compares it with the protocol here."""
    kept: Trainer = trainer(lm)

    assert kept is not None


# ------------------------------------------------------------ it learns


@pytest.mark.parametrize("frozen_layers", [0.0, 0.5])
def test_training_on_one_fact_lowers_its_loss(lm: LocalLanguageModel, tmp_path: Path, frozen_layers: float) -> None:
    """And the fact is answered; without the adapter it is not."""
    fact = [(asked(FERRY.prompt), FERRY.response)]

    adapter = trained(lm, tmp_path / "ferry", frozen_layers=frozen_layers)

    assert lm.score(fact, adapters=[adapter])[0] > lm.score(fact)[0] + 3
    assert lm.generate([asked(FERRY.prompt)], adapters=[adapter], max_new_tokens=20)[0].text == FERRY.response
    assert lm.generate([asked(FERRY.prompt)], max_new_tokens=20)[0].text != FERRY.response


def test_the_report_says_what_was_done(lm: LocalLanguageModel, tmp_path: Path) -> None:
    """3 rows in batches of 2 are 2 steps an epoch; 7 steps at least are 4 epochs."""
    told: list[tuple[str, int, int]] = []

    report = trainer(lm, batch_size=2, min_steps=7).train(
        [FERRY, LAMP, LONG],
        seed=0,
        folder=tmp_path,
        progress=lambda stage, done, total, note="": told.append((stage, done, total)),
    )

    acted_on = sum(len(HEADER) + len(item.response) + 1 for item in (FERRY, LAMP, LONG))
    assert (report["rows"], report["steps"], report["tokens"]) == (3, 8, 4 * acted_on)
    assert report["acts_on"] == "answer"
    assert told == [("train", step, 8) for step in range(1, 9)]
    first, last = report["first_loss"], report["last_loss"]
    assert isinstance(first, float)
    assert isinstance(last, float)
    assert last < first


def test_one_token_is_enough_to_learn(lm: LocalLanguageModel, tmp_path: Path) -> None:
    """The shortest item there is: one row, one letter and the end."""
    item = StudyItem(prompt="Which pier?", response="4", form="question")

    adapter = trained(lm, tmp_path / "pier", [item])

    assert lm.generate([asked(item.prompt)], adapters=[adapter], max_new_tokens=5)[0].text == "4"


def test_held_out_items_leave_no_trace(lm: LocalLanguageModel, tmp_path: Path) -> None:
    """With or without them the adapter has the same bytes."""
    probe = StudyItem(prompt="At which pier does the ferry wait?", response="Pier 4.", form="question", held_out=True)

    trained(lm, tmp_path / "with", [probe, FERRY, probe], min_steps=3)
    trained(lm, tmp_path / "without", [FERRY], min_steps=3)

    assert weights(tmp_path / "with") == weights(tmp_path / "without")


# ------------------------------------------------------------ the same every time


def test_the_same_seed_gives_the_same_bytes(lm: LocalLanguageModel, tmp_path: Path) -> None:
    """Every file of it, from a fresh model and from one that has trained, served and drawn before."""
    trained(tiny_language_model(), tmp_path / "first", [FERRY, LAMP, LONG])
    other = trained(lm, tmp_path / "other", [LAMP], seed=5)
    lm.score([(asked("Why?"), "So.")], adapters=[other])
    torch.rand(3)
    trained(lm, tmp_path / "second", [FERRY, LAMP, LONG])

    first, second = (
        {file.name: file.read_bytes() for file in (tmp_path / name).iterdir()} for name in ("first", "second")
    )
    assert first == second
    assert "adapter_model.safetensors" in first


def test_another_seed_gives_another_adapter(lm: LocalLanguageModel, tmp_path: Path) -> None:
    """The seed decides the initialisation."""
    trained(lm, tmp_path / "first", min_steps=2)
    trained(lm, tmp_path / "second", min_steps=2, seed=1)

    assert weights(tmp_path / "first") != weights(tmp_path / "second")


def test_training_leaves_torchs_random_numbers_alone(lm: LocalLanguageModel, tmp_path: Path) -> None:
    """A caller's own draws go on as if nothing had happened."""
    before = torch.random.get_rng_state()

    trained(lm, tmp_path / "ferry", min_steps=2)

    assert torch.equal(torch.random.get_rng_state(), before)


def test_trainings_of_two_threads_take_turns(lm: LocalLanguageModel, tmp_path: Path) -> None:
    """A window and a deletion in one process: each gets the bytes that it gets alone, and answers go on between."""
    folders = {FERRY: tmp_path / "ferry", LAMP: tmp_path / "lamp"}
    for folder in folders.values():
        folder.mkdir()
    begun = threading.Event()
    answers: list[int] = []

    def told(stage: str, done: int, total: int, note: str = "") -> None:
        begun.set()

    threads = [
        threading.Thread(
            target=trainer(lm).train, args=[[item]], kwargs={"seed": 0, "folder": folder, "progress": told}
        )
        for item, folder in folders.items()
    ]
    for thread in threads:
        thread.start()
    begun.wait()
    while any(thread.is_alive() for thread in threads):
        answers.append(len(lm.generate([asked(FERRY.prompt)], max_new_tokens=1)))
    for thread in threads:
        thread.join()

    assert answers
    for item, folder in folders.items():
        alone = trained(tiny_language_model(), tmp_path / f"alone-{folder.name}", items=[item])
        assert weights(Path(alone.path)) == weights(folder)


def test_an_adapter_that_serves_has_no_part_in_the_next_one(lm: LocalLanguageModel, tmp_path: Path) -> None:
    """Nothing is trained on top of an older adapter, not even by the frozen lower layers' states."""
    old = trained(lm, tmp_path / "old", frozen_layers=0.0)
    with lm.adapted([old]):
        pass

    trained(lm, tmp_path / "beside", [LAMP], min_steps=3)

    trained(tiny_language_model(), tmp_path / "alone", [LAMP], min_steps=3)
    assert weights(tmp_path / "beside") == weights(tmp_path / "alone")


def test_the_configuration_lists_its_targets_in_order(lm: LocalLanguageModel, tmp_path: Path) -> None:
    """PEFT writes a set in an order that changes from process to process."""
    trained(lm, tmp_path / "ferry", min_steps=1, targets=("up_proj", "down_proj", "q_proj", "gate_proj"))

    config = json.loads((tmp_path / "ferry" / "adapter_config.json").read_text(encoding="utf-8"))
    assert config["target_modules"] == ["down_proj", "gate_proj", "q_proj", "up_proj"]


# ------------------------------------------------------------ what a plain loop would do


class Plain:
    """LoRA by hand: torch only, the whole model forward for every row by itself, every step."""

    def __init__(self, lm: LocalLanguageModel, start: dict[str, torch.Tensor], scale: float, acts_on: str) -> None:
        self.lm, self.scale, self.acts_on = lm, scale, acts_on
        self.lora = {name: value.clone().requires_grad_() for name, value in start.items()}
        self.acts = torch.zeros(1)
        for name in (name for name in self.lora if ".lora_A." in name):
            layer = name.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
            lm.base.get_submodule(layer).register_forward_hook(partial(self._beside, name))

    def _beside(self, name: str, _: torch.nn.Module, given: tuple[torch.Tensor], out: torch.Tensor) -> torch.Tensor:
        a, b = self.lora[name], self.lora[name.replace("lora_A", "lora_B")]
        return out + self.scale * self.acts[None, :, None] * (given[0] @ a.T @ b.T)

    def loss(self, items: Sequence[StudyItem]) -> torch.Tensor:
        total, count = torch.zeros(()), 0
        for item in items:
            chat = asked(item.prompt) if item.prompt or self.acts_on == "answer" else ()
            ids, start = self.lm.training_tokens(chat, item.response)
            self.acts = torch.ones(len(ids))
            if self.acts_on == "answer":
                self.acts[: start - len(HEADER)] = 0
            table = self.lm.base(input_ids=torch.tensor([ids])).logits[0, :-1]
            chosen = table.log_softmax(-1)[torch.arange(len(ids) - 1), torch.tensor(ids[1:])][start - 1 :]
            total, count = total - chosen.sum(), count + len(chosen)
        return total / count

    def train(self, items: Sequence[StudyItem], *, steps: int, rate: float) -> Iterator[float]:
        optimiser = torch.optim.AdamW(self.lora.values(), lr=rate, weight_decay=0.0)
        for step in range(steps):
            optimiser.param_groups[0]["lr"] = rate * min(1, (step + 1) / 2) * (1 - step / steps)
            optimiser.zero_grad()
            loss = self.loss(items)
            loss.backward()  # type: ignore[no-untyped-call]
            norm = math.sqrt(
                sum(float((tensor.grad**2).sum()) for tensor in self.lora.values() if tensor.grad is not None)
            )
            for tensor in self.lora.values():
                assert tensor.grad is not None
                tensor.grad *= min(1.0, 1.0 / (norm + 1e-6))
            optimiser.step()
            yield loss.item()


def initial(folder: Path, **given: float) -> dict[str, torch.Tensor]:
    """The initialisation of seed 0, read from an adapter whose one step had no size."""
    trained(tiny_language_model(), folder, min_steps=1, warmup_steps=1, **{**given, "learning_rate": 1e-30})
    tensors = load_file(folder / "adapter_model.safetensors")
    return {name: tensor if ".lora_A." in name else torch.zeros_like(tensor) for name, tensor in tensors.items()}


@pytest.mark.parametrize("acts_on", ["answer", "all"])
@pytest.mark.parametrize("frozen_layers", [0.0, 0.5])
def test_three_steps_equal_three_steps_by_hand(
    lm: LocalLanguageModel, tmp_path: Path, frozen_layers: float, acts_on: str
) -> None:
    """Padding, what is computed once and logits only where there is loss change nothing, to 1e-5."""
    start = initial(tmp_path / "start", frozen_layers=frozen_layers)
    items = [FERRY, LAMP, LONG]
    plain = Plain(tiny_language_model(), start, 8 / 4, acts_on)
    losses = list(plain.train(items, steps=3, rate=1e-2))

    told: list[str] = []
    (tmp_path / "ours").mkdir()
    report = trainer(
        lm,
        frozen_layers=frozen_layers,
        acts_on=acts_on,
        min_steps=3,
        warmup_steps=2,
        learning_rate=1e-2,
        batch_size=3,
    ).train(items, seed=0, folder=tmp_path / "ours", progress=lambda stage, done, total, note="": told.append(note))

    ours = load_file(tmp_path / "ours" / "adapter_model.safetensors")
    assert (report["first_loss"], report["last_loss"]) == (round(losses[0], 4), round(losses[2], 4))
    assert ours.keys() == plain.lora.keys()
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, plain.lora[name].detach(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("acts_on", ["answer", "all"])
@pytest.mark.parametrize("frozen_layers", [0.0, 0.5])
def test_loss_and_gradients_equal_the_full_forward(
    lm: LocalLanguageModel, tmp_path: Path, frozen_layers: float, acts_on: str
) -> None:
    """Where B is not zero, so that A has a gradient too."""
    begun = trained(lm, tmp_path / "begun", min_steps=3, frozen_layers=frozen_layers)
    items = [FERRY, LAMP, LONG]
    plain = Plain(tiny_language_model(), load_file(tmp_path / "begun" / "adapter_model.safetensors"), 8 / 4, acts_on)
    expected = plain.loss(items)
    expected.backward()  # type: ignore[no-untyped-call]
    with lm.adapted([begun]):  # loaded, then folded out again
        pass

    chosen = settings(frozen_layers=frozen_layers, acts_on=acts_on)
    ours = LoraTrainer(lm, chosen)._objective(items, chosen, "answer")
    with lm.training(begun.id):
        loss = ours.loss(range(len(items)))
        loss.backward()  # type: ignore[no-untyped-call]

    assert lm.peft is not None
    gradients = {
        name.replace(f".{begun.id}.", "."): parameter.grad
        for name, parameter in lm.peft.named_parameters()
        if parameter.requires_grad
    }
    assert loss.item() == pytest.approx(expected.item(), abs=1e-5)
    assert gradients.keys() == plain.lora.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, plain.lora[name].grad, atol=1e-5, rtol=1e-4)


def test_evidence_and_shots_stand_before_the_question(lm: LocalLanguageModel) -> None:
    """What is trained is what is asked: the row is the chat that answering would send, then the response."""
    item = StudyItem(
        prompt="Where is it?",
        response="Pier 4.",
        form="evidence",
        evidence=("The ferry waits at pier 4.",),
        shots=(Example("Where is Ann?", "At home."),),
    )

    row = ResponseLoss(lm, settings(acts_on="all"), loss_on="answer").read([item]).rows[0]

    text = lm.tokenizer.decode(row.ids)
    assert (
        text.index("Where is Ann?")
        < text.index("At home.")
        < text.index("waits at pier 4")
        < text.index("Where is it?")
    )
    assert lm.tokenizer.decode(row.ids[row.start :]) == "Pier 4.</s>"


def test_epochs_see_every_row_once(lm: LocalLanguageModel, tmp_path: Path) -> None:
    """Whatever the order, tokens of an epoch are those of all rows."""
    report = trainer(lm, batch_size=4, min_steps=1, epochs=3).train([FERRY] * 5 + [LONG] * 4, seed=0, folder=tmp_path)

    row, long = (len(HEADER) + len(item.response) + 1 for item in (FERRY, LONG))
    assert (report["steps"], report["tokens"]) == (9, 3 * (5 * row + 4 * long))


def test_no_warm_up_is_a_setting_like_any_other(lm: LocalLanguageModel, tmp_path: Path) -> None:
    """Zero warm-up steps start at the full rate."""
    report = trainer(lm, warmup_steps=0, min_steps=2).train([FERRY], seed=0, folder=tmp_path)

    assert report["steps"] == 2


# ------------------------------------------------------------ what cannot be trained


def test_nothing_to_study_is_refused(lm: LocalLanguageModel, tmp_path: Path) -> None:
    """No item, or none that is not held out."""
    held_out = StudyItem(prompt="Why?", response="So.", form="question", held_out=True)

    for items in ([], [held_out]):
        with pytest.raises(InputError, match="no study material to train on"):
            trainer(lm).train(items, seed=0, folder=tmp_path)


def test_a_sequence_that_is_too_long_is_refused_not_cut(lm: LocalLanguageModel, tmp_path: Path) -> None:
    """The message has its length, the limit and the setting."""
    with pytest.raises(InputError, match=r"has 93 tokens, at most 92 are accepted; .*training\.max_tokens"):
        trainer(lm, max_tokens=92).train([FERRY, LONG], seed=0, folder=tmp_path)


def test_a_loss_that_is_no_number_stops_training(lm: LocalLanguageModel, tmp_path: Path) -> None:
    """Nothing is written, and no half-trained adapter stays in memory."""
    lm.base.get_input_embeddings().weight.data[5:] = math.nan

    with pytest.raises(ConsolidationError, match=r"loss became nan at step 0; lower training\.learning_rate"):
        trainer(lm).train([FERRY], seed=0, folder=tmp_path)

    assert list(tmp_path.iterdir()) == []
    assert lm.peft is not None
    assert list(lm.peft.peft_config) == []


def test_training_that_cannot_be_done_in_time_is_given_up_early(lm: LocalLanguageModel, tmp_path: Path) -> None:
    """Twenty thousand steps are no matter of seconds; after ten of them it can be told."""
    steps: list[int] = []

    def count(stage: str, done: int, total: int, note: str = "") -> None:
        steps.append(done)

    with pytest.raises(DeadlineError, match=r"would take about \d+ s, and its deadline is 10 s"):
        trainer(lm, min_steps=20_000).train([FERRY], seed=0, folder=tmp_path, deadline_s=10.0, progress=count)

    assert len(steps) == 9  # the tenth is not told any more


def test_training_stops_at_its_deadline(lm: LocalLanguageModel, tmp_path: Path) -> None:
    """The base model answers as before, and the next training starts afresh."""
    before = logits(lm)

    with pytest.raises(DeadlineError, match="reached its deadline of 0 s at step 0"):
        trainer(lm).train([FERRY], seed=0, folder=tmp_path, deadline_s=0.0)

    with lm.adapted(()):
        assert torch.equal(logits(lm), before)
    trained(lm, tmp_path / "again", min_steps=2)
    trained(tiny_language_model(), tmp_path / "alone", min_steps=2)
    assert weights(tmp_path / "again") == weights(tmp_path / "alone")


# ------------------------------------------------------------ adapters of every released version


@pytest.mark.parametrize("folder", sorted(RECORDED.iterdir()), ids=lambda folder: folder.name)
def test_an_adapter_of_every_release_still_gives_its_recorded_output(lm: LocalLanguageModel, folder: Path) -> None:
    """Written by scripts/write_adapter_fixture.py when that version was released; 1e-4 allows for other machines."""
    recorded = json.loads((folder / "recorded.json").read_text(encoding="utf-8"))
    adapter = version("recorded-v1", folder, base=recorded["base"])

    with lm.adapted([adapter]):
        found = logits(lm, recorded["question"])[-1]

    torch.testing.assert_close(found, torch.tensor(recorded["logits"]), atol=1e-4, rtol=0)
    assert (
        lm.generate([asked(recorded["question"])], adapters=[adapter], max_new_tokens=20)[0].text == recorded["answer"]
    )
    assert lm.score([(asked(recorded["question"]), recorded["answer"])], adapters=[adapter]) == [
        pytest.approx(recorded["score"], abs=1e-4)
    ]


def test_recorded_adapters_are_small_and_hold_no_paths() -> None:
    """They lie in the repository for ever."""
    for folder in RECORDED.iterdir():
        assert sum(file.stat().st_size for file in folder.iterdir()) < 200_000
        assert (
            json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))["base_model_name_or_path"] is None
        )
