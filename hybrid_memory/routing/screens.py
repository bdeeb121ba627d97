"""Three screens: instructions hidden in data, secrets, personal identifiers.

Flow:    draft -> [screen] -> findings -> router.
Imports: types.

Patterns only: no model, no network, linear time. They read English. A finding's detail names
the class of what was seen, never the text itself, so that it may stand in a log.
"""

from __future__ import annotations

import base64
import binascii
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from hybrid_memory.types import Finding

__all__ = ["InstructionScreen", "PersonalScreen", "SecretScreen"]

# ---------------------------------------------------------------- instructions

_REPLY = (
    r"\byour (?:own |final |next |entire )?(?:response|reply|answer|output|message|solution|summary|implementation|"
    r"code(?:base)?|algorithm|elucidation)s?(?:'s)?\b(?! to (?:this|these|the) question)"
)
_SHAPE = (
    r"(?:add|include|insert|integrate|incorporate|append|augment|modify|enhance|embed|render|provide|replace|substitute|"
    r"convert|remove|group|combine|use|misspell|scramble|jumble|anagram|rearrange|introduce|begin|start|end|prefix|"
    r"suggest|tease|promote|mention|express|translate|write)"
)
_STARTS = r"(?:^\W*|(?<=[.!?;:] )|(?<=\s)(?=(?-i:[A-Z])))(?:please |also |then |now |always )?"
"""Where an order begins: a line, a sentence, or a capital letter in the middle of one that was cut."""
_CLAUSE = r'(?:"[^"\n]{0,200}"|[^.!?\n"]|[.](?=\S))'
"""One sign of the same sentence; quoted text and the dots of addresses do not end it."""
_OLD = (
    r"(?:previous(?:ly given)?|prior|preceding|earlier|above|foregoing|original|initial|existing|old|other|system|"
    r"safety|user'?s?|your)"
)
_ORDERS = (
    r"(?:instructions?|prompts?|rules?|directions?|directives?|guidelines|commands?|orders?|programming|restrictions|"
    r"tasks?|information)"
)
_CODE = r"code (?:section|block|snippet|excerpt|fragment)s?"
_MODEL = r"(?:ai|llm|language model|chatbot|(?:ai |virtual )?assistants?|ai agents?)"

