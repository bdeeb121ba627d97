"""Make an adapter gentler without training it again.

Flow:    gate says "too much" -> [scaling] -> gate
Imports: nothing of this package.
"""

from __future__ import annotations

import json
from pathlib import Path

__all__ = ["scale_adapter"]


def scale_adapter(folder: Path, factor: float) -> None:
    """Multiply what an adapter adds to the base weights by `factor`, in place.

    LoRA adds lora_alpha / lora_rank times B A (Hu et al. 2021, section 4.1), so the scale is lora_alpha's.
    Who has the adapter in memory must release it first.
    """
    file = folder / "adapter_config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    config["lora_alpha"] *= factor
    file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
