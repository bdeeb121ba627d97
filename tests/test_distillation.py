"""Context distillation, adapters beside quantised weights, and the options that need something installed."""

from __future__ import annotations

import math
from pathlib import Path
from string import ascii_lowercase

import pytest
import torch
from tiny_adapters import FERRY, LAMP, asked, logits, settings, trained

from hybrid_memory.errors import ConfigError, MissingExtraError
from hybrid_memory.testing import tiny_language_model
from hybrid_memory.types import StudyItem
from hybrid_memory.weights import distillation, loading
from hybrid_memory.weights.distillation import SoftTargets, soft_cross_entropy, soft_targets
from hybrid_memory.weights.language_model import LocalLanguageModel
from hybrid_memory.weights.objective import ResponseLoss

SOURCE = StudyItem(prompt="Which pier?", response="Pier 4.", form="self-qa", source="The ferry waits at pier 4.")


@pytest.fixture
def lm() -> LocalLanguageModel:
    torch.set_num_threads(1)
    return tiny_language_model()


@pytest.fixture
def trusting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny model reads nothing well; here it is followed all the same."""
    monkeypatch.setattr(distillation, "LEAST_LOGPROB", -math.inf)
    monkeypatch.setattr(distillation, "LEAST_GAIN", -math.inf)


# ------------------------------------------------------------ what the teacher says


@pytest.mark.usefixtures("trusting")
def test_the_targets_are_the_bases_own_words_with_the_source_in_sight(lm: LocalLanguageModel) -> None:
    """The likeliest three tokens before each token of the response, by one plain forward of the base."""
    (targets,) = soft_targets(lm, [SOURCE], settings(distillation=1.0, distillation_top_k=3))

    chat = (
        "<s>user\nAnswer the question with the fact.\n\nFact: The ferry waits at pier 4.\n\n"
        "Question: Which pier?</s><s>assistant\n"
    )
    prompt = lm.tokenizer(chat, add_special_tokens=False)["input_ids"]
    response = [*lm.tokenizer("Pier 4.", add_special_tokens=False)["input_ids"], lm.tokenizer.eos_token_id]
    with torch.no_grad():
        table = lm.base(input_ids=torch.tensor([prompt + response])).logits[0, len(prompt) - 1 : -1]
    values, ids = table.log_softmax(-1).topk(3)
    assert targets is not None
    torch.testing.assert_close(targets.ids, ids)
    torch.testing.assert_close(targets.probabilities, values.softmax(-1))


def test_soft_cross_entropy_by_hand() -> None:
    """Half and half over two of four equally likely tokens is ln 4."""
    targets = SoftTargets(torch.tensor([[0, 2]]), torch.tensor([[0.5, 0.5]]), torch.ones(1))

    assert soft_cross_entropy(torch.zeros(1, 4), targets).tolist() == [pytest.approx(math.log(4))]


def test_a_model_that_reads_badly_is_not_followed(lm: LocalLanguageModel) -> None:
    """Shown the source, the tiny model still finds the response unlikely: hard targets only, as without the setting."""
    assert soft_targets(lm, [SOURCE], settings(distillation=1.0)) == [None]
    hard = ResponseLoss(lm, settings(), loss_on="answer").read([SOURCE]).loss([0])
    asked_for = ResponseLoss(lm, settings(distillation=1.0), loss_on="answer").read([SOURCE]).loss([0])
    assert asked_for.item() == hard.item()


@pytest.mark.usefixtures("trusting")
def test_items_without_a_question_or_with_evidence_have_no_teacher(lm: LocalLanguageModel) -> None:
    """There is nothing to ask it, or the student sees the evidence too."""
    plain = StudyItem(prompt="", response="The ferry waits.", form="statement")
    reading = StudyItem(prompt="Which pier?", response="Pier 4.", form="evidence", evidence=("It is pier 4.",))

    assert soft_targets(lm, [plain, reading], settings(distillation=1.0)) == [None, None]


@pytest.mark.usefixtures("trusting")
@pytest.mark.parametrize("loss_on", ["answer", "all"])
def test_the_weight_mixes_hard_and_soft_targets(lm: LocalLanguageModel, loss_on: str) -> None:
    """A quarter of the teacher is a quarter of the way from the plain loss to the distilled one; others stay plain."""
    items = [SOURCE, StudyItem(prompt="", response="The ferry waits.", form="statement")]
    losses = [
        ResponseLoss(lm, settings(distillation=weight), loss_on=loss_on).read(items).loss([0, 1]).item()
        for weight in (0.0, 0.25, 1.0)
    ]

    assert losses[1] == pytest.approx(losses[0] + (losses[2] - losses[0]) / 4, abs=1e-5)
    assert losses[2] != losses[0]


@pytest.mark.usefixtures("trusting")
def test_training_moves_the_student_to_the_teacher(lm: LocalLanguageModel, tmp_path: Path) -> None:
    """After it, the first token of the answer is distributed as the base's with the source in sight."""
    given = settings(distillation=1.0, distillation_top_k=259)
    (targets,) = soft_targets(lm, [SOURCE], given)
    assert targets is not None
    teacher = torch.zeros(lm.base.config.vocab_size).scatter(0, targets.ids[0], targets.probabilities[0])

    def distance() -> float:
        found = logits(lm, SOURCE.prompt)[-1].log_softmax(-1)
        return float((teacher * (teacher.clamp(min=1e-12).log() - found)).sum())

    before = distance()
    adapter = trained(lm, tmp_path / "taught", [SOURCE], distillation=1.0, distillation_top_k=259)
    with lm.adapted([adapter]):
        after = distance()

    assert after < before / 5


