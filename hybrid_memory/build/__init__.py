"""The composition root: settings in, a memory's parts out. The only folder that names concrete classes.

Flow:    models -> foundation -> routing, learning -> assembly
Imports: everything, the heavy stages inside the functions that need them: a memory that only searches
loads no language model, and importing this loads neither torch nor faiss.
"""

from hybrid_memory.build.assembly import build
from hybrid_memory.build.models import make_encoder
from hybrid_memory.build.routing import default_screens, rehearsal, router_of

__all__ = ["build", "default_screens", "make_encoder", "rehearsal", "router_of"]
