"""Write the table of all settings into docs/how-to/operations.md, from the code that defines them.

python scripts/write_settings_table.py [--check]

Flow:    hybrid_memory/config/ (fields, limits, docstrings) -> Markdown rows between the two markers
Imports: hybrid_memory.config

With --check nothing is written; the exit code is 1 when the page is not what it would be. The tests call it so.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from hybrid_memory.config import Settings

PAGE = Path(__file__).parents[1] / "docs" / "how-to" / "operations.md"
BEGIN, END = "<!-- settings: python scripts/write_settings_table.py -->", "<!-- /settings -->"
LIMITS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
_ELSEWHERE = re.compile(r"\s*\((?:design|peers\.md)[^)]*\)")
"""References to notes that are not part of the repository."""


def main() -> None:
    """Write the page, or check it."""
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    new = f"{before}{BEGIN}\n{table()}\n{END}{after}"
    if "--check" not in sys.argv:
        PAGE.write_text(new, encoding="utf-8")
    elif new != text:
        sys.exit(f"the settings in {PAGE.name} are not those of the code; run `python scripts/write_settings_table.py`")


def table() -> str:
    """Return all settings as a Markdown table, in the order of the code."""
    rows = ["| setting | default | accepts | meaning |", "|---|---|---|---|"]
    defaults = Settings()
    for group in Settings.model_fields:
        values: BaseModel = getattr(defaults, group)
        schema, meanings = type(values).model_json_schema()["properties"], _docstrings(type(values))
        rows += [
            f"| `{group}.{name}` | {_default(getattr(values, name))} | {_accepts(schema[name])} | {meanings[name]} |"
            for name in type(values).model_fields
        ]
    return "\n".join(rows)


def _default(value: object) -> str:
    return "none" if value is None else f"`{json.dumps(value)}`"


def _accepts(schema: dict[str, Any]) -> str:
    """Return what a JSON schema allows, in a few signs: "number > 0", "a · b"."""
    if "anyOf" in schema:
        return " or ".join(_accepts(one) for one in schema["anyOf"] if one != {"type": "null"})
    if "enum" in schema:
        return " · ".join(json.dumps(one).strip('"') for one in schema["enum"])
    limits = [f"{sign} {schema[name]:g}" for name, sign in LIMITS.items() if name in schema]
    return " ".join([schema["type"], ", ".join(limits)]).strip()


def _docstrings(group: type[BaseModel]) -> dict[str, str]:
    """Return field -> the string below it in the source; the name in words where there is none."""
    body = ast.parse(inspect.getsource(group)).body[0]
    assert isinstance(body, ast.ClassDef)
    found = {name: f"{name.replace('_', ' ').capitalize()}." for name in group.model_fields}
    for field, below in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            text = _ELSEWHERE.sub("", " ".join(str(below.value.value).split()))
            found[ast.unparse(field.target)] = text.replace("|", "\\|")
    return found


if __name__ == "__main__":
    main()