# ------------------------------------------------------------ own words


def in_a_new_form(lm: LocalLanguageModel) -> tuple[StudyItem, torch.Tensor]:
    """The base's own first letter with an ending it would not write, and its logits before each token of that."""
    firsts = {letter: lm.generate([asked(letter)], max_new_tokens=1)[0].text for letter in ascii_lowercase}
    prompt, own = next((asked_for, text) for asked_for, text in firsts.items() if text.isascii() and text.isalnum())
    item = StudyItem(prompt=prompt, response=f"{own} Ahoy.", form="demonstration", own=True)
    ids, start = lm.training_tokens(asked(prompt), item.response)
    with torch.no_grad():
        return item, lm.base(input_ids=torch.tensor([ids])).logits[0, start - 1 : -1]


def test_the_base_is_followed_where_it_would_say_the_same_word(lm: LocalLanguageModel) -> None:
    """By one plain forward: its likeliest token is the word there. What the new form adds is learned as words."""
    item, table = in_a_new_form(lm)
    ids, start = lm.training_tokens(asked(item.prompt), item.response)

    (targets,) = soft_targets(lm, [item], settings(distillation_top_k=4))

    assert targets is not None
    assert targets.shares.tolist() == (table.argmax(-1) == torch.tensor(ids[start:])).float().tolist()
    assert targets.shares[0] == 1
    assert 0 in targets.shares
    torch.testing.assert_close(targets.ids, table.topk(4).indices)


def test_own_words_change_the_loss_of_those_words_only(lm: LocalLanguageModel) -> None:
    """Untrained, following the base costs its own entropy where it is followed; by hand over the whole vocabulary."""
    item, table = in_a_new_form(lm)
    ids, start = lm.training_tokens(asked(item.prompt), item.response)
    logs = table.log_softmax(-1)
    words = -logs.gather(1, torch.tensor(ids[start:])[:, None]).squeeze(1)
    entropy = -(logs.exp() * logs).sum(-1)
    expected = torch.where(table.argmax(-1) == torch.tensor(ids[start:]), entropy, words).mean()

    given = settings(distillation_top_k=lm.base.config.vocab_size)
    found = ResponseLoss(lm, given, loss_on="answer").read([item]).loss([0])

    assert found.item() == pytest.approx(expected.item(), abs=1e-5)


def test_without_weight_own_words_are_learned_like_others(lm: LocalLanguageModel) -> None:
    """The setting turns it off."""
    item, _ = in_a_new_form(lm)

    assert soft_targets(lm, [item], settings(own_words=0.0)) == [None]


# ------------------------------------------------------------ adapters beside the weights


def test_an_adapter_beside_the_weights_says_what_a_folded_one_says(tmp_path: Path) -> None:
    """One and two adapters, summed; and the base is as it was without them. Quantised weights can only be served so."""
    folding = tiny_language_model()
    beside = LocalLanguageModel(tiny_language_model().base, folding.tokenizer, fold=False)
    ferry = trained(folding, tmp_path / "ferry", min_steps=10)
    lamp = trained(folding, tmp_path / "lamp", [LAMP], min_steps=10)
    before = logits(beside)

    for adapters in ([ferry], [ferry, lamp], [lamp]):
        with folding.adapted(adapters), beside.adapted(adapters):
            torch.testing.assert_close(logits(beside), logits(folding), atol=1e-3, rtol=1e-4)
    with beside.adapted(()):
        assert torch.equal(logits(beside), before)


def test_training_goes_on_beside_the_weights(tmp_path: Path) -> None:
    """Between answers with an adapter; the same bytes as from a model that folds."""
    beside = LocalLanguageModel(tiny_language_model().base, tiny_language_model().tokenizer, fold=False)
    ferry = trained(beside, tmp_path / "ferry", min_steps=3)
    beside.score([(asked(FERRY.prompt), FERRY.response)], adapters=[ferry])
    trained(beside, tmp_path / "again", min_steps=3)

    first, again = (tmp_path / name / "adapter_model.safetensors" for name in ("ferry", "again"))
    assert first.read_bytes() == again.read_bytes()
    assert not any(parameter.requires_grad for parameter in beside.base.parameters())


def test_four_bits_without_bitsandbytes_name_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And how to do without."""
    monkeypatch.setattr(loading, "find_spec", lambda _: None)

    with pytest.raises(MissingExtraError, match=r"pip install 'hybrid-memory-sdk\[four-bit\]'.*four_bit to false"):
        LocalLanguageModel.load(tmp_path, device="cuda", four_bit=True)


def test_four_bits_are_for_cuda(tmp_path: Path) -> None:
    """On a CPU gradients through the packed weights are not defined, so nothing is trained wrongly in silence."""
    with pytest.raises(ConfigError, match="works on device cuda only, got 'cpu'"):
        LocalLanguageModel.load(tmp_path, four_bit=True)
