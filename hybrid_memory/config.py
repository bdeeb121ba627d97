"""Every setting, one group per stage, frozen and checked once.

Flow:    build.py reads these and hands each stage the few values it uses.
Imports: errors.

Sources, the later wins: defaults, `memory.toml` in the memory's folder (or the path or
dict given to `HybridMemory.from_config`), environment variables `HYBRID_MEMORY_<GROUP>__<NAME>`,
and keyword arguments. An unknown name anywhere is a ConfigError that proposes the nearest one.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hybrid_memory.errors import ConfigError

__all__ = [
    "AnswerSettings",
    "EncoderSettings",
    "ForgetSettings",
    "GateSettings",
    "IngestSettings",
    "LedgerSettings",
    "ModelSettings",
    "OuterLoopSettings",
    "RetrievalSettings",
    "RoutingSettings",
    "SelfEditSettings",
    "Settings",
    "TrainingSettings",
    "WindowSettings",
    "home",
]

ENVIRONMENT_PREFIX = "HYBRID_MEMORY_"
NOT_SETTINGS = {"HYBRID_MEMORY_API_KEY", "HYBRID_MEMORY_FOLDER", "HYBRID_MEMORY_HOME"}


def home() -> Path:
    """Return the folder for downloaded models: HYBRID_MEMORY_HOME, or the user's cache folder."""
    given = os.environ.get("HYBRID_MEMORY_HOME")
    return Path(given).expanduser() if given else Path(platformdirs.user_cache_dir("hybrid_memory"))


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelSettings(_Group):
    """The language model."""

    name: str = "smollm2-135m-instruct"
    """A shipped name, a Hugging Face id, a local folder, or a .gguf file."""
    device: Literal["cpu", "cuda", "mps"] = "cpu"
    dtype: Literal["bfloat16", "float32"] = "bfloat16"
    four_bit: bool = False
    """Hold the base weights in four bits (NF4, extra `four-bit`, device cuda): less memory, a little less exact."""
    threads: Annotated[int, Field(ge=0)] = 0
    """Torch threads; 0 takes all cores. Two torch processes on the same cores slow each other tenfold."""
    batch_size: Annotated[int, Field(ge=1)] = 32
    """Prompts generated together; 32 decodes about 12 times faster than 1 on 2 cores."""


class EncoderSettings(_Group):
    """The sentence encoder."""

    name: str = "all-minilm-l6-v2"
    """A shipped name or a sentence-transformers folder or id."""
    batch_size: Annotated[int, Field(ge=1)] = 32
    cache: str | None = None
    """A file that keeps vectors by the content of their text, so that no text is embedded twice; several memories
    may share it. None keeps the ledger's only."""


class LedgerSettings(_Group):
    """The database."""

    url: str | None = None
    """SQLAlchemy URL, such as "postgresql://host/database"; none is `ledger.sqlite` in the memory's folder."""
    lock_timeout_s: Annotated[float, Field(ge=0)] = 10.0
    """How long a write waits for another process's write."""


class IngestSettings(_Group):
    """How inputs become records."""

    chunk_tokens: Annotated[int, Field(ge=32)] = 200
    """Longest passage, in tokens of the splitter; MiniLM reads 256 word pieces."""
    max_chars: Annotated[int, Field(ge=1000)] = 2_000_000
    """Longest single input; longer ones are refused, not cut."""
    attributes: Mapping[str, Literal["single", "many"]] = {}
    """Attributes with one current value ("single": a newer one replaces it) or several side by side ("many")."""


class RoutingSettings(_Group):
    """Which policy decides, see policies/."""

    policy: str = "default"
    """A shipped policy's name or the path of a TOML file."""
    screens: tuple[Literal["detect-secrets", "presidio"], ...] = ()
    """Screens of other libraries beside the built-in ones; extras "secrets" and "personal-data"."""
    judge_calls: Annotated[int, Field(ge=0)] = 200
    """Most questions to the judge (`HybridMemory.open(judge=…)`) while a memory is open; its answers are kept."""


