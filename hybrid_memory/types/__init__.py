"""The values that travel between the stages.

Flow:    every stage takes and returns these; none of them holds behaviour beyond reading itself.
Imports: nothing of this package outside this folder. Others import from here, never from the modules inside.

All of them are frozen. Those a user receives also index like dicts (`answer["text"]`),
because users of other memory libraries type that already.
Times are timezone-aware UTC; durations carry `_s` and are seconds.
"""

from hybrid_memory.types.adapters import (
    BEHAVIOUR,
    EXAMPLES,
    FACTS,
    GENERATOR,
    TASKS,
    AdapterVersion,
    Rollback,
    Shard,
    Verdict,
)
from hybrid_memory.types.answers import Answer, Context, Explanation, Generation, Hit, Stretch
from hybrid_memory.types.decisions import Decision, Finding, Move, Replay
from hybrid_memory.types.inputs import Example, Fact, Lesson, Preference, Task, Turn
from hybrid_memory.types.quoting import named, quoted
from hybrid_memory.types.receipts import Audit, IngestReceipt, IngestSummary, Receipt
from hybrid_memory.types.records import (
    IMPORTED_ID,
    IMPORTED_ROW,
    OWN_QUESTION,
    OWN_WORDS,
    Draft,
    Entry,
    Event,
    Held,
    Passage,
    Record,
)
from hybrid_memory.types.reports import ConsolidationReport, GeneratorReport, RoundReport, ShardReport
from hybrid_memory.types.scopes import Scope, Slot
from hybrid_memory.types.study import Directives, SelfEdit, StudyItem
from hybrid_memory.types.values import (
    LARGEST,
    FloatArray,
    IdArray,
    Json,
    Value,
    finite,
    nested_deeper,
    plain,
    unkeepable,
)
from hybrid_memory.types.words import AdapterStatus, Kind, Learning, Mode, Route, Sensitivity, Status, Trust

__all__ = [
    "BEHAVIOUR",
    "EXAMPLES",
    "FACTS",
    "GENERATOR",
    "IMPORTED_ID",
    "IMPORTED_ROW",
    "LARGEST",
    "OWN_QUESTION",
    "OWN_WORDS",
    "TASKS",
    "AdapterStatus",
    "AdapterVersion",
    "Answer",
    "Audit",
    "ConsolidationReport",
    "Context",
    "Decision",
    "Directives",
    "Draft",
    "Entry",
    "Event",
    "Example",
    "Explanation",
    "Fact",
    "Finding",
    "FloatArray",
    "Generation",
    "GeneratorReport",
    "Held",
    "Hit",
    "IdArray",
    "IngestReceipt",
    "IngestSummary",
    "Json",
    "Kind",
    "Learning",
    "Lesson",
    "Mode",
    "Move",
    "Passage",
    "Preference",
    "Receipt",
    "Record",
    "Replay",
    "Rollback",
    "RoundReport",
    "Route",
    "Scope",
    "SelfEdit",
    "Sensitivity",
    "Shard",
    "ShardReport",
    "Slot",
    "Status",
    "Stretch",
    "StudyItem",
    "Task",
    "Trust",
    "Turn",
    "Value",
    "Verdict",
    "finite",
    "named",
    "nested_deeper",
    "plain",
    "quoted",
    "unkeepable",
]
