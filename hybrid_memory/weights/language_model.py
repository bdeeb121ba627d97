"""The base model with its adapters: writes, scores, and tells how far an adapter moved it.

Flow:    selfedit, gate and answering -> [language model] <- trainer
Imports: types; loading, tokens, sequences, decoding and loaded adapters of this stage.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel
from torch import Tensor, nn

from hybrid_memory.types import AdapterVersion, Generation, Turn
from hybrid_memory.weights.decoding import Stream, decode
from hybrid_memory.weights.loaded_adapters import LoadedAdapters
from hybrid_memory.weights.loading import fingerprint, load_base
from hybrid_memory.weights.prefix import Prefix, read_prefix
from hybrid_memory.weights.sequences import Sequences, in_batches
from hybrid_memory.weights.tokens import Tokens

__all__ = ["LocalLanguageModel"]


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
        self.base: Any = base.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self._tokens = Tokens(tokenizer)
        self._batch_size = batch_size
        self._fingerprint = fingerprint(base)
        self._adapters = LoadedAdapters(self.base, fingerprint=self._fingerprint, fold=fold)

    @classmethod
    def load(
        cls,
        source: Path | str,
        *,
        device: str = "cpu",
        dtype: str = "auto",
        four_bit: bool = False,
        threads: int = 0,
        batch_size: int = 32,
    ) -> LocalLanguageModel:
        """Load a model folder or a Hugging Face id.

        Args:
            source: folder with config.json and safetensors, or a hub id.
            device: "cpu", "cuda" or "mps".
            dtype: of the frozen base weights, "auto" for the one that is fast here; adapters are float32.
            four_bit: hold the base weights in four bits (NF4, needs bitsandbytes) and compute in `dtype`.
            threads: torch threads; 0 takes one per core.
            batch_size: prompts generated or scored together.

        Raises:
            ModelError: there is no model at `source`, or the device is not there.
            ConfigError: four_bit on another device than cuda.
            MissingExtraError: four_bit without bitsandbytes.
        """
        base, tokenizer = load_base(source, device=device, dtype=dtype, four_bit=four_bit, threads=threads)
        return cls(base, tokenizer, batch_size=batch_size, fold=not four_bit)

    @property
    def fingerprint(self) -> str:
        """12 hex digits over names, shapes and samples of the base weights."""
        return self._fingerprint

    @property
    def window(self) -> int | None:
        """Tokens that a chat and its answer may have together; None for a model whose config names no limit."""
        window: int | None = getattr(self.base.config.get_text_config(), "max_position_embeddings", None)
        return window

    @property
    def layers(self) -> frozenset[str]:
        """Names of the base's modules, whatever layer they are in, such as "down_proj": adapters are put on some."""
        return frozenset(name.rpartition(".")[2] for name, _ in self.base.named_modules())

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
        rows = [self._begun(turns, start) for turns, start in zip(prompts, starts, strict=True)]
        with self.adapted(adapters):
            split = self._adapters.act_on_answers(adapters)
            return in_batches(
                rows,
                lambda batch: self._decode(
                    [ids for ids, _ in batch],
                    spoken=[start for _, start in batch] if split else None,
                    max_new_tokens=max_new_tokens,
                    temperature=temperature,
                    seed=seed,
                    on_text=on_text if len(prompts) == 1 else None,
                ),
                size=self._batch_size,
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
        tokens = [self._tokens.opening(text) for text in prompts]

        def decode(batch: list[list[int]]) -> list[list[str]]:
            written = self._decode(
                batch, max_new_tokens=max_new_tokens, temperature=temperature, seed=seed, stop=stop, samples=samples
            )
            texts = [one.text for one in written]
            return [texts[start : start + samples] for start in range(0, len(texts), samples)]

        with self.adapted(()):
            return in_batches(tokens, decode, size=self._batch_size)

    # ------------------------------------------------------------ scoring

    @torch.inference_mode()
    def score(
        self, pairs: Sequence[tuple[Sequence[Turn], str]], *, adapters: Sequence[AdapterVersion] = ()
    ) -> list[float]:
        """Return the mean natural log-probability per token of each response after its chat.

        An empty chat scores the response as plain text; adapters that act on answers have no part in it.
        """
        chats = [place for place, (turns, _) in enumerate(pairs) if turns]
        texts = [place for place, (turns, _) in enumerate(pairs) if not turns]
        with self.adapted(adapters):
            aside = self._adapters.resting() if self._adapters.act_on_answers(adapters) else nullcontext()
            scores = dict(zip(chats, self._scored([pairs[place] for place in chats], adapters), strict=True))
            with aside:
                scores |= zip(texts, self._scored([pairs[place] for place in texts], ()), strict=True)
        return [scores[place] for place in range(len(pairs))]

    def _scored(self, pairs: Sequence[tuple[Sequence[Turn], str]], adapters: Sequence[AdapterVersion]) -> list[float]:
        rows = [self._tokens.answered(turns, response) for turns, response in pairs]

        def score(batch: list[tuple[list[int], int]]) -> list[float]:
            sequences, logits = self._teacher_forced(batch, adapters)
            return sequences.mean_logprobs(logits)

        return in_batches(rows, score, size=self._batch_size)

    @torch.inference_mode()
    def drift(self, prompts: Sequence[Sequence[Turn]], *, adapters: Sequence[AdapterVersion]) -> float:
        """Return the mean KL(base || adapted) per token, in nats, over the base's own answers.

        Forgetting grows with this quantity (RL's Razor, arXiv 2509.04259).
        """
        answers = self.generate(prompts, max_new_tokens=16)
        rows = [
            self._tokens.answered(turns, answer.text or " ") for turns, answer in zip(prompts, answers, strict=True)
        ]
        total, tokens = 0.0, 0
        for start in range(0, len(rows), 8):  # 8 answers: the two logit tables stay below 100 MB
            batch = rows[start : start + 8]
            with self.adapted(()):
                _, base = self._teacher_forced(batch, ())
            with self.adapted(adapters):
                _, moved = self._teacher_forced(batch, adapters)
            base, moved = base.log_softmax(-1), moved.log_softmax(-1)
            total += float((base.exp() * (base - moved)).sum())
            tokens += base.shape[0]
        return total / max(tokens, 1)

    # ------------------------------------------------------------ what training works with

    @property
    def header(self) -> Sequence[int]:
        """Token ids with which the assistant's turn begins."""
        return self._tokens.header

    @property
    def peft(self) -> PeftModel | None:
        """The base with LoRA layers in it; None before the first adapter."""
        return self._adapters.peft

    def adapted(self, adapters: Sequence[AdapterVersion]) -> AbstractContextManager[None]:
        """Run with the sum of these adapters folded in; without any, exactly the base model.

        Raises:
            AdapterError: an adapter is damaged, missing, or made for another base model.
        """
        return self._adapters.adapted(adapters)

    def training(self, name: str) -> AbstractContextManager[None]:
        """Run with this adapter, and no other, on and trainable."""
        return self._adapters.training(name)

    def fresh_adapter(self, name: str, config: LoraConfig, *, seed: int) -> AbstractContextManager[PeftModel]:
        """Keep a new, trainable adapter for as long as the block runs; give the model that has it.

        Raises:
            ConfigError: the base model has none of the config's target modules.
        """
        return self._adapters.fresh(name, config, seed=seed)

    def release(self, adapter_id: str) -> None:
        """Drop an adapter from memory; nothing happens when it is not loaded."""
        self._adapters.release(adapter_id)

    def chat_tokens(self, turns: Sequence[Turn]) -> list[int]:
        """Return the token ids of a chat, ready for the assistant's words.

        Control tokens spelt out in a turn stay text: no document and no question ends its own turn.
        """
        return self._tokens.chat(turns)

    def training_tokens(self, turns: Sequence[Turn], response: str) -> tuple[list[int], int]:
        """Return (token ids, index of the first token of the response); no chat means plain text."""
        return self._tokens.answered(turns, response)

    # ------------------------------------------------------------ one batch

    def _begun(self, turns: Sequence[Turn], start: str) -> tuple[list[int], int]:
        """Return (token ids of a chat and of what its answer begins with, index of the assistant's turn in them)."""
        chat = self._tokens.chat(turns)
        return [*chat, *self._tokens.plain(start)], len(chat) - len(self._tokens.header)

    def _teacher_forced(
        self, rows: Sequence[tuple[list[int], int]], adapters: Sequence[AdapterVersion]
    ) -> tuple[Sequences, Tensor]:
        """Return the padded rows and float32 logits, shape (targets, vocabulary), where they count."""
        quiet = [0] * len(rows)
        if self._adapters.act_on_answers(adapters):
            quiet = [max(0, start - len(self._tokens.header)) for _, start in rows]
        prefix = self._read([ids[:until] for (ids, _), until in zip(rows, quiet, strict=True)])
        rest = [(ids[until:], start - until) for (ids, start), until in zip(rows, quiet, strict=True)]
        sequences = Sequences.pad(rest, pad=self._tokens.pad)
        ids = sequences.ids.to(self.base.device)
        told = prefix.before(torch.ones_like(ids)) if prefix.cache is not None else {"use_cache": False}
        hidden = self.decoder(input_ids=ids, **told).last_hidden_state
        return sequences, self.head(hidden[sequences.rows, sequences.columns]).float().cpu()

    def _read(self, beginnings: Sequence[Sequence[int]]) -> Prefix:
        """Read the beginnings of rows without any adapter."""
        with self._adapters.resting():
            return read_prefix(self.decoder, beginnings, pad=self._tokens.pad, device=self.base.device)

    def _decode(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        spoken: Sequence[int] | None = None,
        max_new_tokens: int,
        temperature: float,
        seed: int,
        stop: str | None = None,
        samples: int = 1,
        on_text: Callable[[str], None] | None = None,
    ) -> list[Generation]:
        """Write after each prompt, `samples` times, until an end token, the stop text or the limit.

        What stands before index `spoken` of a prompt is read without any adapter.
        """
        ends = self._answer_ends()
        stream = Stream(on_text)
        if len(set(map(tuple, prompts))) == 1:  # a chat that is sampled from several times is read once
            prompts, spoken, samples = prompts[:1], spoken and spoken[:1], samples * len(prompts)
        quiet = spoken or [0] * len(prompts)
        rows = decode(
            self.base,
            [prompt[until:] for prompt, until in zip(prompts, quiet, strict=True)],
            after=self._read([prompt[:until] for prompt, until in zip(prompts, quiet, strict=True)]),
            pad=self._tokens.pad,
            ends=ends,
            last=ends if stop is None else torch.cat([ends, self._tokens.holding(stop)]),
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            seed=seed,
            samples=samples,
            on_tokens=lambda tokens: stream.show(lambda: self._tokens.text(tokens, stop)),
        )
        stream.show(lambda: self._tokens.text(rows[0].tokens, stop), whole=True)
        return [
            Generation(
                text=self._tokens.text(row.tokens, stop),
                prompt_tokens=len(prompts[number // samples]),
                completion_tokens=len(row.tokens),
                mean_logprob=row.mean_logprob,
            )
            for number, row in enumerate(rows)
        ]

    def _answer_ends(self) -> Tensor:
        """Return the tokens that end an answer: the model's own, and the one that training ends with."""
        ends = getattr(self.base.generation_config, "eos_token_id", None)
        own = ends if isinstance(ends, list) else [] if ends is None else [ends]
        return torch.tensor(sorted({*own, self.tokenizer.eos_token_id}))
