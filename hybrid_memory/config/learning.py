"""Settings of what is written, trained and judged, and when: the weights half."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from hybrid_memory.config.crontab import read_crontab
from hybrid_memory.config.group import Group

__all__ = ["GateSettings", "OuterLoopSettings", "SelfEditSettings", "TrainingSettings", "WindowSettings"]


class SelfEditSettings(Group):
    """Who writes the study material, and how much of it."""

    generator: Literal["model", "compiled", "mixed", "teacher"] = "mixed"
    """"teacher" needs one to ask: `teacher` below, or `HybridMemory.open(folder, teacher=llm)`."""
    teacher: Annotated[str, Field(pattern=r"^[\w.]+:\w+$")] | None = None
    """What makes the teacher, as "module:function" without arguments; called in the first window."""
    questions: Annotated[int, Field(ge=0)] = 18
    """Questions kept per statement."""
    samples: Annotated[int, Field(ge=1)] = 16
    """Questions sampled per statement before verification."""
    temperature: Annotated[float, Field(gt=0, le=2)] = 0.9
    min_similarity: Annotated[float, Field(ge=-1, le=1)] = 0.3
    """A question must be at least this close (cosine) to its own statement."""
    held_out: Annotated[int, Field(ge=0)] = 1
    """Questions per record kept for the gate."""
    with_evidence: Annotated[int, Field(ge=0)] = 2
    """Questions per record studied again with the own statement in evidence, among others."""
    missed_evidence: Annotated[int, Field(ge=0)] = 1
    """Questions per record studied again with only other statements in evidence."""
    deference: Annotated[int, Field(ge=0)] = 3
    """Questions per record studied again with evidence that contradicts the record, which is then the answer."""
    unknown: Annotated[int, Field(ge=0)] = 0
    """Questions per record studied again about something else, which nobody told: the answer is not to know."""
    ordinary: Annotated[int, Field(ge=0)] = 0
    """Ordinary questions per record of facts studied with the base's own answers (KL to the frozen base)."""
    prompts: tuple[
        Literal[
            "implications",
            "implications-long",
            "implications-very-long",
            "rewrite",
            "self-qa",
            "implications-chain-of-thought",
            "none",
            "facts",
        ],
        ...,
    ] = ()
    """What else the model writes about each record: by SEAL's prompts, or atomic "facts" in several words."""
    completions: Annotated[int, Field(ge=1)] = 1
    """Completions of each prompt; paraphrases of each fact."""
    completion_tokens: Annotated[int, Field(ge=1)] = 400
    """Longest completion of a prompt."""
    chat_form: bool = False
    """Ask the prompts as a user's turn; False continues plain text, which small models do better."""
    augmentations: tuple[Literal["reverse", "masked", "cloze"], ...] = ()
    """Study each statement also from its end, with words missing, or by the words that fill a gap in it."""
    budget_tokens: Annotated[int, Field(ge=0)] = 0
    """Most words and marks a record that prompts or a teacher may write; 0 is no limit."""
    teacher_facts: Annotated[int, Field(ge=0)] = 8
    """Facts a teacher is asked for about each piece of a record, and as many questions."""
    teacher_attempts: Annotated[int, Field(ge=1)] = 2
    teacher_timeout_s: Annotated[float, Field(gt=0)] = 60.0
    """How long one answer of the teacher is waited for."""
    shots: Annotated[int, Field(ge=0)] = 3
    """Nearest examples shown before a demonstration that is studied again."""
    shot_repeats: Annotated[int, Field(ge=0)] = 1
    """How often each demonstration is studied after its nearest examples."""
    task_samples: Annotated[int, Field(ge=0)] = 0
    """Ways to study a task that the model proposes. These and the fixed one are tried on each demonstration left out;
    the best is chosen, and a task that is answered better in context declined. 0 takes the fixed one, untried."""


class TrainingSettings(Group):
    """How study material becomes a LoRA adapter. Names follow PEFT where PEFT has one."""

    lora_rank: Annotated[int, Field(ge=1)] = 16
    """Inner dimension r of the update B A (Hu et al. 2021)."""
    lora_alpha: Annotated[float, Field(gt=0)] = 32.0
    """The update is scaled by lora_alpha / lora_rank."""
    targets: tuple[str, ...] = ("gate_proj", "up_proj", "down_proj")
    """MLP only: learns more and forgets less than q,v at the same size (PEFT's own comparison of methods)."""
    frozen_layers: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Share of the layers, from the bottom, that stay without LoRA: computed once, 2.4 times faster."""
    acts_on: Literal["answer", "all"] = "answer"
    """Token positions at which the adapter acts. "answer": from the assistant's turn on (Activated LoRA); what stands
    before it stays the base's own, and is computed once. "all": everywhere."""
    learning_rate: Annotated[float, Field(gt=0, le=0.05)] = 2e-3
    epochs: Annotated[int, Field(ge=1, le=1000)] = 8
    """A full shard then meets each row about as often as a small one, which `min_steps` makes 10 epochs of."""
    min_steps: Annotated[int, Field(ge=1)] = 70
    """Small sets are under-trained below about 70 optimiser steps (benchmarks/LOG.md, first trials)."""
    batch_size: Annotated[int, Field(ge=1)] = 8
    warmup_steps: Annotated[int, Field(ge=0)] = 5
    clip_norm: Annotated[float, Field(gt=0)] = 1.0
    max_tokens: Annotated[int, Field(ge=8)] = 1024
    """Longest training sequence: what is shown beside an item is left out of it, a longer item is refused."""
    directive_targets: tuple[str, ...] = ("gate_proj", "up_proj", "down_proj", "q_proj", "k_proj", "v_proj", "o_proj")
    """The layers that a self-edit's directives may name."""
    gradient_checkpointing: bool = False
    """Compute activations twice instead of keeping them: less memory, more time."""
    distillation: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Weight of context distillation beside the loss: the frozen base that sees the source is the teacher, where it
    reads it well (arXiv 2412.14964). For models of 3B and more; small ones gain nothing (arXiv 2601.19897)."""
    own_words: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Weight of the frozen base's distribution, beside the word itself, where a studied answer says what the base would
    say: in the practice of a preference only what its form changes is learned as words."""
    distillation_top_k: Annotated[int, Field(ge=1)] = 20
    """Likeliest tokens of the teacher that are kept."""
    seal_compat: bool = False
    """Train as SEAL was released (q/v LoRA r32 a64 in all layers, 1e-3, 10 epochs, batch 1, padding to 2048 in the
    loss), for comparison. It fixes the recipe: no other training setting but the seed may be given with it."""
    seed: int = 0

    @model_validator(mode="after")
    def _released_recipe_is_whole(self) -> TrainingSettings:
        others = sorted(self.model_fields_set - {"seal_compat", "seed"})
        if self.seal_compat and others:
            raise ValueError(
                f"seal_compat fixes the whole recipe; leave out {', '.join(others)}, or set seal_compat to false"
            )
        return self

    @model_validator(mode="after")
    def _checkpoints_remember_nothing(self) -> TrainingSettings:
        if self.gradient_checkpointing and self.acts_on == "answer":
            raise ValueError(
                'gradient_checkpointing forgets what was read before the answer; set acts_on to "all" with it'
            )
        return self


