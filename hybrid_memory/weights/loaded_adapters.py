"""The adapters that are in memory beside the base weights: folded in to answer, switched on to be trained.

Flow:    adapter folders -> [loaded adapters] <- language model
Imports: errors, types; the store's file check of this stage.

One PEFT model lives as long as the process: adapters are named, loaded once and summed when
several are asked for. PEFT puts LoRA layers into the base model in place (huggingface/peft
issue 430), so nothing here ever wraps the base a second time.

To decode fast, an adapter is folded into the weights in memory and taken out again by putting
the very same base tensors back, so the base is bit-identical afterwards.

One lock guards the weights: answers may be written between two training steps, never during one. Another keeps
trainings apart: two windows of one process, such as a scheduled one and a deletion's, take turns.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model, set_peft_model_state_dict
from peft.tuners.lora import LoraLayer
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from hybrid_memory.errors import AdapterError, ConfigError
from hybrid_memory.types import AdapterVersion
from hybrid_memory.weights.store import MANIFEST, check_files

__all__ = ["LoadedAdapters"]


class LoadedAdapters:
    """The LoRA adapters of one base model, by name."""

    def __init__(self, base: Any, *, fingerprint: str, fold: bool) -> None:
        """Take a frozen base; without `fold`, for weights that are quantised, adapters stay beside the weights."""
        self.peft: PeftModel | None = None
        self._base = base
        self._fingerprint = fingerprint
        self._fold_in = fold
        self._folded: tuple[str, ...] = ()
        self._unfolded: list[tuple[nn.Linear, Tensor]] = []
        self._everywhere: set[str] = set()
        self._lock = threading.RLock()
        self._one_at_a_time = threading.RLock()

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

    def act_on_answers(self, adapters: Sequence[AdapterVersion]) -> bool:
        """Tell whether these adapters, in memory by now, leave what stands before the assistant's turn to the base.

        Beside one that acts everywhere, as those of labels do, all of them act everywhere.
        """
        return bool(adapters) and self._everywhere.isdisjoint(version.id for version in adapters)

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Run on the bare base inside `adapted`; what is folded in comes back afterwards as it was."""
        folded = [linear.weight.data for linear, _ in self._unfolded]
        for linear, base in self._unfolded:
            linear.weight.data = base
        self._branch(())
        try:
            yield
        finally:
            for (linear, _), weight in zip(self._unfolded, folded, strict=True):
                linear.weight.data = weight
            self._branch(self._folded)

    @contextmanager
    def training(self, name: str) -> Iterator[None]:
        """Run with this adapter, and no other, on and trainable."""
        with self._lock:
            self._unfold()
            if self.peft is None or name not in self.peft.peft_config:
                raise AdapterError(f"there is no adapter {name!r} to train; fresh_adapter() makes one")
            self.peft.base_model.enable_adapter_layers()
            self.peft.set_adapter(name)
            yield

    @contextmanager
    def fresh(self, name: str, config: LoraConfig, *, seed: int) -> Iterator[PeftModel]:
        """Keep a new, trainable adapter for as long as the block runs; whoever else wants one waits for its end.

        Answers go on meanwhile. The same seed gives the same adapter, whatever other threads do.

        Raises:
            ConfigError: the base model has none of the config's target modules.
        """
        with self._one_at_a_time:
            try:
                yield self._create(name, config, seed)
            finally:
                self.release(name)

    def release(self, adapter_id: str) -> None:
        """Drop an adapter from memory; nothing happens when it is not loaded."""
        with self._lock:
            if adapter_id in self._folded:
                self._unfold()
            if self.peft is not None and adapter_id in self.peft.peft_config:
                # deleting the active adapter would make PEFT switch another one on, trainable
                self.peft.base_model.set_adapter([])
                self.peft.delete_adapter(adapter_id)
                self._everywhere.discard(adapter_id)

    def _create(self, name: str, config: LoraConfig, seed: int) -> PeftModel:
        # PEFT initialises from the global generator, which loading an adapter for a query uses as well
        with self._lock, torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            try:
                return self._add(name, config)
            except ValueError as error:
                raise ConfigError(
                    f"this model cannot take the adapter ({error}); name linear layers of it in training.targets"
                ) from error

    def _add(self, name: str, config: LoraConfig) -> PeftModel:
        self._unfold()
        if self.peft is None:
            with warnings.catch_warnings():  # peft 0.21 reads a name that transformers 5.20 renamed; harmless
                warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`", category=FutureWarning)
                self.peft = get_peft_model(self._base, config, adapter_name=name)
        else:
            self.peft.add_adapter(name, config)
        return self.peft

    def _load(self, version: AdapterVersion) -> None:
        if self.peft is not None and version.id in self.peft.peft_config:
            return
        if version.manifest.get("base") not in (None, self._fingerprint):
            raise AdapterError(
                f"adapter {version.id} was trained on base model {version.manifest['base']}, "
                f"this is {self._fingerprint}; open the memory with its own model, or consolidate again"
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
        config = LoraConfig.from_pretrained(str(folder))
        if config.alora_invocation_tokens is None:
            self._everywhere.add(name)
        config.alora_invocation_tokens = None  # PEFT cannot fold such an adapter in; here the prompt is read without it
        peft = self._add(name, config)
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


def _short(error: Exception) -> str:
    """Return an error's message on one line; torch lists every tensor that does not fit."""
    return " ".join(str(error).split())[:300]