class RetrievalSettings(_Group):
    """How passages are found."""

    candidates: Annotated[int, Field(ge=1)] = 50
    """How many each of dense and lexical search give to the fusion."""
    dense_weight: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the cosine, scaled to [0, 1] over the candidates."""
    lexical_weight: Annotated[float, Field(ge=0)] = 1.25
    """Weight of BM25, scaled likewise."""
    large_index: Literal["ivf", "hnsw", "flat"] = "ivf"
    """What a large index becomes: lists, a graph, or an exact table still."""
    large_from: Annotated[int, Field(ge=1)] = 200_000
    """Number of vectors from which an index is large."""
    recency_weight: Annotated[float, Field(ge=0)] = 0.0
    """What the newest record gets on top; meaning and words give at most their own weights."""
    half_life_days: Annotated[float, Field(gt=0)] = 30.0
    """Days after which what recency gives has halved."""
    trust_weight: Annotated[float, Field(ge=0)] = 0.0
    """What the operator's records get on top; a user's get half of it, external ones nothing."""
    time_weight: Annotated[float, Field(ge=0)] = 0.0
    """What a record gets on top that began in the time the question names, such as "last week" or "in May 2023"."""
    diversity: Annotated[float, Field(ge=0, le=1)] = 0.0
    """0 ranks by score alone; towards 1, a passage loses more for being like one above it (MMR)."""
    reranker: str | None = None
    """A sentence-transformers model, by folder or id, that reads the best passages again; none is shipped."""
    reranker_kind: Literal["cross_encoder", "late_interaction"] = "cross_encoder"
    """Read question and passage together, or compare their word pieces (MaxSim)."""
    rerank_top: Annotated[int, Field(ge=1)] = 20
    """How many passages are read again."""


class SelfEditSettings(_Group):
    """Who writes the study material, and how much of it."""

    generator: Literal["model", "compiled", "mixed", "teacher"] = "mixed"
    """"teacher" needs an object to ask: `HybridMemory.open(folder, teacher=llm)`."""
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
    deference: Annotated[int, Field(ge=0)] = 0
    """Questions per record studied again with evidence that contradicts the record, which is then the answer."""
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


class TrainingSettings(_Group):
    """How study material becomes a LoRA adapter. Names follow PEFT where PEFT has one."""

    lora_rank: Annotated[int, Field(ge=1)] = 16
    """Inner dimension r of the update B A (Hu et al. 2021)."""
    lora_alpha: Annotated[float, Field(gt=0)] = 32.0
    """The update is scaled by lora_alpha / lora_rank."""
    targets: tuple[str, ...] = ("gate_proj", "up_proj", "down_proj")
    """MLP only: learns more and forgets less than q,v at the same size (parametric.md, finding 10)."""
    frozen_layers: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Share of the layers, from the bottom, that stay without LoRA: computed once, 2.4 times faster."""
    learning_rate: Annotated[float, Field(gt=0, le=0.05)] = 2e-3
    epochs: Annotated[int, Field(ge=1, le=1000)] = 5
    min_steps: Annotated[int, Field(ge=1)] = 70
    """Small sets are under-trained below about 70 optimiser steps (parametric.md, section 8)."""
    batch_size: Annotated[int, Field(ge=1)] = 8
    warmup_steps: Annotated[int, Field(ge=0)] = 5
    clip_norm: Annotated[float, Field(gt=0)] = 1.0
    max_tokens: Annotated[int, Field(ge=8)] = 1024
    """Longest training sequence; longer ones are refused, not cut."""
    directive_targets: tuple[str, ...] = ("gate_proj", "up_proj", "down_proj", "q_proj", "k_proj", "v_proj", "o_proj")
    """The layers that a self-edit's directives may name."""
    gradient_checkpointing: bool = False
    """Compute activations twice instead of keeping them: less memory, more time."""
    distillation: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Weight of context distillation beside the loss: the frozen base that sees the source is the teacher, where it
    reads it well. For models of 3B and more; small ones gain nothing (parametric.md, section 1.3)."""
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


class GateSettings(_Group):
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


class AnswerSettings(_Group):
    """How evidence and adapters become one answer."""

    passages: Annotated[int, Field(ge=0)] = 1
    """Evidence passages in the prompt; one reads best for a 135M model (design, section 10)."""
    max_new_tokens: Annotated[int, Field(ge=1)] = 64
    min_similarity: Annotated[float, Field(ge=-1, le=1)] = 0.25
    """Evidence less similar to the question than this is left out."""
    demonstrations: Annotated[int, Field(ge=0)] = 8
    """Most nearest examples that vote when their responses are labels, or else are shown as chat turns."""
    label_trust: Annotated[float, Field(ge=0)] = 1.0
    """What a nat of an adapter's log-probability of a label counts against a nat of the neighbours' vote."""
    rules: Annotated[int, Field(ge=0)] = 3
    """Most preferences stated in the prompt because no adapter has learned them yet."""
    dated: Literal["never", "several", "always"] = "several"
    """When the date a fact is valid from stands with it: a date costs a 135M model 3 of 32 answers, and tells
    something only where several facts are shown."""
    min_confidence: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Least confidence of an answer that stands on neither half; 0 never abstains."""
    shard_similarity: Annotated[float, Field(ge=-1, le=1)] = 0.25
    """A fact shard is used when its nearest record is at least this similar to the question."""