_ORDER_PATTERNS: Final[Mapping[str, str]] = {
    "an order to set instructions aside": (
        rf"\b(?:ignore|disregard|forget|override|bypass|neglect)\b[^.!?\n]{{0,30}}\b{_OLD}\b[^.!?\n]{{0,40}}\b{_ORDERS}"
        r"|\b(?:ignore|disregard|forget\w*) (?:about )?(?:all|any|every(?:thing)?)(?: of)? "
        rf"(?:the |your |my |these |those )?(?:{_ORDERS}|(?:above|before|you (?:were|have been) told|i said))"
        rf"|\b(?:do not|don't|stop) (?:follow\w*|listen\w* to|obey\w*) (?:the |any |all )*{_OLD} {_ORDERS}"
    ),
    "a new role for the model": (
        r"\byou are (?:now|no longer|from now on) "
        r"(?:a|an|the|in|free|dan\b|acting|going|under|bound|evil|my|operating)\b"
        r"|\bfrom now on,? you (?:are|will be|act|have no|must obey|ignore|can do|do not follow)\b"
        r"|\b(?:enter|enable|activate|switch to) (?:dan|developer|debug|god|admin|jailbreak|unrestricted) mode\b"
        r"|\bnew (?:system )?(?:prompt|instructions?|persona|directive)s? ?:"
        r"|\bdan can (?:do anything|override)"
    ),
    "a forged control marker": (
        r"<\|?(?:im_start|im_end|system|endoftext)\|?>|</?(?:system|instructions?|information|admin|important)>"
        r"|<</?sys>>|\[/?inst\]"
        r"|^\W*(?:system|admin|developer) ?(?:prompt|message|override|note|instruction)s? ?[:\]-]"
        r"|^\W{3,}\s?(?:end|start|begin)(?: of)?(?: the)? [\w ]{0,30}?"
        r"(?:prompt|instructions?|context|knowledge base|document|data|input)\W*$"
    ),
    "a message addressed to the model": (
        rf"\b(?:message|note|instructions?|attention)\b[^.\n]{{0,20}}\b(?:to|for) (?:the |all |any )?{_MODEL}\b"
        rf"|\bif you(?:'re| are) (?:an? )?(?:{_MODEL}|automated)\b"
        r"|\b(?:ai|llm) (?:assistants?|agents?|models?) (?:must|should|shall|reading|processing)\b"
        r"|\bthis is an? (?:very )?important message from\b[^\n]{0,80}\bto you\b"
        r"|\bbefore you (?:can )?(?:solve|answer|complete|summari[sz]e|continue|start|do)\b"
        r"[^\n]{0,80}\b(?:following|first)\b"
    ),
    "an order to shape the answer": (
        rf"{_STARTS}(?:in|with|throughout) {_REPLY},? ?{_SHAPE}\b"
        rf"|{_STARTS}{_SHAPE}\b{_CLAUSE}{{0,160}}{_REPLY}"
    ),
    "an order to hide something": (
        r"\b(?:do not|don't|never|without) (?:ever )?"
        r"(?:mention\w*|tell\w*|inform\w*|reveal\w*|alert\w*|notify\w*|let\w*|disclos\w+|show\w*|ask\w*)\b"
        r"[^.!?\n]{0,40}\b(?:to )?(?:the )?(?:user|human|owner|anyone|developer|operator|reviewer) ?"
        r"(?:about|that|of|know|for confirmation|for permission|or|this|these|$)"
    ),
    "an order to hand over data": (
        r"\b(?:send|forward|post|upload|e-?mail|exfiltrate|transmit|leak|copy)\b[^.!?\n]{0,60}"
        r"\b(?:all|every|any|user'?s?|your|conversation|chat|system|private|secret|confidential|passwords?|credentials?|"
        r"api keys?|tokens?|information|messages)\b"
        r"[^!?\n]{0,60}?\bto (?:https?:|www\.|the (?:website|url|server|address|link)|[\w.+-]+@|my (?:new )?e-?mail)"
        r"|\b(?:reveal|print|output|repeat|leak|disclose|include|show)\b[^.!?\n]{0,30}\byour (?:\w+ )?"
        r"(?:system prompt|initial prompt|instructions|api[_ ]?keys?|credentials|secrets?|password)\b"
        r"|\b(?:print|output|repeat) (?:out )?(?:the |all )?(?:above |previous |of the )?instructions\b"
    ),
}
_ORDERS_COMPILED: Final = [
    (detail, re.compile(pattern, re.IGNORECASE | re.MULTILINE)) for detail, pattern in _ORDER_PATTERNS.items()
]

_SCORES: Final[Mapping[str, float]] = {"an order to shape the answer": 0.7}

_PLANTED_CODE = re.compile(rf"\b(?:following|below|subsequent|given) {_CODE}\b[^\n]{{0,160}}:\s*```(.*)", re.I | re.S)
_RISKY_CODE = re.compile(
    r"requests\.|urllib|http[.]?client|httpx|aiohttp|ftplib|smtp|paho|socket|paramiko|subprocess|os\.system|os\.remove|"
    r"wget|curl |sudo |rm -|exec\(|urlopen|http\.|cookiejar"
)

_TASK = re.compile(
    r"^(?:please )?(?:explain|describe|draft|compose|translate|summari[sz]e|break down|provide|write|develop|generate|"
    r"render|misspell|spell|substitute|replace|convert|introduce|scramble|jumble|anagram|rearrange|group|combine|remove)\b"
    r"[^?\n]{0,140}\b(?:essay|poem|story|letter to|speech|theory|process|lifecycle|life cycle|plot of|example|"
    r"equivalent|sentence|recursion|equations?|letters?|words?|vowels?|message|simple terms|symbols?|spaces|anagrams?|"
    r"french|spanish|german|russian|japanese|english|chinese|italian)\b",
    re.IGNORECASE,
)
"""A task for a language model. Suspicious only where a longer text of another nature holds it."""

