"""The attributes that have slots: their names, their synonyms, and what a value must look like.

Flow:    data for slots.py
Imports: nothing of this package.
"""

from __future__ import annotations

__all__ = ["ATTRIBUTES", "MONTH", "SHAPES", "VERBS"]

MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?)"
)
_CURRENCY = r"(?:€|\$|£|¥|(?-i:[A-Z]{3})|euros?|dollars?|pounds?|cents?|francs?|yen|credits?|tokens?)"
_AMOUNT = r"\d[\d.,']*(?: ?(?:k|thousand|million|billion))?"
_PER = r"(?: ?/ ?\w+| (?:per|a|an|each|every|net|gross|plus|including|excluding|monthly|yearly|annually)\b.*)?"
_FREE = r"free(?: of charge)?"

SHAPES: dict[str, str] = {
    "money": rf"(?:only )?(?:{_CURRENCY} ?{_AMOUNT}|{_AMOUNT} ?{_CURRENCY}){_PER}|{_FREE}",
    "amount": rf"(?:only )?{_CURRENCY}? ?{_AMOUNT} ?(?:{_CURRENCY}|%|percent)?{_PER}|{_FREE}",
    "number": r".*\d.*|unlimited|(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)\b.*",
    "phone": r"\+?[\d(][\d ()./-]{3,}\d.*",
    "email": r"\S+@\S+\.\w+",
    "link": r"\S+\.\w{2,}\S*",
    "hours": r".*\d.*|closed",
    "date": r".*\d.*|(?:mon|tues|wednes|thurs|fri|satur|sun)day",
    "name": r"(?-i:[A-ZÀ-Þ0-9][\w'.&-]*(?: (?:[A-ZÀ-Þ0-9][\w'.&-]*|of|de|van|von|der))*)",
    "place": r"(?-i:(?:(?:at|in|on) )?(?:the )?[A-ZÀ-Þ0-9].*)",
    "free": r"(?!(?:too|very|so|really|quite)\b).+",
    "word": r"(?!(?:an?|the|very|so|really|quite|good|bad)\b)[\w#+.-]+(?: [\w#+.-]+){0,2}",
}
"""A value matches its shape as a whole, case ignored. It keeps opinions out: "too high" is no amount."""


def _named(shape: str, *names: str) -> dict[str, tuple[str, str]]:
    return {name: (name, shape) for name in names}


def _same(canonical: str, shape: str, *names: str) -> dict[str, tuple[str, str]]:
    return dict.fromkeys((canonical.casefold(), *names), (canonical, shape))


ATTRIBUTES: dict[str, tuple[str, str]] = {
    **_same("price", "amount", "cost", "fee"),
    **_same("monthly price", "amount", "monthly cost", "monthly fee"),
    **_same("yearly price", "amount", "yearly cost", "yearly fee", "annual price", "annual cost", "annual fee"),
    **_named(
        "amount",
        "discount",
        "interest rate",
        "exchange rate",
        "tax rate",
        "salary",
        "rent",
        "budget",
        "deposit",
        "rate",
        "surcharge",
    ),
    **_same("phone number", "phone", "phone", "telephone", "telephone number", "hotline"),
    **_same("email address", "email", "email", "e-mail", "e-mail address"),
    **_same("website", "link", "url", "web address"),
    **_same("opening hours", "hours", "business hours", "office hours"),
    **_named("hours", "support hours"),
    **_named("number", "lead time", "delivery time", "response time", "warranty", "notice period", "refund window"),
    **_named("number", "population", "capacity", "headcount", "stock level", "limit", "height", "weight", "length"),
    **_named("number", "version", "room number"),
    **_same("version", "number", "current version", "latest version", "version number"),
    **_same("deadline", "date", "due date"),
    **_named("date", "release date", "start date", "end date", "expiry date", "birthday"),
    **_same("CEO", "name", "chief executive", "chief executive officer"),
    **_named("name", "owner", "manager", "director", "president", "contact person", "capital"),
    **_same("address", "place", "office address"),
    **_same("headquarters", "place", "head office"),
    **_same("favourite colour", "word", "favourite color", "favorite color", "favorite colour"),
    **_named("word", "status"),
}
"""Attribute as written, lower case -> (its one name, the shape of its values)."""

VERBS: dict[str, tuple[str, str]] = {
    **dict.fromkeys(
        ("cost", "costs", "is priced at", "is sold for", "is billed at", "is charged at", "comes to", "is"),
        ("price", "money"),
    ),
    **dict.fromkeys(("live in", "lives in"), ("home", "name")),
    **dict.fromkeys(("work for", "works for"), ("employer", "name")),
}
"""Verb, lower case -> the attribute it states, and the shape of the value."""