class GateSettings(Group):
    """What an adapter must show before it serves."""

    min_learned: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Share of held-out questions whose answer must become more likely."""
    min_gain: Annotated[float, Field(ge=0)] = 0.5
    """Least rise of a record's held-out answer, nats per token, to count as learned."""
    drift_prompts: Annotated[int, Field(ge=1)] = 16
    """Unrelated prompts on which drift from the base is measured."""
    max_kept_drop: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Largest accepted loss on records learned before, as a fraction of 1."""
    max_drift: Annotated[float, Field(ge=0)] = 0.5
    """Largest accepted mean KL(base || adapted) on unrelated prompts, nats per token."""
    max_probe_drop: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Largest accepted loss on the grammar and common-sense probe, as a fraction of 1."""
    max_following_drop: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Largest accepted loss of answers that follow evidence against what was learned, as a fraction of 1."""
    max_abstention_drop: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Largest accepted loss of doubt about unanswerable questions, as a fraction of 1."""
    canaries: tuple[tuple[str, str], ...] = ()
    """(question, answer) pairs whose answer must stay as likely; asked of every shard that would answer them."""
    max_canary_loss: Annotated[float, Field(ge=0)] = 0.5
    """Largest accepted fall of a canary's answer, nats per token."""
    scales: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = (0.85, 0.7, 0.5)
    """Parts of its strength that a candidate which does too much is tried at, without training again."""
    rates: tuple[Annotated[float, Field(gt=0, le=1)], ...] = (0.5,)
    """Parts of the learning rate for further trials after that."""
    most_trials: Annotated[int, Field(ge=1)] = 8
    """Most trainings of one shard in a window, those that look for the records to decline included."""


class WindowSettings(Group):
    """When consolidation runs by itself."""

    queue_size: Annotated[int, Field(ge=0)] = 0
    """Open a window when this many records wait; 0 never does."""
    cron: str | None = None
    """Crontab expression for the scheduler, such as "0 3 * * *"."""
    budget_s: Annotated[float, Field(gt=0)] | None = None
    """Seconds a window may take: what would not be trained and judged by then stays queued."""
    lease_s: Annotated[float, Field(gt=0)] = 3600.0
    shard_cap: Annotated[int, Field(ge=1)] = 6
    """Most statements one shard holds; a record of more has a shard to itself. The encoder tells shards apart better
    than the model tells facts apart."""
    keep_versions: Annotated[int, Field(ge=1)] = 3
    """Retired adapter versions kept per shard for rollback."""

    @field_validator("cron")
    @classmethod
    def _is_a_crontab_line(cls, line: str | None) -> str | None:
        if line is not None:
            read_crontab(line)
        return line


class OuterLoopSettings(Group):
    """How the generator learns to write better self-edits (`hybrid-memory seal train`)."""

    samples: Annotated[int, Field(ge=1)] = 5
    """Self-edits sampled per passage and round; trained and scored together."""
    temperature: Annotated[float, Field(gt=0, le=2)] = 1.0
    max_new_tokens: Annotated[int, Field(ge=16)] = 160
    """Longest self-edit."""
    reward: Literal["logprob", "accuracy", "rubric"] = "logprob"
    """What a self-edit is worth: how much likelier the gold answers became, how many more were given, or its look."""
    inner_steps: Annotated[int, Field(ge=1)] = 24
    """Least optimiser steps of the inner loop behind one reward; fewer than training.min_steps, to be affordable."""
    held_out: Annotated[float, Field(gt=0, lt=1)] = 0.25
    """Share of the lessons, at least one, on which a generator must be better before it serves."""
    min_gain: Annotated[float, Field(ge=0)] = 0.0
    """By more than this the mean held-out reward must rise."""
    learning_rate: Annotated[float, Field(gt=0, le=0.05)] = 1e-3
    """Of the generator; bounded by training.learning_rate."""
    epochs: Annotated[int, Field(ge=1, le=1000)] = 6
    """Of the generator over the winners."""
    min_steps: Annotated[int, Field(ge=1)] = 24
    """Least optimiser steps of the generator: four winners in six epochs are six, and the first five only warm up."""
