"""Choose the adapters that know about a question, and mask the ones that know it stale.

Flow:    question vector -> [adapter choice] -> generation
Imports: types, protocols.

A behaviour shard of the scope is there for every question: it answers what no other shard knows, and has the last
word otherwise (writing.py). As it acts everywhere, it is masked everywhere while one of its records is stale. Of the
other shards the one whose nearest record is closest to the question is used, if it is close enough (MEGa's gate,
arXiv 2504.21239, with one key per record); where several are nearly as close, the language model has said
which one makes the question likelier (second_look.py). The shard must also be of the question's kind. If the nearest
record was superseded, has expired, was forgotten or moved to another route since, its shard is masked for this
question: what it would say is what is no longer true. The shard of a task is asked for by name
(tasks.py) and is never among these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hybrid_memory.answering.second_look import BY_MEANING, UNSEEN, Candidate, Looks
from hybrid_memory.protocols import Ledger
from hybrid_memory.types import BEHAVIOUR, FACTS, TASKS, AdapterStatus, AdapterVersion, FloatArray, Scope

__all__ = ["AdapterChooser", "Choice"]


@dataclass(frozen=True, slots=True)
class Choice:
    """What serves one question."""

    always: tuple[AdapterVersion, ...]
    """Behaviour: there for every question of the scope."""
    routed: tuple[AdapterVersion, ...]
    """The shard that knows about this question, if there is one."""
    masked: tuple[str, ...]
    """Ids of versions left out because they are stale here, behaviour first."""
    similarity: float
    """Cosine of the question and the nearest learned record; -1 without any."""
    reason: str
    record: str = ""
    """Id of that record, when a shard serves or is masked because of it."""
    group: str = ""
    """Of the routed shard: "facts" or "examples"; empty without one."""
    stale: str | None = None
    """Id of the record that is learned but no longer current, when the shard that knows it is masked for it."""

    @property
    def adapters(self) -> tuple[AdapterVersion, ...]:
        """All that serve, behaviour first."""
        return (*self.always, *self.routed)


@dataclass(frozen=True, slots=True)
class _Keys:
    """The learned records of one scope: who knows what."""

    always: tuple[AdapterVersion, ...]
    masked: tuple[str, ...]
    """Ids of behaviour versions that have learned what no longer holds."""
    vectors: FloatArray
    owners: tuple[AdapterVersion, ...]
    records: tuple[str, ...]
    """Id of the record behind each row."""
    stale: tuple[bool, ...]
    groups: tuple[str, ...]
    """Group of the shard behind each row."""

    def behind(self, looks: Looks) -> FloatArray:
        """Return what a second look takes from each row, shape (rows,), nats per token."""
        if not looks:
            return np.zeros(len(self.records), dtype=np.float32)
        return np.array([looks.behind(record) for record in self.records], dtype=np.float32)


class AdapterChooser:
    """Keeps the keys of each scope until the ledger moves on; then those of all scopes go, asked again or not."""

    def __init__(self, ledger: Ledger, *, min_similarity: float, margin: float = 0.0) -> None:
        """Take shards with a record at least so similar to a question, and a second one less than `margin` below."""
        self._ledger = ledger
        self._min_similarity = min_similarity
        self._margin = margin
        self._keys: dict[Scope, _Keys] = {}
        self._clock = -1

    def choose(
        self,
        vectors: FloatArray,
        scope: Scope,
        unlike: Sequence[frozenset[str]] | None = None,
        looks: Sequence[Looks] | None = None,
    ) -> list[Choice]:
        """Return one choice per question.

        Args:
            vectors: shape (n, dim), unit rows.
            scope: who asks.
            unlike: the groups of shards that each question is not of; None: it may be of any.
            looks: what a second look at the nearest learned facts came to; None: there was none.
        """
        keys = self._current(scope)
        if not keys.owners:
            reason = "no shard of facts or examples serves this scope"
            return [Choice(keys.always, (), keys.masked, -1.0, reason)] * len(vectors)
        passed_by = [frozenset[str]()] * len(vectors) if unlike is None else unlike
        seen = [UNSEEN] * len(vectors) if looks is None else looks
        similarities = vectors @ keys.vectors.T
        return [self._pick(keys, *case) for case in zip(similarities, passed_by, seen, strict=True)]

    def nearest_facts(
        self, vectors: FloatArray, scope: Scope, unlike: Sequence[frozenset[str]], count: int
    ) -> list[list[Candidate]]:
        """Return per question the `count` nearest learned facts, nearest first; none if it is nearer to an example.

        Args:
            vectors: shape (n, dim), unit rows.
            scope: who asks.
            unlike: the groups of shards that each question is not of.
            count: how many at most; those that are too far for their shard are left out.
        """
        keys = self._current(scope)
        if not keys.owners or not count:
            return [[] for _ in vectors]
        similarities = vectors @ keys.vectors.T
        return [self._nearest(keys, *case, count) for case in zip(similarities, unlike, strict=True)]

    def behaviour(self, scope: Scope) -> tuple[AdapterVersion, ...]:
        """Return the behaviour adapters that serve in a scope."""
        return self._current(scope).always

    def _nearest(self, keys: _Keys, similarities: FloatArray, passed_by: frozenset[str], count: int) -> list[Candidate]:
        found: dict[str, float] = {}
        for place in np.argsort(-similarities, kind="stable").tolist():
            if len(found) == count or similarities[place] < self._min_similarity:
                break
            if keys.groups[place] in passed_by:
                continue
            if keys.groups[place] != FACTS:
                if not found:
                    return []
                continue
            found.setdefault(keys.records[place], float(similarities[place]))
        return [Candidate(key, self._ledger.get(key).text, similarity) for key, similarity in found.items()]

    def _pick(self, keys: _Keys, similarities: FloatArray, passed_by: frozenset[str], looks: Looks) -> Choice:
        nearness = similarities + BY_MEANING * keys.behind(looks)
        order = np.argsort(-nearness, kind="stable").tolist()
        for place in order:
            similarity, owner = float(similarities[place]), keys.owners[place]
            if similarity < self._min_similarity:
                reason = f"nearest learned record is too far ({similarity:.2f})"
                return Choice(keys.always, (), keys.masked, similarity, reason)
            if keys.groups[place] in passed_by:
                continue
            if keys.stale[place]:
                reason = f"{owner.id} is masked: what it learned here is stale"
                masked, known = (*keys.masked, owner.id), keys.records[place]
                return Choice(keys.always, (), masked, similarity, reason, record=known, stale=known)
            second = self._second(keys, nearness, order, place)
            reason = f"{owner.id} knows a record at {similarity:.2f}"
            reason += "".join(f", {one.id} one nearly as close" for one in second)
            known, group = keys.records[place], keys.groups[place]
            return Choice(keys.always, (owner, *second), keys.masked, similarity, reason, record=known, group=group)
        return Choice(keys.always, (), keys.masked, -1.0, "near to what was learned, but not of its kind")

    def _second(
        self, keys: _Keys, nearness: FloatArray, order: Sequence[int], first: int
    ) -> tuple[AdapterVersion, ...]:
        """Return the next shard of the same group when a current record of it is nearly as close; else nothing."""
        least = max(self._min_similarity, float(nearness[first]) - self._margin)
        for place in order:
            if not self._margin or nearness[place] < least:
                return ()
            if keys.owners[place] != keys.owners[first] and keys.groups[place] == keys.groups[first]:
                return () if keys.stale[place] else (keys.owners[place],)
        return ()

    def _current(self, scope: Scope) -> _Keys:
        clock = self._ledger.clock()
        if clock != self._clock:
            self._keys, self._clock = {}, clock
        keys = self._keys
        if scope not in keys:
            keys[scope] = self._read(scope)
        return keys[scope]

    def _read(self, scope: Scope) -> _Keys:
        serving = [shard for shard in self._ledger.shards(scope=scope) if shard.active and not shard.masked]
        versions = {
            version.shard_id: version for version in self._ledger.versions() if version.status is AdapterStatus.ACTIVE
        }
        behaviour = [versions[shard.id] for shard in serving if shard.group == BEHAVIOUR and shard.id in versions]
        always = tuple(one for one in behaviour if self._ledger.current(one.record_ids).issuperset(one.record_ids))
        masked = tuple(one.id for one in behaviour if one not in always)
        by_question = [shard for shard in serving if shard.group not in (BEHAVIOUR, TASKS)]
        routed = [versions[shard.id] for shard in by_question if shard.id in versions]
        vectors, owners, known, stale = self._record_keys(routed)
        group = {shard.id: shard.group for shard in serving}
        return _Keys(always, masked, vectors, owners, known, stale, tuple(group[owner.shard_id] for owner in owners))

    def _record_keys(
        self, versions: Sequence[AdapterVersion]
    ) -> tuple[FloatArray, tuple[AdapterVersion, ...], tuple[str, ...], tuple[bool, ...]]:
        rows: list[FloatArray] = []
        owners: list[AdapterVersion] = []
        known: list[str] = []
        stale: list[bool] = []
        for version in versions:
            record_ids, vectors = self._ledger.record_vectors(version.record_ids)
            current = self._ledger.current(version.record_ids)
            rows.append(vectors)
            owners.extend([version] * len(record_ids))
            known.extend(record_ids)
            stale.extend(one not in current for one in record_ids)
        stacked = np.concatenate(rows) if rows else np.zeros((0, 1), dtype=np.float32)
        return stacked, tuple(owners), tuple(known), tuple(stale)
