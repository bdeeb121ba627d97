"""Whether a sentence that a model wrote says what a turn says, and nothing else.

Flow:    a turn, and the extractor's sentences about it -> [Said] -> taken, or the reason why not
Imports: nothing of this package.

A sentence must repeat the turn's words, in their order, from the beginning of a clause on. It may differ in who "I" is
(the speaker's name), in the form of a verb, in a relative date that is written out, and it may take from the question
before what the answer leaves out. So nobody's deed becomes another's: whoever stands before the verb stands there in
the sentence. Its end a clause may lose, unless a "not", an "if" or a "maybe" is near.
Like screens and slots this reads English; what is said in another language is seldom borne out, and stays as it was.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

__all__ = ["Said", "Verdict"]

_TOKEN = re.compile(r"\d+(?:[.,:/-]\d+)*|[^\W\d_]\w*(?:'\w+)*|[%€$£+<>=]|-(?=\d)")
_SENTENCE = re.compile(r"(?<=[.!?…;])\s+|\n+")
_CLAUSE = re.compile(
    r"(?:,|,? (?i:and|but|so))\s+"
    r"(?=(?i:i|i'\w+|my|we|we'\w+|our|he|she|they|it|his|her|their|the|you|your)\b|[A-ZÀ-Þ])"
)
"""Where another statement begins inside a sentence: with a subject, as far as a single word can tell."""
_ANSWER = re.compile(r"\W*(?:no|nope|nah|yes|yeah|yep),\s+", re.IGNORECASE)


def _stem(word: str) -> str:
    """Return a word without the ending by which "he lives" differs from "I live"; tenses stay apart."""
    if word == "were":
        return "was"
    if word[0].isdigit() or len(word) < 3:
        return word
    bare = word.removesuffix("s").removesuffix("e") if len(word) > 3 else word
    return f"{bare[:-1]}i" if bare.endswith("y") else bare


_SILENT = frozenset(
    "a an the am is are be do does did have has i me my mine myself we us our ours in on at of to for with by as into "
    "and also just really very so that this these those there here then now currently already since about "
    "yes yeah yep yup sure ok okay oh ah haha hey hi hello well um uh hmm actually basically btw please thanks thank "
    "too anyway finally honestly".split()
)
"""Words that may come and go: who speaks, the grammar around a statement, and what only opens one."""
_LIMITS = frozenset(
    _stem(word)
    for word in "not maybe perhaps probably possibly might could would should will if unless till until except only "
    "without or wish hope hoping think thought guess believe doubt suppose seem almost nearly hardly barely used said "
    "say told heard asked apparently supposedly joking kidding want wanted planned planning".split()
)
"""Words that change what is said around them: a sentence with one is repeated whole, or not at all."""
_NO = frozenset("no nope nah not never none nobody nothing neither nor cannot".split())
_YES = frozenset("yes yeah yep yup sure right exactly correct".split())
_ASKING = frozenset(_stem(word) for word in "what who whom whose when where which why how".split())
_ENDINGS = {"ll": "will", "d": "would"}
_IMPLIED = {_stem("lives"): _stem("moved")}
"""Who moved to a place lives there."""


class Verdict(NamedTuple):
    """What was found about a sentence."""

    reason: str = ""
    """Why it is not borne out; "" when it is."""
    whole: bool = False
    """True: it says all that the turn says."""
    reach: int = 0
    """How many words of the turn it repeats."""


class _Clause(NamedTuple):
    words: tuple[str, ...]
    dates: frozenset[str]
    """Stems by which the relative dates in it may be written out."""
    limited: bool
    """True: it is repeated whole, or not at all."""


class Said:
    """What one turn says."""

    def __init__(self, text: str, *, asked: str, name: str, dates: Mapping[str, str]) -> None:
        """Take a turn apart.

        Args:
            text: the speaker's own words.
            asked: what the other side said right before, if that is a question; its last sentence counts.
            name: what the speaker is called, such as "Ida Holm" or "the user".
            dates: relative dates in the text -> in which words they may be written out.
        """
        self._name = frozenset(_words(name))
        self._dates = {phrase.casefold(): frozenset(_words(when)) for phrase, when in dates.items()}
        self._clauses = self._taken_apart(_plain(text))
        words = [word for clause in self._clauses for word in clause.words]
        first = next(iter(_TOKEN.findall(_plain(text).casefold())), "")
        question = _SENTENCE.split(_plain(asked).strip())[-1]
        self._question = [word for word in _words(question) if word != "your"] if question.endswith("?") else []
        if "not" in self._question:  # "You don't eat fish?" "Yes.": nobody can tell what that says
            self._question = []
        self._answer = ""
        if self._question and _ASKING.isdisjoint(self._question) and (set(words) == {"not"} or not words):
            self._answer = "no" if words else "yes" if first in _YES else ""
        if not self._answer and first in _NO:  # what was asked does not hold
            self._question = []

    def verdict(self, sentence: str) -> Verdict:
        """Tell whether the turn bears a sentence out."""
        plain, dates = self._without_dates(_plain(sentence))
        words = [word for word in _words(plain) if word not in self._name]
        if not words:
            return Verdict("it states nothing")
        if self._answer:
            return self._answered(words)
        found = [self._from(start, words, dates) for start in range(len(self._clauses))]
        borne_out = next((verdict for verdict in found if not verdict.reason), None)
        return borne_out or max(found, key=lambda verdict: verdict.reach, default=Verdict(_missing(words[0])))

    def _answered(self, words: Sequence[str]) -> Verdict:
        """Check a sentence against "yes" or "no" to a question, whose words it must repeat from the beginning."""
        if ("not" in words) != (self._answer == "no"):
            return Verdict(f"the answer was {self._answer!r}")
        rest = [word for word in words if word != "not"]
        asked = [word for word in self._question if word != "you" and word not in self._name]
        wrong = next((word for at, word in enumerate(rest) if at >= len(asked) or word != asked[at]), None)
        if wrong is not None:
            return Verdict(_missing(wrong))
        left = asked[len(rest) :]
        if left and (self._answer == "no" or not _LIMITS.isdisjoint(left)):
            return Verdict("it leaves out what limits the question")
        return Verdict(whole=not left)

    def _from(self, start: int, words: Sequence[str], dates: frozenset[str]) -> Verdict:
        """Match a sentence from a clause on."""
        clauses = self._clauses[start:]
        said = [(word, at) for at, clause in enumerate(clauses) for word in clause.words]
        others: list[str] = []
        reach = 0
        for word in words:
            if reach < len(said) and said[reach][0] in (word, _IMPLIED.get(word)):
                reach += 1
            else:
                others.append(word)
        end = said[reach - 1][1] if reach else 0
        ahead = [word for word, at in said[reach:] if at == end]
        reason = self._objection(others, clauses[: end + 1], ahead, dates=dates, words={*words}, reach=reach)
        return Verdict(reason, whole=start == 0 and reach == len(said), reach=reach)

    def _objection(
        self,
        others: Sequence[str],
        clauses: Sequence[_Clause],
        ahead: Sequence[str],
        *,
        dates: frozenset[str],
        words: set[str],
        reach: int,
    ) -> str:
        """Return what speaks against a sentence.

        Args:
            others: its words that the turn does not have in their place.
            clauses: those of the turn that it repeats.
            ahead: what it leaves out of the last of them.
            dates: stems of the relative dates that it repeats.
            words: all of its words.
            reach: how many words of the turn it repeats.
        """
        dated: frozenset[str] = frozenset().union(*(clause.dates for clause in clauses))
        borrowed = {word for word in others if word not in dated}
        strange = [word for word in others if word in borrowed and word not in self._question]
        if strange:
            return "it loses a negation" if "not" in ahead[:1] else _missing(strange[0])
        if reach == 0:
            return "it has no word of the turn"
        if ahead and clauses[-1].limited:
            return "it leaves out what limits the sentence"
        if not dates <= dated:
            return "its date belongs to something else"
        return "" if not borrowed or self._about_speaker(borrowed, words) else "the question was about something else"

    def _about_speaker(self, borrowed: set[str], words: set[str]) -> bool:
        """Tell whether words of the question may be borrowed: with all that stands before them or before "you"."""
        asked = self._question
        until = asked.index("you") if "you" in asked else max(asked.index(word) for word in borrowed)
        needed = {*asked[:until], *(word for word in asked if word in _LIMITS)}
        return needed <= {*words, *self._name, *_ASKING}

    def _taken_apart(self, text: str) -> list[_Clause]:
        clauses = []
        for sentence in _SENTENCE.split(text):
            answer = _ANSWER.match(sentence)
            rest = sentence[answer.end() :] if answer else sentence
            limited = not _LIMITS.isdisjoint(_words(rest))
            for part in [answer[0] if answer else "", *([rest] if limited else _CLAUSE.split(rest))]:
                plain, dates = self._without_dates(part)
                words = tuple(word for word in _words(plain) if word not in self._name)
                if words or dates:
                    clauses.append(_Clause(words, dates, limited))
        return clauses

    def _without_dates(self, text: str) -> tuple[str, frozenset[str]]:
        """Return a text without its relative dates, and the stems by which these may be written out."""
        found: set[str] = set()
        for phrase, stems in self._dates.items():
            text, count = re.subn(rf"\b{re.escape(phrase)}\b", " ", text, flags=re.IGNORECASE)
            found |= stems if count else set()
        return text, frozenset(found)


def _plain(text: str) -> str:
    return text.replace("’", "'")


def _words(text: str) -> list[str]:
    """Return the stems of the words that count, in order; every form of "not" is "not".

    >>> _words("I don't like Ida's 3 cats, and she'll move.")
    ['not', 'lik', 'ida', '3', 'cat', 'she', 'will', 'mov']
    """
    found: list[str] = []
    for token in _TOKEN.findall(_plain(text).casefold()):
        if token.endswith("n't") or token in _NO:
            found.append("not")
            continue
        head, _, ending = token.partition("'")
        found += [_stem(word) for word in (head, _ENDINGS.get(ending, "")) if word and word not in _SILENT]
    return found


def _missing(word: str) -> str:
    return "it has a number that was not said" if word[:1].isdigit() else "it says what was not said there"
