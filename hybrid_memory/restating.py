"""Turns of a conversation in words that stand alone, each stated once however often it is told.

Flow:    drafts of turns -> [restating] <-> extractor, ledger -> drafts of what they state
Imports: types, protocols, rerouting. Knows extractor, screens and ledger by their protocols.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from hybrid_memory.protocols import Extractor, Ledger, Screen
from hybrid_memory.rerouting import seen_in
from hybrid_memory.types import OWN_QUESTION, OWN_WORDS, Draft, Json, Record, Scope

__all__ = ["Restating"]

Told: TypeAlias = tuple[Any, ...]
"""What a turn is known again by."""


class Restating:
    """Lets the extractor state turns anew; one that was told before is stated as it was then."""

    def __init__(self, *, extractor: Extractor, screens: Sequence[Screen], ledger: Ledger) -> None:
        self._extractor = extractor
        self._screens = screens
        self._ledger = ledger

    def restated(
        self, turns: Sequence[Draft], stored: Sequence[bool], earlier: Iterable[Draft]
    ) -> tuple[list[Draft], list[str]]:
        """Return all drafts, and what became of the lines that the extractor wrote.

        It is not shown a turn in which a screen sees something, nor one that would not be stored: its words cannot
        carry past them what the turn's own would not.

        Args:
            turns: of one conversation, at least one.
            stored: whether the policy would store each of them.
            earlier: drafts that are not in the ledger yet, and may state a turn already.
        """
        keys = {
            at: _told(draft, draft.text, draft.asked)
            for at, (draft, kept) in enumerate(zip(turns, stored, strict=True))
            if kept and not self._seen(draft)
        }
        raw, stated = self._told_before(turns[0].scope, [turns[at] for at in keys], earlier)
        new = {key: at for at, key in reversed(keys.items()) if key not in stated and key[:3] not in raw}
        places = sorted(new.values())
        written, notes = self._extractor.restate([turns[at] for at in places]) if places else ([], [])
        for at, draft in zip(places, written, strict=True):
            if draft is turns[at]:
                continue
            if findings := seen_in(draft, self._screens):
                seen = ", ".join(finding.detail for finding in findings)
                notes.append(f"message {draft.metadata.get('turn')} stays as it was said: a screen saw {seen}")
            else:
                stated[keys[at]] = draft
        return [_as_stated(stated.get(keys[at]), turn) if at in keys else turn for at, turn in enumerate(turns)], notes

    def _seen(self, draft: Draft) -> bool:
        """Tell whether a screen sees something in a turn, or in what it answers."""
        texts = [draft.text, *([draft.asked] if draft.asked else [])]
        return any(screen.screen(text) for screen in self._screens for text in texts)

    def _told_before(
        self, scope: Scope, turns: Sequence[Draft], earlier: Iterable[Draft]
    ) -> tuple[set[Told], dict[Told, Draft | Record]]:
        """Return which turns stand in the ledger as they were said, and what states others, by what they said."""
        raw: set[Told] = set()
        stated: dict[Told, Draft | Record] = {}
        known: list[Draft | Record] = [*earlier]
        known += self._ledger.told_before(scope, [(turn.text, turn.asked) for turn in turns])
        for one in known:
            own, asked = one.metadata.get(OWN_WORDS), one.metadata.get(OWN_QUESTION)
            if own is None:
                raw.add(_told(one, one.text, one.asked)[:3])
            else:
                stated[_told(one, own, asked)] = one
        return raw, stated


def _told(said: Draft | Record, words: Json, asked: Json) -> Told:
    """Return what a turn is known again by: whose it is, its own words, what it answers; who spoke, dates it names."""
    return (said.scope, words, asked, said.metadata.get("role"), str(said.metadata.get("dates")))


def _as_stated(stated: Draft | Record | None, turn: Draft) -> Draft:
    """Return a turn in the words in which something states it; None leaves it as it was said."""
    if stated is None:
        return turn
    passages = stated.passages if isinstance(stated, Draft) else (stated.text, *turn.passages)
    own = {name: stated.metadata[name] for name in (OWN_WORDS, OWN_QUESTION) if name in stated.metadata}
    return replace(
        turn,
        text=stated.text,
        slot=stated.slot,
        value=stated.value,
        asked=None,
        passages=passages,
        metadata={**turn.metadata, **own},
    )
