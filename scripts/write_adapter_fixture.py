"""Record an adapter of this version, so that every later version can be shown to read it.

    python scripts/write_adapter_fixture.py

Run once for each release: trains one question into the tiny model of hybrid_memory.testing and writes
tests/data/adapters/<version>/ with the adapter as the trainer leaves it, and recorded.json with the
question, the answer, its score and the logits after the question. Never run it for an old version:
tests/test_trainer.py compares what is there with what the present code makes of it.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import torch

from hybrid_memory.config import TrainingSettings
from hybrid_memory.testing import tiny_language_model
from hybrid_memory.types import AdapterStatus, AdapterVersion, StudyItem, Turn
from hybrid_memory.weights.trainer import LoraTrainer

FOLDER = Path(__file__).parent.parent / "tests" / "data" / "adapters"
QUESTION, ANSWER = "When does the tower bell ring?", "At noon, twice."


def main() -> None:
    """Write the folder of the version that is installed."""
    torch.set_num_threads(1)
    folder = FOLDER / version("hybrid-memory-sdk")
    folder.mkdir(parents=True)
    lm = tiny_language_model()
    chat = [Turn("user", QUESTION)]
    settings = TrainingSettings(lora_rank=4, lora_alpha=8.0, learning_rate=2e-2, epochs=1, min_steps=60)
    LoraTrainer(lm, settings).train(
        [StudyItem(prompt=QUESTION, response=ANSWER, form="question")], seed=0, folder=folder
    )
    (folder / "README.md").unlink(missing_ok=True)  # PEFT's model card, empty
    adapter = _version(folder)
    with lm.adapted([adapter]), torch.no_grad():
        logits = lm.base(input_ids=torch.tensor([lm.chat_tokens(chat)])).logits[0, -1]
    recorded = {
        "base": lm.fingerprint,
        "question": QUESTION,
        "answer": lm.generate([chat], adapters=[adapter], max_new_tokens=20)[0].text,
        "score": lm.score([(chat, ANSWER)], adapters=[adapter])[0],
        "logits": [round(value, 6) for value in logits.tolist()],
    }
    (folder / "recorded.json").write_text(json.dumps(recorded, indent=1) + "\n", encoding="utf-8")
    print(f"{folder.name}: {sum(file.stat().st_size for file in folder.iterdir())} bytes, says {recorded['answer']!r}")


def _version(folder: Path) -> AdapterVersion:
    return AdapterVersion(
        id="recorded-v1",
        shard_id="recorded",
        number=1,
        status=AdapterStatus.ACTIVE,
        path=str(folder),
        created_at=datetime.now(UTC),
        record_ids=(),
        manifest={},
        metrics={},
    )


if __name__ == "__main__":
    main()
