"""Training on decoders that are not llamas: right everywhere, faster where the decoder can be cut in two."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file
from tiny_adapters import FERRY, LAMP, asked, settings, trained, trainer

from hybrid_memory.errors import ConfigError
from hybrid_memory.testing import tiny_language_model
from hybrid_memory.weights.language_model import LocalLanguageModel
from hybrid_memory.weights.layer_split import LayerSplit, can_be_split

SIZE: dict[str, Any] = {
    "vocab_size": 259,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "initializer_range": 0.2,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
GPT2: dict[str, Any] = {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 512}
MLP = ("gate_proj", "up_proj", "down_proj")
FUSED = ("gate_up_proj", "down_proj")
NEOX = ("dense_h_to_4h", "dense_4h_to_h")
MODELS: dict[str, tuple[str, dict[str, Any], tuple[str, ...], bool]] = {
    "qwen2": ("Qwen2", {}, MLP, True),
    "qwen3": ("Qwen3", {"head_dim": 16}, MLP, True),
    "mistral": ("Mistral", {"sliding_window": None}, MLP, True),
    "olmo2": ("Olmo2", {}, MLP, True),
    "granite": ("Granite", {"logits_scaling": 4.0}, MLP, True),
    "phi3": ("Phi3", {}, FUSED, True),
    "gemma": ("Gemma", {"head_dim": 16}, MLP, True),
    "gemma2": ("Gemma2", {"head_dim": 16, "final_logit_softcapping": 30.0}, MLP, False),  # sliding windows, a cap
    "gpt-neox": ("GPTNeoX", {}, NEOX, False),  # another name for its norm
    "gpt2": ("GPT2", GPT2, ("c_fc",), False),  # other names, positions that are learned, weights turned round
}


def tiny(name: str) -> LocalLanguageModel:
    """A seeded two-layer model of that kind over the bytes of the tiny llama's tokenizer."""
    kind, given, _, _ = MODELS[name]
    config = getattr(transformers, f"{kind}Config")(**{**SIZE, **given})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = getattr(transformers, f"{kind}{'LMHeadModel' if kind == 'GPT2' else 'ForCausalLM'}")(config)
    return LocalLanguageModel(model, tiny_language_model().tokenizer)


@pytest.mark.parametrize("name", MODELS)
def test_every_model_says_how_much_it_reads(name: str) -> None:
    """Whatever its config calls it; GPT-2 fails on a longer prompt, the others babble."""
    assert tiny(name).window == 512


@pytest.mark.parametrize("name", MODELS)
def test_a_fact_is_learned(name: str, tmp_path: Path) -> None:
    """Its loss falls, the adapter is loaded and folded in, and without it the base is as it was."""
    lm = tiny(name)
    fact = [(asked(FERRY.prompt), FERRY.response)]
    before = lm.score(fact)[0]

    adapter = trained(lm, tmp_path / "ferry", targets=MODELS[name][2])

    assert lm.score(fact, adapters=[adapter])[0] > before + 1.5
    assert lm.score(fact)[0] == before


@pytest.mark.parametrize("name", MODELS)
def test_only_the_upper_layers_get_an_adapter(name: str, tmp_path: Path) -> None:
    """Whether or not the lower ones are computed once."""
    trained(tiny(name), tmp_path / "ferry", targets=MODELS[name][2], min_steps=1)

    layers = {
        key.split(".mlp.")[0].rpartition(".")[2] for key in load_file(tmp_path / "ferry/adapter_model.safetensors")
    }
    assert layers == {"1"}


@pytest.mark.parametrize("name", MODELS)
def test_a_decoder_is_cut_only_where_that_changes_nothing(name: str) -> None:
    """Where it is cut, the two parts give what the whole gives, at every length."""
    lm, can = tiny(name), MODELS[name][3]

    assert can_be_split(lm.decoder, 1, device="cpu") == can
    if can:
        split, ids = LayerSplit(lm.decoder, 1), torch.arange(3, 203)[None]
        with torch.no_grad():
            whole = lm.decoder(input_ids=ids, use_cache=False).last_hidden_state
            torch.testing.assert_close(split.upper(split.lower(ids)), whole)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", MODELS)