_QUESTION = re.compile(
    r"^(?:what|who|when|where|which|why|how|(?:can|could) you (?:show|write|give|explain|tell))\b[^?\n]{6,140}\?$",
    re.IGNORECASE,
)
"""A question that a model could answer from what it knows."""
_BETWEEN_PEOPLE = re.compile(
    r"\b(?:we|our|us|my|mine|your|yours|this|that|these|those|it|its|they|them|he|she|him|her|"
    r"today|tomorrow|yesterday|soon|next|last|yet)\b"
    r"|\bme\b(?! an? | the | how | some )|\bi\b(?<!do i)(?<!can i)"
    r"|(?<!can )(?<!could )\byou\b(?! say| write| spell| calculate| solve| call)",
    re.IGNORECASE,
)
"""Words by which a question belongs to the mail or the page that it stands in."""
_WORD = re.compile(r"[a-z]{4,}", re.IGNORECASE)
_QUOTED = re.compile(r"(?<!\w)'[^'\n]*'(?!\w)|\"[^\"\n]*\"")
_ASKING = frozenset(
    "what when where which does have were show write give explain tell could would between from with main".split()
)

_HOST_CHARS = 160
"""A text shorter than this beside the task is no host for it: the task is the text."""
_MOST_TASKS = 2
"""A text with more tasks than this is a list of tasks, such as a worksheet."""
_INVISIBLE = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff\u00ad\U000e0000-\U000e007f]")
_BASE64 = re.compile(r"\b[A-Za-z0-9+/]{40,}={0,2}")
_SPACED = re.compile(r"\b(?:\w[ .\-_*]){5,}\w\b")
_SENTENCE = re.compile(r"(?<=[.!?|])\s+|\n+")


class InstructionScreen:
    """Sees text that gives orders to the model that will read it."""

    def screen(self, text: str) -> tuple[Finding, ...]:
        """Return one finding per kind of order; empty when the text gives none.

        Letters hidden by zero-width characters, full-width forms, spaces between letters or
        base64 are uncovered first. Scores: 0.9 for an order against the application, 0.7 for one
        about the form of answers (users give such orders honestly), 0.6 for a task set beside
        other text, 0.4 for a question or code there, which honest texts have as well.
        """
        found = dict.fromkeys(
            detail
            for reading in _readings(text)
            for detail, pattern in _ORDERS_COMPILED
            if pattern.search(reading) is not None
        )
        findings = [Finding(screen="instruction", detail=detail, score=_SCORES.get(detail, 0.9)) for detail in found]
        return (*findings, *_planted_code(text)) or _planted_task(text)


def _readings(text: str) -> Iterator[str]:
    """Give the text as a model would read it, then what is encoded in it."""
    plain = unicodedata.normalize("NFKC", _tags_as_letters(text)).replace("’", "'")
    yield _INVISIBLE.sub("", plain)
    if _SPACED.search(plain):
        yield _SPACED.sub(lambda run: re.sub(r"[ .\-_*]", "", run[0]), plain)
    for blob in _BASE64.findall(plain)[:20]:
        try:
            yield base64.b64decode(blob, validate=True).decode("utf-8")
        except (binascii.Error, UnicodeDecodeError):
            continue


def _tags_as_letters(text: str) -> str:
    """Unicode tag characters mirror ASCII and are invisible; read them as the letters they mirror."""
    return "".join(chr(ord(sign) - 0xE0000) if 0xE0020 <= ord(sign) <= 0xE007E else sign for sign in text)


def _planted_code(text: str) -> tuple[Finding, ...]:
    planted = _PLANTED_CODE.search(text)
    if planted is None:
        return ()
    risky = _RISKY_CODE.search(planted[1]) is not None
    return (Finding(screen="instruction", detail="an order to plant code", score=0.8 if risky else 0.4),)