class WindowSettings(_Group):
    """When consolidation runs by itself."""

    queue_size: Annotated[int, Field(ge=0)] = 0
    """Open a window when this many records wait; 0 never does."""
    cron: str | None = None
    """Crontab expression for the scheduler, such as "0 3 * * *"."""
    budget_s: Annotated[float, Field(gt=0)] | None = None
    lease_s: Annotated[float, Field(gt=0)] = 3600.0
    shard_cap: Annotated[int, Field(ge=1)] = 6
    """Most facts one shard holds: the encoder tells shards apart better than the model tells facts apart."""
    keep_versions: Annotated[int, Field(ge=1)] = 3
    """Retired adapter versions kept per shard for rollback."""


class OuterLoopSettings(_Group):
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
    """Of the generator over the winners; bounded by twice training.epochs."""


class ForgetSettings(_Group):
    """What forgetting leaves behind."""

    key_file: str | None = None
    """File with the key that signs receipts, made when it is not there; a relative path lies in the memory's folder."""


class Settings(_Group):
    """All settings of one memory."""

    model: ModelSettings = ModelSettings()
    encoder: EncoderSettings = EncoderSettings()
    ledger: LedgerSettings = LedgerSettings()
    ingest: IngestSettings = IngestSettings()
    routing: RoutingSettings = RoutingSettings()
    retrieval: RetrievalSettings = RetrievalSettings()
    self_edit: SelfEditSettings = SelfEditSettings()
    training: TrainingSettings = TrainingSettings()
    gate: GateSettings = GateSettings()
    answer: AnswerSettings = AnswerSettings()
    window: WindowSettings = WindowSettings()
    forget: ForgetSettings = ForgetSettings()
    outer_loop: OuterLoopSettings = OuterLoopSettings()

    def fingerprint(self) -> str:
        """Return 12 hex digits of the SHA-256 of the settings as JSON; names runs and adapter versions."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @classmethod
    def load(cls, source: Path | str | Mapping[str, Any] | None = None, **groups: Mapping[str, Any]) -> Settings:
        """Read settings from a TOML file or a dict, then the environment, then `groups`.

        Args:
            source: path of a TOML file, or the same content as a dict; None for defaults.
            groups: overrides by group, such as `training={"epochs": 4}`.

        Raises:
            ConfigError: a file that is not TOML, an unknown name, or a value out of range.
        """
        merged: dict[str, dict[str, Any]] = {}
        for layer in (_read(source), _environment(), groups):
            for group, values in layer.items():
                if not isinstance(values, Mapping):
                    raise ConfigError(
                        f"setting {group!r} must be a table of settings, got {values!r}; "
                        f"groups are {', '.join(cls.model_fields)}"
                    )
                merged.setdefault(group, {}).update(values)
        try:
            return cls.model_validate(merged)
        except ValidationError as error:
            raise ConfigError("; ".join(_sentences(error))) from error


def _read(source: Path | str | Mapping[str, Any] | None) -> Mapping[str, Any]:
    if source is None:
        return {}
    if isinstance(source, Mapping):
        return source
    path = Path(source)
    if not path.is_file():
        raise ConfigError(f"there is no settings file {path}; give a TOML file or a dict of groups")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error


def _environment() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for name, text in sorted(os.environ.items()):
        if not name.startswith(ENVIRONMENT_PREFIX) or name in NOT_SETTINGS:
            continue
        group, separator, key = name.removeprefix(ENVIRONMENT_PREFIX).lower().partition("__")
        if not separator:
            raise ConfigError(
                f"environment variable {name} names no setting; "
                f"write {ENVIRONMENT_PREFIX}<GROUP>__<NAME>, such as {ENVIRONMENT_PREFIX}TRAINING__EPOCHS"
            )
        found.setdefault(group, {})[key] = _value(text)
    return found


def _value(text: str) -> Any:
    """Read an environment value as TOML would; anything else is a plain string."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _sentences(error: ValidationError) -> Iterator[str]:
    for problem in error.errors():
        place = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            names = _names(problem["loc"][:-1])
            near = difflib.get_close_matches(str(problem["loc"][-1]), names, n=1)
            yield f"unknown setting {place}; " + (f"did you mean {near[0]}?" if near else f"known: {', '.join(names)}")
        else:
            yield f"setting {place}: {problem['msg'].lower()}, got {problem['input']!r}"


def _names(place: tuple[int | str, ...]) -> list[str]:
    fields = Settings.model_fields
    for part in place:
        kind = fields[str(part)].annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            fields = kind.model_fields
    return list(fields)
