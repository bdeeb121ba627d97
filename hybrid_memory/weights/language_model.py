"""The base model with its adapters: writes, scores, and tells how far an adapter moved it.

Flow:    selfedit, gate and answering -> [language model] <- trainer
Imports: errors, types; decoding and store of this stage.

One PEFT model lives as long as the process: adapters are named, loaded once and summed when
several are asked for. PEFT puts LoRA layers into the base model in place (huggingface/peft
issue 430), so nothing here ever wraps the base a second time.

To decode fast, an adapter is folded into the weights in memory and taken out again by putting
the very same base tensors back, so the base is bit-identical afterwards (promise 1 of the design).

One lock guards the weights: answers may be written between two training steps, never during one.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import torch
from peft import LoraConfig, PeftModel, get_peft_model, set_peft_model_state_dict
from peft.tuners.lora import LoraLayer
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig
from transformers.utils import logging as transformers_logging

from hybrid_memory.errors import AdapterError, ConfigError, InputError, MissingExtraError, ModelError
from hybrid_memory.types import AdapterVersion, Generation, Turn
from hybrid_memory.weights.decoding import Stream, decode
from hybrid_memory.weights.store import MANIFEST, check_files

__all__ = ["LocalLanguageModel", "Sequences"]

Row = TypeVar("Row", list[int], tuple[list[int], int])
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Sequences:
    """Token rows of unequal length, padded to the right.

    Attributes:
        ids: shape (rows, longest), int64.
        rows: shape (targets,), int64; row of each token the loss or score looks at.
        columns: shape (targets,), int64; the position *before* that token.
        targets: shape (targets,), int64; the tokens themselves.
    """

    ids: Tensor
    rows: Tensor
    columns: Tensor
    targets: Tensor

    @classmethod
    def pad(cls, rows: Sequence[tuple[Sequence[int], int]], *, pad: int) -> Sequences:
        """Put (token ids, index of the first token that counts) rows together.

        Padding stands to the right, where causal attention never looks, so no mask is needed;
        and it is no target, so it never enters a loss (the released SEAL loop trains on it).
        """
        longest = max(len(ids) for ids, _ in rows)
        places = [(row, column) for row, (ids, start) in enumerate(rows) for column in range(start, len(ids))]
        return cls(
            ids=torch.tensor([[*ids, *[pad] * (longest - len(ids))] for ids, _ in rows]),
            rows=torch.tensor([row for row, _ in places], dtype=torch.long),
            columns=torch.tensor([column - 1 for _, column in places], dtype=torch.long),
            targets=torch.tensor([rows[row][0][column] for row, column in places], dtype=torch.long),
        )


class LocalLanguageModel:
    """A Hugging Face causal language model on this machine, with LoRA adapters by name."""

    def __init__(self, base: nn.Module, tokenizer: Any, *, batch_size: int = 32, fold: bool = True) -> None:
        """Take a model that is already in memory; its parameters are frozen.

        Args:
            base: a causal language model of transformers.
            tokenizer: its tokenizer.
            batch_size: prompts generated or scored together.
            fold: put adapters into the weights to answer; False, for weights that are quantised, keeps them beside.
        """
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        self.base: Any = base.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.peft: PeftModel | None = None
        self._batch_size = batch_size
        self._fold_in = fold
        self._fingerprint = _fingerprint(base)
        self._folded: tuple[str, ...] = ()
        self._unfolded: list[tuple[nn.Linear, Tensor]] = []
        self._stops: dict[str, Tensor] = {}
        self._control = _control_tokens(tokenizer)
        self._lock = threading.RLock()

    @classmethod
    def load(
        cls,
        source: Path | str,
        *,
        device: str = "cpu",
        dtype: str = "bfloat16",
        four_bit: bool = False,
        threads: int = 0,
        batch_size: int = 32,
    ) -> LocalLanguageModel:
        """Load a model folder or a Hugging Face id.

        Args:
            source: folder with config.json and safetensors, or a hub id.
            device: "cpu", "cuda" or "mps".
            dtype: of the frozen base weights; adapters are float32.
            four_bit: hold the base weights in four bits (NF4, needs bitsandbytes) and compute in `dtype`.
            threads: torch threads; 0 takes one per core.
            batch_size: prompts generated or scored together.

        Raises:
            ModelError: there is no model at `source`, or the device is not there.
            ConfigError: four_bit on another device than cuda.
            MissingExtraError: four_bit without bitsandbytes.
        """
        torch.set_num_threads(threads or os.cpu_count() or 1)
        transformers_logging.disable_progress_bar()  # a library draws no bars
        packed = _four_bit(device, dtype) if four_bit else {}
        try:
            base = AutoModelForCausalLM.from_pretrained(str(source), dtype=getattr(torch, dtype), **packed)
            tokenizer = AutoTokenizer.from_pretrained(str(source))
        except (OSError, ValueError, KeyError) as error:
            raise ModelError(
                f"{source} cannot be loaded as a language model ({error}); give a folder with config.json and "
                "*.safetensors, a .gguf file or a Hugging Face id, or run `hybrid-memory models pull`"
            ) from error
        try:
            moved = base if four_bit else base.to(device)
            return cls(moved, tokenizer, batch_size=batch_size, fold=not four_bit)
        except (RuntimeError, AssertionError) as error:
            raise ModelError(f"device {device!r} is not usable here ({error}); set model.device to cpu") from error

    @property
    def fingerprint(self) -> str:
        """12 hex digits over names, shapes and samples of the base weights."""
        return self._fingerprint

    @property
    def decoder(self) -> Any:
        """The transformer body without its output layer."""
        return self.base.get_decoder()

    def head(self, hidden: Tensor) -> Tensor:
        """Return the logits of hidden states, with the scale or the cap that some models put on them."""
        config = self.base.config
        logits: Tensor = self.base.get_output_embeddings()(hidden)
        if scale := getattr(config, "logit_scale", None):  # Cohere
            logits = logits * scale
        if divisor := getattr(config, "logits_scaling", None):  # Granite
            logits = logits / divisor
        if cap := getattr(config, "final_logit_softcapping", None):  # Gemma 2
            logits = cap * torch.tanh(logits / cap)
        return logits

    # ------------------------------------------------------------ writing

    def generate(
        self,
        prompts: Sequence[Sequence[Turn]],
        *,
        adapters: Sequence[AdapterVersion] = (),
        max_new_tokens: int,
        temperature: float = 0.0,
        seed: int = 0,
        begun: Sequence[str] | None = None,
        on_text: Callable[[str], None] | None = None,
    ) -> list[Generation]:
        """Answer each chat; `adapters` are summed. `on_text` streams the text of a single prompt.

        `begun`: what each answer begins with already, one per chat; what is returned goes on from there.
        """
        starts = begun or [""] * len(prompts)
        tokens = [
            [*self.chat_tokens(turns), *self._encode(self._plain(start))]
            for turns, start in zip(prompts, starts, strict=True)
        ]
        with self.adapted(adapters):
            return self._in_batches(
                tokens,
                lambda batch: self._decode(
                    batch,
                    max_new_tokens=max_new_tokens,
                    temperature=temperature,
                    seed=seed,
                    on_text=on_text if len(prompts) == 1 else None,
                ),
            )

    def complete(
        self,
        prompts: Sequence[str],
        *,
        max_new_tokens: int,
        temperature: float,
        seed: int,
        stop: str | None = "\n",
        samples: int = 1,
    ) -> list[list[str]]:
        """Continue each plain text with the base model, `samples` times, up to `stop` (None: to the end token).

        The samples of one prompt share its prefix: the prompt is read once (12 questions for each of
        24 statements: 13 s on 2 cores, where prompts of their own took 72 s for 20).
        """
        tokens = [self._encode(self._plain(text)) or [self._first_token()] for text in prompts]

        def decode(batch: list[list[int]]) -> list[list[str]]:
            written = self._decode(
                batch, max_new_tokens=max_new_tokens, temperature=temperature, seed=seed, stop=stop, samples=samples
            )
            texts = [one.text for one in written]
            return [texts[start : start + samples] for start in range(0, len(texts), samples)]

        with self.adapted(()):
            return self._in_batches(tokens, decode)

    # ------------------------------------------------------------ scoring

    @torch.inference_mode()
    def score(
        self, pairs: Sequence[tuple[Sequence[Turn], str]], *, adapters: Sequence[AdapterVersion] = ()
    ) -> list[float]:
        """Return the mean natural log-probability per token of each response after its chat.

        An empty chat scores the response as plain text.
        """
        rows = [self.training_tokens(turns, response) for turns, response in pairs]

        def score(batch: list[tuple[list[int], int]]) -> list[float]:
            sequences, logits = self._teacher_forced(batch)
            chosen = logits.log_softmax(-1).gather(1, sequences.targets[:, None]).squeeze(1)
            total = torch.zeros(len(batch)).index_add_(0, sequences.rows, chosen)
            count = torch.zeros(len(batch)).index_add_(0, sequences.rows, torch.ones_like(chosen))
            means: list[float] = (total / count).tolist()
            return means

        with self.adapted(adapters):
            return self._in_batches(rows, score)

    @torch.inference_mode()
    def drift(self, prompts: Sequence[Sequence[Turn]], *, adapters: Sequence[AdapterVersion]) -> float:
        """Return the mean KL(base || adapted) per token, in nats, over the base's own answers.

        Forgetting grows with this quantity (RL's Razor; parametric.md, section 2).
        """
        answers = self.generate(prompts, max_new_tokens=16)
        rows = [self.training_tokens(turns, answer.text or " ") for turns, answer in zip(prompts, answers, strict=True)]
        total, tokens = 0.0, 0
        for start in range(0, len(rows), 8):  # 8 answers: the two logit tables stay below 100 MB
            batch = rows[start : start + 8]
            with self.adapted(()):
                _, base = self._teacher_forced(batch)
            with self.adapted(adapters):
                _, moved = self._teacher_forced(batch)
            base, moved = base.log_softmax(-1), moved.log_softmax(-1)
            total += float((base.exp() * (base - moved)).sum())
            tokens += base.shape[0]
        return total / max(tokens, 1)

    # ------------------------------------------------------------ adapters

    @contextmanager
    def adapted(self, adapters: Sequence[AdapterVersion]) -> Iterator[None]:
        """Run with the sum of these adapters folded in; without any, exactly the base model.

        Raises:
            AdapterError: an adapter is damaged, missing, or made for another base model.
        """
        names = tuple(version.id for version in adapters)
        with self._lock:
            if names != self._folded:
                self._unfold()
                for version in adapters:
                    self._load(version)
                self._fold(names)
            self._branch(names)
            yield

    @contextmanager
    def training(self, name: str) -> Iterator[None]:
        """Run with this adapter, and no other, on and trainable."""
        with self._lock:
            self._unfold()
            if self.peft is None or name not in self.peft.peft_config:
                raise AdapterError(f"there is no adapter {name!r} to train; create_adapter() makes one")
            self.peft.base_model.enable_adapter_layers()
            self.peft.set_adapter(name)
            yield

    def create_adapter(self, name: str, config: LoraConfig) -> PeftModel:
        """Add a fresh, trainable adapter and return the model with it switched on.

        Raises:
            ConfigError: the base model has none of the config's target modules.
        """
        with self._lock:
            try:
                peft = self._add(name, config)
            except ValueError as error:
                self.release(name)
                raise ConfigError(
                    f"this model cannot take the adapter ({error}); name linear layers of it in training.targets"
                ) from error
            with self.training(name):
                return peft

    def release(self, adapter_id: str) -> None:
        """Drop an adapter from memory; nothing happens when it is not loaded."""
        with self._lock:
            if adapter_id in self._folded:
                self._unfold()
            if self.peft is not None and adapter_id in self.peft.peft_config:
                # deleting the active adapter would make PEFT switch another one on, trainable
                self.peft.base_model.set_adapter([])
                self.peft.delete_adapter(adapter_id)

    def _add(self, name: str, config: LoraConfig) -> PeftModel:
        self._unfold()
        if self.peft is None:
            with warnings.catch_warnings():  # peft 0.21 reads a name that transformers 5.20 renamed; harmless
                warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`", category=FutureWarning)
                self.peft = get_peft_model(self.base, config, adapter_name=name)
        else:
            self.peft.add_adapter(name, config)
        return self.peft

    def _load(self, version: AdapterVersion) -> None:
        if self.peft is not None and version.id in self.peft.peft_config:
            return
        if version.manifest.get("base") not in (None, self.fingerprint):
            raise AdapterError(
                f"adapter {version.id} was trained on base model {version.manifest['base']}, "
                f"this is {self.fingerprint}; open the memory with its own model, or consolidate again"
            )
        if (Path(version.path) / MANIFEST).is_file():  # a candidate has none yet
            check_files(Path(version.path))
        try:
            # autograd refuses tensors that were born in inference mode, when training comes later
            with torch.inference_mode(False), torch.random.fork_rng(devices=[]):
                self._read(version.id, Path(version.path))
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            self.release(version.id)
            raise AdapterError(
                f"adapter {version.id} cannot be loaded from {version.path} ({_short(error)}); roll back with "
                "`hybrid-memory adapters rollback`, or consolidate again to rebuild it"
            ) from error

    def _read(self, name: str, folder: Path) -> None:
        """Read an adapter's files; every weight it should have must be there, and no other."""
        file = folder / "adapter_model.safetensors"
        if not (folder / "adapter_config.json").is_file() or not file.is_file():  # PEFT would ask the hub for them
            raise OSError(f"adapter_config.json or {file.name} is missing")
        weights = load_file(file)
        peft = self._add(name, LoraConfig.from_pretrained(str(folder)))
        result = set_peft_model_state_dict(peft, weights, adapter_name=name)
        missing = [key for key in result.missing_keys if "lora_" in key and f".{name}." in key]
        if missing or result.unexpected_keys:
            raise ValueError(f"missing weights: {missing or 'none'}; unexpected: {result.unexpected_keys or 'none'}")
        peft.requires_grad_(False)

    def _fold(self, names: tuple[str, ...]) -> None:
        if not self._fold_in:
            self._folded = names
            return
        if self.peft is None or not names:
            return
        for module in self.peft.modules():
            present = [name for name in names if isinstance(module, LoraLayer) and name in module.lora_A]
            if not present:
                continue
            linear = module.get_base_layer()
            base = linear.weight.data
            self._unfolded.append((linear, base))
            with torch.no_grad():
                delta = sum((module.get_delta_weight(name).float() for name in present), torch.zeros(()))
                linear.weight.data = (base.float() + delta).to(base.dtype)
        self._folded = names

    def _branch(self, names: tuple[str, ...]) -> None:
        """Switch the side branches on that are not folded in; without folding those are all that serve."""
        if self.peft is None:
            return
        if self._fold_in or not names:
            self.peft.base_model.disable_adapter_layers()
        else:
            self.peft.base_model.enable_adapter_layers()
            self.peft.base_model.set_adapter(list(names), inference_mode=True)

    def _unfold(self) -> None:
        for linear, base in self._unfolded:
            linear.weight.data = base
        self._unfolded.clear()
        self._folded = ()

    # ------------------------------------------------------------ tokens

    def chat_tokens(self, turns: Sequence[Turn]) -> list[int]:
        """Return the token ids of a chat, ready for the assistant's words.

        Control tokens spelt out in a turn stay text: no document and no question ends its own turn.
        """
        messages = [{"role": turn.role, "content": self._plain(turn.content)} for turn in turns]
        if self.tokenizer.chat_template is None:
            text = "\n".join(message["content"] for message in messages) + "\n"
        else:
            text = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        return self._encode(text)

    def training_tokens(self, turns: Sequence[Turn], response: str) -> tuple[list[int], int]:
        """Return (token ids, index of the first token of the response); no chat means plain text."""
        if not response:
            raise InputError("a response without a single token cannot be scored or trained on; drop it")
        prompt = self.chat_tokens(turns) if turns else [self._first_token()]
        return [*prompt, *self._encode(self._plain(response)), self.tokenizer.eos_token_id], len(prompt)

    def _plain(self, text: str) -> str:
        """Put a space into control tokens that are spelt out, so that they are read letter by letter."""
        return self._control.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text)

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def _first_token(self) -> int:
        first = self.tokenizer.bos_token_id
        return int(first if first is not None else self.tokenizer.eos_token_id)

    def _answer_ends(self) -> Tensor:
        """Return the tokens that end an answer: the model's own, and the one that training ends with."""
        ends = getattr(self.base.generation_config, "eos_token_id", None)
        own = ends if isinstance(ends, list) else [] if ends is None else [ends]
        return torch.tensor(sorted({*own, self.tokenizer.eos_token_id}))

    def _tokens_with(self, text: str) -> Tensor:
        if text not in self._stops:
            words = self.tokenizer.batch_decode([[token] for token in range(len(self.tokenizer))])
            self._stops[text] = torch.tensor(
                [token for token, word in enumerate(words) if text in word], dtype=torch.long
            )
        return self._stops[text]

    # ------------------------------------------------------------ batches

    def _in_batches(self, rows: Sequence[Row], work: Callable[[list[Row]], list[Result]]) -> list[Result]:
        """Run `work` on batches of rows of similar length; results come back in the order of `rows`."""
        order = sorted(range(len(rows)), key=lambda place: _length(rows[place]))
        results: dict[int, Result] = {}
        for start in range(0, len(order), self._batch_size):
            places = order[start : start + self._batch_size]
            results.update(zip(places, work([rows[place] for place in places]), strict=True))
        return [results[place] for place in range(len(rows))]

    def _teacher_forced(self, rows: Sequence[tuple[list[int], int]]) -> tuple[Sequences, Tensor]:
        """Return the padded rows and float32 logits, shape (targets, vocabulary), where they count."""
        sequences = Sequences.pad(rows, pad=self.tokenizer.pad_token_id)
        hidden = self.decoder(input_ids=sequences.ids.to(self.base.device), use_cache=False).last_hidden_state
        return sequences, self.head(hidden[sequences.rows, sequences.columns]).float().cpu()

    def _decode(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        max_new_tokens: int,
        temperature: float,
        seed: int,
        stop: str | None = None,
        samples: int = 1,
        on_text: Callable[[str], None] | None = None,
    ) -> list[Generation]:
        """Write after each prompt, `samples` times, until an end token, the stop text or the limit."""
        ends = self._answer_ends()
        stream = Stream(on_text)
        rows = decode(
            self.base,
            prompts,
            pad=self.tokenizer.pad_token_id,
            ends=ends,
            last=ends if stop is None else torch.cat([ends, self._tokens_with(stop)]),
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            seed=seed,
            samples=samples,
            on_tokens=lambda tokens: stream.show(lambda: self._text(tokens, stop)),
        )
        stream.show(lambda: self._text(rows[0].tokens, stop), whole=True)
        return [
            Generation(
                text=self._text(row.tokens, stop),
                prompt_tokens=len(prompts[number // samples]),
                completion_tokens=len(row.tokens),
                mean_logprob=row.mean_logprob,
            )
            for number, row in enumerate(rows)
        ]

    def _text(self, tokens: Sequence[int], stop: str | None) -> str:
        text: str = self.tokenizer.decode(tokens, skip_special_tokens=True)
        return (text.partition(stop)[0] if stop else text).strip()


def _four_bit(device: str, dtype: str) -> dict[str, Any]:
    """Return what loads a model with four-bit weights."""
    if device != "cuda":  # bitsandbytes 0.50 has kernels for others, but gradients through them are not defined
        raise ConfigError(
            f"model.four_bit works on device cuda only, got {device!r}; set model.device to cuda, or four_bit to false"
        )
    if find_spec("bitsandbytes") is None:
        raise MissingExtraError(
            "model.four_bit needs bitsandbytes; run `pip install 'hybrid-memory-sdk[four-bit]'`, "
            "or set model.four_bit to false"
        )
    packing = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=getattr(torch, dtype)
    )
    return {"quantization_config": packing, "device_map": {"": device}}


def _control_tokens(tokenizer: Any) -> re.Pattern[str]:
    """Return what finds the tokens that only a chat template may write, such as "<|im_end|>"."""
    added = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
    names = sorted({*tokenizer.all_special_tokens, *added}, key=len, reverse=True)
    return re.compile("|".join(re.escape(name) for name in names if len(name) > 1) or r"(?!)")


def _short(error: Exception) -> str:
    """Return an error's message on one line; torch lists every tensor that does not fit."""
    return " ".join(str(error).split())[:300]


def _length(row: Sequence[Any]) -> int:
    return len(row[0]) if isinstance(row, tuple) else len(row)


def _fingerprint(base: nn.Module) -> str:
    """Hash names, shapes and 64 evenly spaced values of every weight: 269 MB need not be read in full."""
    digest = hashlib.sha256()
    for name, tensor in sorted(base.state_dict().items()):
        flat = tensor.detach().flatten()
        sample = flat[:: max(1, flat.numel() // 64)][:64].float().cpu().numpy()
        digest.update(f"{name}{tuple(tensor.shape)}".encode() + sample.tobytes())
    return digest.hexdigest()[:12]
