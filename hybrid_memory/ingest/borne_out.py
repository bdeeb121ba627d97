"""Whether a sentence that a model wrote says what a turn says, and nothing else.

Flow:    a turn, and the extractor's sentences about it -> [Said] -> taken, or the reason why not
Imports: nothing of this package.

A sentence must repeat the turn's words, in their order, from the beginning of a clause on. It may differ in who "I" is
(the speaker's name), in the form of a verb, in a relative date that is written out, and it may take from the question
before what the answer leaves out. So nobody's deed becomes another's: whoever stands before the verb stands there in
the sentence. Its end a clause may lose, unless a number is lost with it, or a "not", an "if" or a "maybe" is near.
What a turn asks or asks for, it does not say.
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
_ASKS = re.compile(
    r"\W*(?:(?:and|so|but|well|ok|okay)\W+)*(?:please|let's|am|is|are|was|were|do|does|did|have|has|can|could|will|would|"
    r"should|may|what|who|whom|whose|where|which|why|how)\b|.*\?\W*$",
    re.IGNORECASE | re.DOTALL,
)
"""A question, with or without its mark, or a request."""
_SETTING = re.compile(
    r"\W*(?:(?:and|so|but|well)\W+)*(?:in|on|at|for|with|by|as|since|when|while|before|after|during|because|though|"
    r"although|like)\b",
    re.IGNORECASE,
)
"""What a sentence opens with that holds in a dream, a game or another time only: the rest does not stand without it."""
_POINTING = re.compile(
    r"\W*(?:(?:and|so|but|also|well|oh|hey|hi|hello|ok|okay|yes|yeah)\W+)*(my|our|this|that|these|those|there|here)\b",
    re.IGNORECASE,
)
"""Whose, or what that is pointed at, is said to do or be something."""
_HAS = re.compile(r"(?:\b(?:have|has)|'ve)\b", re.IGNORECASE)
_IS = re.compile(r"(?:\b(?:am|is|are)|'(?:m|re))\b", re.IGNORECASE)
_DID = re.compile(r"\bdid(?:n't)?\b", re.IGNORECASE)
_DUE = re.compile(r"\b(have|has|about)\s+to\b", re.IGNORECASE)
_TOGETHER = re.compile(r"\b(?:and|we|us|our|ours)\b", re.IGNORECASE)
"""Words of a turn by which somebody else did it too."""
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
    "a an the am is are be do does did have has i me my mine myself we us our ours in on at of to into "
    "and also just really very so that this these those there here then now currently already since about "
    "yes yeah yep yup sure ok okay oh ah haha hey hi hello well um uh hmm actually basically btw please thanks thank "
    "too anyway finally honestly".split()
)
"""Words that may come and go: who speaks, the grammar around a statement, and what only opens one."""
_LIMITS = frozenset(
    _stem(word)
    for word in "not maybe perhaps probably possibly might could would should will if unless till until except only "
    "without or wish hope hoping think thought guess believe doubt suppose seem almost nearly hardly barely used said "
    "say told heard asked apparently supposedly joking kidding want wanted planned planning must due but apart besides "
    "aside excluding according unlike imagine pretend dream".split()
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
    text: str
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
        names = "|".join(re.escape(word) for word in _plain(name).split() if word.casefold() not in _SILENT)
        self._beside = re.compile(rf"\b(?:{names}),? and\b|\band (?:the )?(?:{names})\b", re.IGNORECASE)
        self._dates = {phrase.casefold(): frozenset(_words(when)) for phrase, when in dates.items()}
        self._clauses = self._taken_apart(_plain(text))
        words = [word for clause in self._clauses for word in clause.words]
        first = next(iter(_TOKEN.findall(_plain(text).casefold())), "")
        self._asked = question = _SENTENCE.split(_plain(asked).strip())[-1]
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
            return self._answered(plain, words)
        found = [self._from(start, plain, words, dates) for start in range(len(self._clauses))]
        borne_out = next((verdict for verdict in found if not verdict.reason), None)
        return borne_out or max(found, key=lambda verdict: verdict.reach, default=Verdict(_missing(words[0])))

    def _answered(self, sentence: str, words: Sequence[str]) -> Verdict:
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
        return Verdict(_turned(self._asked, sentence), whole=not left)

    def _from(self, start: int, sentence: str, words: Sequence[str], dates: frozenset[str]) -> Verdict:
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
        last, end = said[reach - 1] if reach else ("", 0)
        ahead = [word for word, at in said[reach:] if at == end]
        reason = self._objection(others, clauses[: end + 1], ahead, dates=dates, words={*words}, reach=reach)
        if not reason and ahead and any(word[0].isdigit() for word in [last, *ahead]):
            reason = "it leaves out a number, or what the number counts"
        repeated = " and ".join(clause.text for clause in clauses[: end + 1])
        reason = reason or _turned(repeated, sentence) or self._exchanged(repeated, sentence)
        reason = reason or _unowned(clauses[: end + 1], sentence)
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

    def _exchanged(self, said: str, sentence: str) -> str:
        """Return what is wrong when a sentence makes somebody an owner, or puts the speaker beside somebody."""
        owners = _owners(sentence) - _owners(f"{said} {self._asked}") - self._name
        if owners:
            return "it gives to one what is another's"
        joined = self._beside.search(sentence) and not _TOGETHER.search(said)
        return "it puts the speaker beside somebody" if joined else ""

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
            if _ASKS.match(rest):
                clauses.append(_Clause(("?",), "", frozenset(), limited=False))  # no sentence has that word
                continue
            limits = _LIMITS.intersection(_words(rest))
            limited = not limits <= {"but"}
            parts = [rest] if limited or _SETTING.match(rest) else _CLAUSE.split(rest)
            for part in [answer[0] if answer else "", *parts]:
                plain, dates = self._without_dates(part)
                words = tuple(word for word in _words(plain) if word not in self._name)
                if words or dates:
                    clauses.append(_Clause(words, plain, dates, limited or "but" in words))
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
    for token in _TOKEN.findall(_DUE.sub(_due, _plain(text)).casefold()):
        if token.endswith("n't") or token in _NO:
            found.append("not")
            continue
        head, _, ending = token.partition("'")
        found += [_stem(word) for word in (head, _ENDINGS.get(ending, "")) if word and word not in _SILENT]
    return found


def _due(found: re.Match[str]) -> str:
    """Return what is not done yet as a word that counts, where "have", "about" and "to" would not."""
    return "due" if found[1].casefold() == "about" else "must"


def _turned(said: str, sentence: str) -> str:
    """Return what is wrong with the small verbs of a sentence: "I have a nurse" is not "I am a nurse"."""
    if bool(_DID.search(said)) != bool(_DID.search(sentence)):
        return "it is said of another time"
    has, is_ = (bool(verb.search(said)) for verb in (_HAS, _IS))
    if has != is_ and (bool(_HAS.search(sentence)), bool(_IS.search(sentence))) == (is_, has):
        return "it takes having for being"
    return ""


def _owners(text: str) -> set[str]:
    """Return the stems of the words with an apostrophe that may make them owners."""
    return {_stem(head) for head in re.findall(r"(\w+)'s?(?!\w)", text.casefold())}


def _unowned(clauses: Sequence[_Clause], sentence: str) -> str:
    """Return what is wrong when a sentence drops what a clause opens with: "my doctor", or "that is a doctor"."""
    owned = "'" in sentence or " of " in sentence
    words = _TOKEN.findall(sentence.casefold())
    for clause in clauses:
        found = _POINTING.match(clause.text)
        word = found[1].casefold() if found else ""
        if word and not (owned if word in ("my", "our") else word in words):
            return f"it leaves out {word!r}"
    return ""


def _missing(word: str) -> str:
    return "it has a number that was not said" if word[:1].isdigit() else "it says what was not said there"
