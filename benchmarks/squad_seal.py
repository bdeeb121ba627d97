"""The passages, questions and self-edits that SEAL was measured on, read from a folder of public data.

Expects `squad_seal/dev.jsonl` (id, title, context, questions) and `squad_seal/dev_selfedits.jsonl` (id, file,
completions) in the data folder: SQuAD 1.1 passages (CC BY-SA 4.0) with the self-edits of SEAL's repository (MIT).
Nothing of them is in this repository. Passages are cut in two: the last fifth is for tuning, the rest is reported.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hybrid_memory import AdapterVersion
from hybrid_memory.grading import said
from hybrid_memory.types import Turn
from hybrid_memory.weights.language_model import LocalLanguageModel
from hybrid_memory.weights.sequences import Sequences

ANSWER_TOKENS = 32
"""SEAL decodes 64; the longest gold answers have about 20."""
FORMS = ("chat", "plain")
"""How questions are asked: in the model's chat form, or as SEAL asks a base model."""


@dataclass(frozen=True, slots=True)
class Question:
    """One question about a passage with its gold answer."""

    text: str
    answer: str


@dataclass(frozen=True, slots=True)
class Passage:
    """One passage with its questions and the self-edits that SEAL's own models wrote for it."""

    id: str
    title: str
    context: str
    questions: tuple[Question, ...]
    implications: tuple[str, ...]
    self_qa: tuple[str, ...]


def load_passages(data: Path, *, tuning: bool = False) -> list[Passage]:
    """Return the passages that have implications written by SEAL's models: those to report on, or those to tune on."""
    folder = data / "squad_seal"
    written: dict[str, dict[str, list[str]]] = {}
    for row in rows_of(folder / "dev_selfedits.jsonl"):
        kind = "self_qa" if "self-qa" in row["file"] else "implications"
        written.setdefault(row["id"], {}).setdefault(kind, []).extend(row["completions"])
    passages = [
        Passage(
            id=row["id"],
            title=row["title"],
            context=row["context"],
            questions=tuple(Question(one["question"], one["answer"]) for one in row["questions"]),
            implications=tuple(written[row["id"]].get("implications", ())),
            self_qa=tuple(written[row["id"]].get("self_qa", ())),
        )
        for row in rows_of(folder / "dev.jsonl")
        if row["id"] in written
    ]
    passages = [passage for passage in passages if passage.implications]
    cut = len(passages) * 4 // 5
    return passages[cut:] if tuning else passages[:cut]


def asked(passage: Passage, question: Question, *, shown: bool) -> tuple[Turn, ...]:
    """Return SEAL's question prompt as a chat, with the passage in it or without."""
    context = f"Passage: {passage.context}\n" if shown else ""
    text = f"Let's answer a question directly and concisely.\n{context}Question: Topic: {passage.title}\n"
    return (Turn("user", f"{text}{question.text}\nAnswer:"),)


@contextmanager
def prompts(language_model: LocalLanguageModel, form: str) -> Iterator[None]:
    """Ask in the model's chat form, or ("plain") in SEAL's own: the same words as text to be continued."""
    template = language_model.tokenizer.chat_template
    if form == "plain":
        language_model.tokenizer.chat_template = None
    try:
        yield
    finally:
        language_model.tokenizer.chat_template = template


def gold_logprobs(
    language_model: LocalLanguageModel,
    passage: Passage,
    *,
    adapters: Sequence[AdapterVersion] = (),
    form: str = "chat",
    shown: bool = False,
) -> list[float]:
    """Return the mean log-probability per token of each gold answer, in nats; the end token does not count."""
    with prompts(language_model, form):
        encoded = [
            language_model.training_tokens(asked(passage, question, shown=shown), question.answer)
            for question in passage.questions
        ]
    return answer_logprobs(language_model, [(ids[:-1], start) for ids, start in encoded], adapters)


@torch.inference_mode()
def answer_logprobs(
    language_model: LocalLanguageModel, rows: Sequence[tuple[list[int], int]], adapters: Sequence[AdapterVersion]
) -> list[float]:
    """Return the mean log-probability of each row's tokens from its start on, in nats."""
    batch = Sequences.pad(rows, pad=language_model.tokenizer.pad_token_id)
    with language_model.adapted(adapters):
        hidden = language_model.decoder(input_ids=batch.ids, use_cache=False).last_hidden_state
        table = language_model.head(hidden[batch.rows, batch.columns]).float().log_softmax(-1)
    found = table.gather(1, batch.targets[:, None]).squeeze(1)
    return [float(found[batch.rows == row].mean()) for row in range(len(rows))]


def contained(
    language_model: LocalLanguageModel,
    passages: Sequence[Passage],
    *,
    adapters: Sequence[AdapterVersion] = (),
    form: str = "chat",
    shown: bool = False,
) -> list[list[int]]:
    """Return per passage, for each question, 1 where the greedy answer contains the gold answer."""
    asks = [(passage, question) for passage in passages for question in passage.questions]
    chats = [asked(passage, question, shown=shown) for passage, question in asks]
    with prompts(language_model, form):
        answers = language_model.generate(chats, adapters=adapters, max_new_tokens=ANSWER_TOKENS)
    hits = iter(int(said(one.answer, answer.text)) for (_, one), answer in zip(asks, answers, strict=True))
    return [[next(hits) for _ in passage.questions] for passage in passages]


def interval(one: Sequence[float], other: Sequence[float], groups: Sequence[int], seed: int = 0) -> list[float]:
    """Return mean paired difference and its 95 % bootstrap interval, resampling whole passages (10,000 times).

    Args:
        one: outcomes per question, of one arm.
        other: the same questions' outcomes, of the other arm.
        groups: the passage of each question; questions of one passage are not independent.
        seed: of the resampling.
    """
    difference = np.asarray(one, dtype=float) - np.asarray(other, dtype=float)
    names = sorted(set(groups))
    sums = np.array([difference[np.asarray(groups) == name].sum() for name in names])
    sizes = np.array([sum(group == name for group in groups) for name in names])
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, len(names), (10_000, len(names)))
    means = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return [round(float(value), 9) + 0.0 for value in (difference.mean(), low, high)]  # no -0.0


def rows_of(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a JSON-lines file."""
    if not path.is_file():
        raise SystemExit(f"there is no {path}; give the folder of public data with --data-dir")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
