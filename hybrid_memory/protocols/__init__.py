"""What each stage offers to the flow; the flow knows nothing else about them.

Imports: types (and nothing heavier). Others import from here, never from the modules inside: one for each stage.
Any object with these members fits; nobody derives from anything. Implementations
are named in build/ only.
"""

from hybrid_memory.protocols.answering import Answerer
from hybrid_memory.protocols.ingest import Extractor, Reader
from hybrid_memory.protocols.ledger import Ledger
from hybrid_memory.protocols.retrieval import Encoder, RemembersVectors, Retriever
from hybrid_memory.protocols.routing import Router, Screen
from hybrid_memory.protocols.selfedit import GeneratorTrainer, SelfEditGenerator
from hybrid_memory.protocols.shared import Filters, Progress, TextModel
from hybrid_memory.protocols.weights import AdapterStore, Candidates, CandidateTrainer, Gate, LanguageModel, Trainer

__all__ = [
    "AdapterStore",
    "Answerer",
    "CandidateTrainer",
    "Candidates",
    "Encoder",
    "Extractor",
    "Filters",
    "Gate",
    "GeneratorTrainer",
    "LanguageModel",
    "Ledger",
    "Progress",
    "Reader",
    "RemembersVectors",
    "Retriever",
    "Router",
    "Screen",
    "SelfEditGenerator",
    "TextModel",
    "Trainer",
]