def _planted_task(text: str) -> tuple[Finding, ...]:
    sentences = [part.strip() for part in _SENTENCE.split(text.strip()) if part.strip()]
    tasks = [sentence for sentence in sentences if _TASK.match(sentence)]
    asked = [sentence for sentence in sentences if sentence not in tasks and _is_strange_question(sentence, sentences)]
    host = len(text) - sum(map(len, tasks + asked))
    if host < _HOST_CHARS or not 0 < len(tasks + asked) <= _MOST_TASKS:
        return ()
    what, score = ("a task", 0.6) if tasks else ("a question", 0.4)
    return (Finding(screen="instruction", detail=f"{what} for the model beside other text", score=score),)


def _is_strange_question(sentence: str, around: Sequence[str]) -> bool:
    """Tell whether a question of general knowledge shares no word with the text around it."""
    if not _QUESTION.match(sentence) or _BETWEEN_PEOPLE.search(_QUOTED.sub(" ", sentence)):
        return False
    asked = {word.casefold() for word in _WORD.findall(sentence)} - _ASKING
    others = {word.casefold() for other in around if other != sentence for word in _WORD.findall(other)}
    return asked.isdisjoint(others)


# ---------------------------------------------------------------- secrets

_SECRETS: Final[Mapping[str, re.Pattern[str]]] = {
    "a private key": re.compile(r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY(?: BLOCK)?-----"),
    "a cloud access key": re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\bAIza[\w-]{35}\b"),
    "an access token": re.compile(
        r"\b(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_\w{30,}|glpat-[\w-]{18,}|npm_[A-Za-z0-9]{30,}|pypi-[\w-]{40,}|"
        r"hf_[A-Za-z0-9]{30,}|xox[abprs]-[\w-]{10,}|(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{16,}|sk-(?:proj-|ant-)?[\w-]{20,}|"
        r"SG\.[\w-]{16,}\.[\w-]{16,})"
    ),
    "a signed web token": re.compile(r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}"),
    "a password in an address": re.compile(r"\b[a-z][a-z0-9+.-]{1,20}://[^\s:/@]{1,80}:[^\s:/@]{3,80}@", re.IGNORECASE),
    "a bearer token": re.compile(r"\bBearer\s+[\w.~+/-]{20,}=*", re.IGNORECASE),
}
_ASSIGNED = re.compile(
    r"\b(?:password|passwd|passphrase|pwd|pin code|secret(?:[_ ]key)?|api[_ -]?key|access[_ -]?key|auth[_ -]?token|"
    r"client[_ -]?secret|(?:door|entry|alarm|wifi|wi-fi)[_ -]?(?:code|password|key))\b"
    r"(?:\s+\w+){0,4}?\s*(?:=|:|\bis\b)\s*[\"'`]?([^\s\"'`,;]{4,})",
    re.IGNORECASE,
)
_PLACEHOLDER = re.compile(
    r"^(?:<.*>|\$\{?\w+.*|x{3,}.*|\*+|\.\.\.|your[_-].*|changeme|example.*|null|none|true|false)$", re.IGNORECASE
)
_CARD = re.compile(r"(?<![\d.])(?:\d[ -]?){12,18}\d(?![\d.])")


class SecretScreen:
    """Sees credentials and payment card numbers."""

    def screen(self, text: str) -> tuple[Finding, ...]:
        """Return one finding per class of secret; the secret itself is never repeated."""
        details = [detail for detail, pattern in _SECRETS.items() if pattern.search(text)]
        if any(_looks_secret(value) for value in _assigned(text)):
            details.append("a password or key")
        if any(_is_card(digits) for digits in _CARD.findall(text)):
            details.append("a payment card number")
        return tuple(Finding(screen="secret", detail=detail) for detail in details)


def _assigned(text: str) -> Iterator[str]:
    """Give what is assigned to every name of a secret, those inside another's value too ("code is password: …")."""
    found = _ASSIGNED.search(text)
    while found is not None:
        yield found[1]
        found = _ASSIGNED.search(text, found.start() + 1)


def _looks_secret(value: str) -> bool:
    """A secret mixes letters with digits or signs; words ("password is required") and placeholders do not."""
    value = value.rstrip(".!?)")
    if _PLACEHOLDER.match(value) or len(value) < 4:
        return False
    return any(sign.isdigit() for sign in value) or any(sign in "!@#$%^&*+~" for sign in value)


def _is_card(text: str) -> bool:
    """Check length, first digit and the Luhn sum (ISO/IEC 7812-1, annex B)."""
    digits = [int(sign) for sign in text if sign.isdigit()]
    if not 13 <= len(digits) <= 19 or digits[0] not in (2, 3, 4, 5, 6) or len(set(digits)) == 1:
        return False
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return (sum(doubled) + sum(digits[-1::-2])) % 10 == 0


# ---------------------------------------------------------------- personal identifiers

_ROLE_MAIL = re.compile(
    r"^(?:info|support|help|helpdesk|sales|contact|hello|hi|billing|press|jobs|careers|office|admin|team|service|orders|returns|"
    r"security|privacy|legal|noreply|no-reply|feedback|accounts?|care|desk|it|hr|abuse|webmaster|postmaster)[+.\d-]*$",
    re.IGNORECASE,
)
_MAIL = re.compile(r"\b([\w.+-]{1,64})@[\w-]+(?:\.[\w-]+)+\b")
_PERSONAL: Final[Mapping[str, re.Pattern[str]]] = {
    "a phone number": re.compile(
        r"(?<![\w.,$€£-])(?:\+\d{1,3}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d{1,4}(?:[ .-]?\d{2,4}){2,4}"
        r"|\(\d{3}\) ?\d{3}[ .-]\d{4}|\d{3}[ .-]\d{3}[ .-]\d{4})(?![\w-])"
    ),
    "a national identity number": re.compile(
        r"\b\d{3}-\d{2}-\d{4}\b|\b(?:ssn|social security|passport|national id|id card|driver'?s licen[cs]e)"
        r"(?: number| no\.?)?\s*(?:is|:|#)?\s*[A-Z]{0,3}\d[\dA-Z -]{5,}",
        re.IGNORECASE,
    ),
    "a bank account": re.compile(
        r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,3})?\b"
        r"|\b(?:[Aa]ccount|[Rr]outing|[Ss]ort code)(?: number| no\.?)?\s*(?:is|:|#)\s*\d[\d -]{5,}"
    ),
    "a date of birth": re.compile(
        r"\b(?:born on|date of birth|dob|birthday is|birthdate)\b[ :a-z]{0,12}\d", re.IGNORECASE
    ),
    "a home address": re.compile(
        r"\b(?:i live|(?:my|his|her|their|home) (?:home )?address|lives|resides|living)\b[^.\n]{0,20}\b(?:at|is|:)\s*"
        r"[^.\n]{0,30}\d+\w?\b[^.\n]{0,40}"
        r"\b(?:street|st|road|rd|avenue|ave|lane|drive|square|way|court|boulevard|gatan|gate|strasse|straße)\b",
        re.IGNORECASE,
    ),
    "a health record": re.compile(
        r"\b(?:patient|medical record|mrn)\b[^.\n]{0,30}\b(?:id|number|no\.?|#)\s*:?\s*\w*\d{4,}", re.IGNORECASE
    ),
}


class PersonalScreen:
    """Sees identifiers of a person: e-mail and home addresses, phone, identity and account numbers, dates of birth.

    Tastes and habits ("I am vegetarian") are not identifiers: they are what a memory is for.
    """

    def screen(self, text: str) -> tuple[Finding, ...]:
        """Return one finding per class of identifier; shared mailboxes such as support@ do not count."""
        details = [detail for detail, pattern in _PERSONAL.items() if pattern.search(text)]
        if any(not _ROLE_MAIL.match(box) for box in _MAIL.findall(text)):
            details.append("an e-mail address")
        return tuple(Finding(screen="personal", detail=detail) for detail in details)
