"""Propose a slot for a plain sentence: which subject, which attribute, which value.

Flow:    text -> [propose] -> draft.slot; the ledger decides what is current
Imports: types, and the tables beside it.

A wrong slot makes one statement replace another that is still true; a missing one costs a
second line of evidence. So every rule here gives up when in doubt: one short sentence in the
present tense, an attribute of a small table, and a value of the shape that attribute has.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from hybrid_memory.ingest.attributes import ATTRIBUTES, MONTH, SHAPES, VERBS
from hybrid_memory.types import Slot

__all__ = ["SlotRules", "canonical_attribute", "canonical_subject", "propose_slot"]

MAX_WORDS = 25
MAX_SUBJECT_WORDS = 6
MAX_VALUE_WORDS = 10

_TIME = (
    rf"(?:\d{{4}}-\d\d-\d\d|(?:the )?\d{{1,2}}(?:st|nd|rd|th)? {MONTH}(?: \d{{4}})?"
    rf"|{MONTH} \d{{1,2}}(?:st|nd|rd|th)?(?:,? \d{{4}})?|(?:{MONTH} )?\d{{4}}|today|now)"
)
LEAD = re.compile(
    rf"^(?:(?:(?:as of|since) {_TIME},?|[-*•]|update:|note:|fyi[,:]|(?:currently|right now|now|today),?)\s+)+",
    re.IGNORECASE,
)
TAIL = re.compile(rf"\s+(?:as of|since) {_TIME}$", re.IGNORECASE)
DOUBT = re.compile(
    r"\b(?:not|never|no longer|maybe|perhaps|probably|possibly|might|(?<!\d )may(?! \d)|could|should|would|must|will"
    r"|if|unless|when|whenever|because|but|although|though|or|think|believe|guess|hope|seems?|rumou?r\w*|reportedly"
    r"|allegedly|was|were|used to|always|please|how|what|why|who|which|that|than|too|best|worst|starting|effective"
    rf"|beginning|next|until|till|from {_TIME})\b|n['’]t\b|\?|[.!;]\s|[\"“”\n]",
    re.IGNORECASE,
)
"""A rule, an opinion, a condition, a question, past, future or temporary, or more than one sentence."""
NO_SUBJECT = re.compile(
    r"^(?:you|he|she|it|we|they|here|there|everything|nothing|nobody|everyone|someone|today|tomorrow|yesterday)$"
    r"|^(?:an?|this|that|these|those|his|her|its|their|your|every|each|any|some|all|both|most|many|few|no)\b"
    r"|\b(?:and|to|with|is|are|has|have|ones?|other|same|former|latter|new|old)\b|[,:]",
    re.IGNORECASE,
)
"""A subject that only its neighbours explain, that means a kind of thing, or that is more than a name."""
SPEAKERS = {"my": "user", "i": "user", "our": "organisation", "": "organisation"}
"""Who is meant by a first person, and by a sentence without a subject ("Support hours are 9-17")."""

_MOVED = r"(?:changed|increased|risen|rose|decreased|dropped|gone up|went up|gone down|went down)"
_IS = rf"(?:(?:is|are)(?: (?:now|currently|still))?|(?:has |have )?{_MOVED}(?: from .+?)? to) (?P<value>.+)"
_NAME = r"(?P<subject>(?-i:I|[A-ZÀ-Þ][\w'-]+(?: [A-ZÀ-Þ][\w'-]+)?))"
_COSTS = r"(?P<attribute>costs?|is (?:priced|billed|charged) at|is sold for|comes to)"
_PROPER = r"(?P<subject>(?!.*['’]s )(?:the |an? )?(?-i:(?=[A-ZÀ-Þ])).+?)"


def _patterns(attributes: Iterable[str]) -> list[re.Pattern[str]]:
    """Return the forms of a plain statement, for these attributes."""
    attribute = rf"(?P<attribute>{'|'.join(sorted(map(re.escape, attributes), key=len, reverse=True))})"
    forms = (
        rf"(?:the |our )?(?:new |current )?{attribute} (?:of|for|on) (?P<subject>.+?) {_IS}",
        rf"(?P<subject>.+?)(?:['’]s|(?<=s)['’]) (?:new |current )?{attribute} {_IS}",
        rf"(?P<subject>my|our) (?:new |current )?{attribute} {_IS}",
        rf"(?P<attribute>(?:support|opening|business|office) hours) {_IS}",
        # A name must be in it, or "the new price" would be a subject called "new".
        rf"(?P<subject>the (?-i:(?=.*[A-ZÀ-Þ0-9].* \w+ (?:is|are|has|have)\b)).+?) {attribute} {_IS}",
        rf"(?P<subject>.+?) has an? (?:new |current )?{attribute} of (?P<value>.+)",
        rf"(?P<subject>.+?) (?:now |currently )?{_COSTS} (?P<value>.+)",
        # "The Garden breakfast is 8 euros": only a name, and only with a currency
        rf"{_PROPER} (?P<attribute>is) (?:now |currently )?(?P<value>.+)",
        rf"{_NAME} (?:now |currently )?(?P<attribute>lives? in|works? for) (?P<value>.+)",
    )
    return [re.compile(f"^{form}$", re.IGNORECASE) for form in forms]


_PATTERNS = _patterns(ATTRIBUTES)


class SlotRules:
    """The rules by which sentences and facts fill slots.

    Args:
        declared: attribute -> "single" (one current value: sentences that state it fill a slot, whatever the value
            looks like) or "many" (values stand side by side, as hobbies do); both win over the built-in table.
    """

    def __init__(self, declared: Mapping[str, str] | None = None) -> None:
        named = {canonical_attribute(name): cardinality for name, cardinality in (declared or {}).items()}
        self._many = {name for name, cardinality in named.items() if cardinality == "many"}
        single = {name: (name, "free") for name, cardinality in named.items() if cardinality == "single"}
        known = {name: facts for name, facts in ATTRIBUTES.items() if facts[0] not in self._many}
        self._attributes = {**known, **single}
        self._patterns = _patterns(self._attributes) if named else _PATTERNS

    def propose(self, text: str) -> tuple[Slot, str] | None:
        """Return (slot, value) when the text is one plain statement of one current value; None when in doubt."""
        sentence = LEAD.sub("", text.strip().rstrip(".! "))
        if len(sentence.split()) > MAX_WORDS or DOUBT.search(sentence):
            return None
        for pattern in self._patterns:
            found = pattern.match(sentence)
            if found and (proposal := self._proposal(found.groupdict())):
                return proposal
        return None

    def slot(self, subject: str, attribute: str, value: str) -> Slot:
        """Return the slot of a fact; each value of a many-valued attribute has one of its own."""
        name = canonical_attribute(attribute)
        return Slot(canonical_subject(subject), f"{name}: {value}" if name in self._many else name)

    def _proposal(self, parts: dict[str, str]) -> tuple[Slot, str] | None:
        written = parts["attribute"].casefold()
        name, shape = VERBS.get(written) or self._attributes.get(written, ("", ""))
        if not name or name in self._many:
            return None
        given = parts.get("subject", "")
        subject = SPEAKERS.get(given.casefold()) or canonical_subject(given)
        value = TAIL.sub("", parts["value"]).strip()
        if given.casefold() not in SPEAKERS and (NO_SUBJECT.search(subject) or len(given.split()) > MAX_SUBJECT_WORDS):
            return None
        too_long = len(value.split()) > MAX_VALUE_WORDS or ", " in value
        if too_long or not re.fullmatch(SHAPES[shape], value, re.IGNORECASE):
            return None
        return Slot(subject, name), value


def propose_slot(text: str) -> tuple[Slot, str] | None:
    """Return what the built-in rules propose; see `SlotRules`.

    >>> slot, value = propose_slot("As of 3 May, the price of the Pro plan is now 59 EUR.")
    >>> slot.key, value
    ('pro plan | price', '59 EUR')
    """
    return SlotRules().propose(text)


def canonical_subject(subject: str) -> str:
    """Return the subject without article or extra blanks, so that "the Pro plan" is "Pro plan".

    >>> canonical_subject(" the  Pro plan "), canonical_subject("my sister")
    ('Pro plan', "user's sister")
    """
    plain = re.sub(r"^(?:the|our)\s+", "", " ".join(subject.split()), flags=re.IGNORECASE)
    plain = re.sub(r"^(?:[Aa]n?|[Oo]ne)\s+(?=[A-ZÀ-Þ])", "", plain)  # "a Cargo bike" is one name, "a bike" is any bike
    return re.sub(r"^my\s+", "user's ", plain, flags=re.IGNORECASE)


def canonical_attribute(attribute: str) -> str:
    """Return the attribute's one name: "Cost" and "the fee" are "price"; unknown ones only lose article and case.

    >>> canonical_attribute("the Telephone_number")
    'phone number'
    """
    plain = canonical_subject(attribute.replace("_", " ")).casefold()
    return ATTRIBUTES[plain][0] if plain in ATTRIBUTES else plain