def test_an_adapter_acts_on_the_answer_where_the_decoder_goes_on_from_what_it_read(
    name: str, dtype: torch.dtype, tmp_path: Path
) -> None:
    """Rounding to fewer bits is no reason not to; a decoder that cannot be cut is trained everywhere."""
    lm = tiny(name)
    lm.base.to(dtype)

    report = trainer(lm, targets=MODELS[name][2], min_steps=1).train([FERRY], seed=0, folder=tmp_path)

    assert report["acts_on"] == ("answer" if MODELS[name][3] else "all")


@pytest.mark.parametrize("when", ["reading", "going on"])
def test_a_decoder_that_forgets_what_it_read_is_trained_everywhere(when: str, tmp_path: Path) -> None:
    """It keeps nothing, or goes on as if nothing had stood before."""
    lm = tiny("qwen2")
    forward = lm.decoder.forward

    def forgetful(**given: Any) -> Any:
        if when == "reading" or "attention_mask" in given:
            given |= {"past_key_values": None, "attention_mask": None}
        return forward(**given)

    lm.decoder.forward = forgetful

    assert trainer(lm, min_steps=1).train([FERRY], seed=0, folder=tmp_path)["acts_on"] == "all"


def test_cut_or_whole_the_loss_is_the_same() -> None:
    """The same items, once with the lower layers' states kept and once without."""
    lm = tiny("qwen2")
    kept = trainer(lm)._objective([FERRY, LAMP], settings(), "answer")
    whole = trainer(lm, frozen_layers=0.0)._objective([FERRY, LAMP], settings(frozen_layers=0.0), "answer")

    assert kept.loss([0, 1]).item() == pytest.approx(whole.loss([0, 1]).item(), abs=1e-5)


def test_a_model_without_the_targets_says_so(tmp_path: Path) -> None:
    """The message names the setting."""
    with pytest.raises(ConfigError, match=r"name linear layers of it in training\.targets"):
        trained(tiny("gpt2"), tmp_path / "ferry")


def test_a_model_that_changes_its_logits_in_an_unknown_way_is_refused(tmp_path: Path) -> None:
    """Training on other logits than those that answer would be wrong without an error."""
    lm = tiny("qwen2")
    forward = lm.base.forward

    def doubled(*given: Any, **named: Any) -> Any:
        out = forward(*given, **named)
        out.logits = out.logits * 2
        return out

    lm.base.forward = doubled

    with pytest.raises(ConfigError, match="'qwen2' change their logits after the output layer"):
        trained(lm, tmp_path / "ferry")


# ------------------------------------------------------------ less memory


@pytest.mark.parametrize("name", ["qwen2", "gpt2"])
def test_checkpointing_gives_the_same_weights(name: str, tmp_path: Path) -> None:
    """Activations are computed again instead of kept; dropout, which GPT-2 has, stays off."""
    given: dict[str, Any] = {"targets": MODELS[name][2], "min_steps": 3, "frozen_layers": 0.0, "acts_on": "all"}
    trained(tiny(name), tmp_path / "kept", **given)
    trained(tiny(name), tmp_path / "again", gradient_checkpointing=True, **given)

    kept, again = (load_file(tmp_path / folder / "adapter_model.safetensors") for folder in ("kept", "again"))
    for key, tensor in kept.items():
        torch.testing.assert_close(again[key], tensor, atol=1e-6, rtol=0)


def test_checkpointing_computes_the_layers_twice(tmp_path: Path) -> None:
    """Three steps of two layers are 6 passes, 12 with the second one on the way back."""
    passes = {}
    for checkpointed in (False, True):
        lm, calls = tiny("qwen2"), []
        for layer in lm.decoder.layers:
            layer.mlp.register_forward_pre_hook(lambda *_, calls=calls: calls.append(1))
        given = {"min_steps": 3, "frozen_layers": 0.0, "acts_on": "all", "gradient_checkpointing": checkpointed}
        trained(lm, tmp_path / str(checkpointed), **given)
        passes[checkpointed] = len(calls)

    assert passes[True] - passes[False] == 6
