"""The learners that forgetting.py compares with: SEAL merged window by window, one LoRA trained on, joint retraining.

Flow:     the self-edits the product wrote, window by window -> [sequential learner] -> answers
Imports:  forgetting_arms; the weights stage

They get the very self-edits that the product wrote: what differs is only how these are put into the weights.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, set_peft_model_state_dict
from safetensors.torch import load_file, save_file

from benchmarks.forgetting_arms import LONGEST, Given, by_model
from benchmarks.report import adapter_in
from benchmarks.stream import Question
from hybrid_memory import AdapterVersion
from hybrid_memory.config import TrainingSettings
from hybrid_memory.durable import write_text
from hybrid_memory.types import StudyItem
from hybrid_memory.weights.language_model import LocalLanguageModel
from hybrid_memory.weights.seal_compat import released_settings
from hybrid_memory.weights.trainer import LoraTrainer

__all__ = ["SEAL", "Sequential"]

SEAL = released_settings(TrainingSettings())
"""SEAL's released inner loop, kinder: no padding in the loss, chat form, and loss on the answer only."""


class _Continued(LocalLanguageModel):
    """A language model whose new adapters begin as a copy of an older one, when there is one."""

    start: Path | None = None

    @contextmanager
    def fresh_adapter(self, name: str, config: LoraConfig, *, seed: int) -> Iterator[PeftModel]:
        with super().fresh_adapter(name, config, seed=seed) as peft:
            if self.start is not None:
                set_peft_model_state_dict(peft, load_file(self.start / "adapter_model.safetensors"), adapter_name=name)
            yield peft


class Sequential:
    """One learner that takes the windows one after the other; its state after each window lies on disk.

    merge: each window's adapter is merged into the weights, as SEAL does; otherwise one adapter is trained on.
    replay: as many items of earlier windows are studied again as there are new ones.
    joint: one adapter is trained from the base over all windows so far.
    """

    def __init__(
        self,
        folder: Path,
        *,
        load: Callable[[], LocalLanguageModel],
        recipe: TrainingSettings,
        merge: bool = False,
        replay: bool = False,
        joint: bool = False,
        longest: int = LONGEST,
    ) -> None:
        self._folder, self._recipe = folder, recipe
        self._merge, self._replay, self._joint, self.longest = merge, replay, joint, longest
        loaded = load()
        self.language_model = _Continued(loaded.base, loaded.tokenizer)
        self._original = {name: weight.data for name, weight in self._targets()}
        self.adapters: tuple[AdapterVersion, ...] = ()
        folder.mkdir(parents=True, exist_ok=True)

    def learn(self, window: int, materials: Sequence[Path]) -> Mapping[str, object]:
        """Learn a window, or load the state after it when it was learned before; return what it cost.

        Args:
            window: from 0.
            materials: the study material of all windows up to this one.
        """
        state = self._folder / f"after-{window}"
        if not (state / "cost.json").exists():
            state.mkdir(exist_ok=True)
            items = self._items(window, materials)
            started = time.monotonic()
            self.language_model.start = None if self._merge or self._joint or window == 0 else self._before(window)
            trained = LoraTrainer(self.language_model, self._recipe).train(
                items,
                seed=self._recipe.seed,
                folder=state,
            )
            spent = time.monotonic() - started
            cost: dict[str, object] = {"tokens": trained["tokens"], "seconds": spent, "items": len(items)}
            if self._merge:
                self._merge_in(adapter_in(state, f"edit-{window}"), state)
            cost["bytes"] = self._size_bytes(state)
            write_text(state / "cost.json", json.dumps(cost))
        self._take(window, state)
        return dict(json.loads((state / "cost.json").read_text(encoding="utf-8")))

    def ask(self, questions: Sequence[Question]) -> list[Given]:
        """Ask without evidence."""
        return by_model(self.language_model, questions, self.adapters, longest=self.longest)

    def _size_bytes(self, state: Path) -> int:
        """Return the bytes of what has to be kept: the changed matrices, or the adapter."""
        name = "merged.safetensors" if self._merge else "adapter_model.safetensors"
        return (state / name).stat().st_size

    def _before(self, window: int) -> Path:
        return self._folder / f"after-{window - 1}"

    def _items(self, window: int, materials: Sequence[Path]) -> list[StudyItem]:
        by_window = [[StudyItem(**row) for row in json.loads(file.read_text())] for file in materials[: window + 1]]
        if self._joint:
            return [item for items in by_window for item in items]
        new = by_window[window]
        old = [item for items in by_window[:window] for item in items]
        if not self._replay:
            return new
        return [*new, *random.Random(f"replay {window}").sample(old, min(len(new), len(old)))]

    def _merge_in(self, version: AdapterVersion, state: Path) -> None:
        """Write what the target matrices are with the adapter added, in the base's own precision."""
        with self.language_model.adapted([version]):
            merged = {name: weight.data.clone().contiguous() for name, weight in self._targets()}
        self.language_model.release(version.id)
        save_file(merged, str(state / "merged.safetensors"))

    def _take(self, window: int, state: Path) -> None:
        """Make the state after a window the one that answers."""
        if self._merge:
            merged = load_file(str(state / "merged.safetensors"))
            with self.language_model.adapted(()):
                for name, weight in self._targets():
                    weight.data = merged[name]
        else:
            self.adapters = (adapter_in(state, f"sequence-{window}"),)

    def _targets(self) -> list[tuple[str, torch.nn.Parameter]]:
        """Return the base's matrices that the recipe changes, by the names they have without adapters."""
        named = [
            (name.replace(".base_layer", ""), weight) for name, weight in self.language_model.base.named_parameters()
        ]
        return [
            (name, weight)
            for name, weight in named
            if "lora_" not in name and any(name.endswith(f"{target}.weight") for target in self._recipe.targets)
        ]
