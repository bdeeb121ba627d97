"""Passages as nodes of a LlamaIndex vector store: add, delete, and the nearest of a selection.

Flow:    vector_store (which passages) -> [nodes] -> any `BasePydanticVectorStore`
Imports: errors, types, retrieval.encoder (unit_rows). llama_index only here in retrieval.

A node has a vector and a number and no text: the ledger has the text, and what is not copied need not be forgotten.
The selection is sent with the question, in the first of three ways that the store honours, and what comes back is
checked: only passages of the selection, and as many as there must be. Stores differ in what they honour (Chroma
and pgvector pass over `node_ids`, pgvector with an HNSW index returns too few of a narrow selection) and none says so.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
)

from hybrid_memory.errors import InputError
from hybrid_memory.retrieval.encoder import unit_rows
from hybrid_memory.types import FloatArray, IdArray

__all__ = ["Nodes"]

log = logging.getLogger(__name__)

BATCH = 1000
"""Nodes per call: Chroma takes at most about 5,400, SQL parameters have limits of their own."""
MEMORY, PASSAGE = "hybrid_memory", "passage"
"""Keys of a node's metadata: the memory's name in the store, and the passage's number."""
NOT_OURS = -1


class Nodes:
    """One memory's nodes in a vector store, which may hold other nodes too.

    Args:
        store: any LlamaIndex vector store that filters by metadata; one that cannot is never asked twice.
        space: 16 hex digits that name the memory; they are part of every node id and of the metadata.

    Raises:
        InputError: it is no LlamaIndex vector store.
    """

    def __init__(self, store: object, *, space: str) -> None:
        if not isinstance(store, BasePydanticVectorStore):
            raise InputError(
                "vector_store must be a LlamaIndex vector store (a BasePydanticVectorStore), "
                f"got {type(store).__name__}"
            )
        self._store: Any = store
        self._space = space
        self._ways: list[Callable[[IdArray, IdArray], dict[str, Any]]] = [
            self._with_all_but_the_hidden,
            self._by_node_id,
            self._by_metadata,
        ]

    @property
    def name(self) -> str:
        """The store's class name."""
        return type(self._store).__name__

    def add(self, ids: Sequence[int], vectors: FloatArray) -> None:
        """Add vectors of shape (len(ids), dim); the store must not have the ids yet."""
        for part, rows in zip(_parts(ids), _parts(unit_rows(vectors)), strict=True):
            self._store.add([self._node(key, row) for key, row in zip(part, rows, strict=True)])

    def delete(self, ids: Sequence[int]) -> None:
        """Delete nodes; ids that are not there are passed over."""
        for part in _parts(ids):
            try:
                self._store.delete_nodes(node_ids=[self._node_id(key) for key in part])
            except NotImplementedError:  # the base class; only `delete` is obligatory
                for key in part:
                    self._store.delete(self._node_id(key))

    def there(self, ids: Sequence[int], vector: FloatArray) -> list[int]:
        """Return those of the ids that the store holds; `vector` is any one of the right length."""
        found: list[int] = []
        for part in _parts(ids):
            names = [self._node_id(key) for key in part]
            try:
                found += [self._passage(node.node_id) for node in self._store.get_nodes(node_ids=names)]
            except NotImplementedError:
                either = {"node_ids": names, "filters": self._ours(FilterOperator.IN, list(part))}
                found += self._ask(vector, len(part), either) or []
            except ValueError as error:  # Qdrant: the collection was deleted
                log.info("%s cannot be asked what it holds: %s", self.name, error)
        return sorted(set(found) & set(ids))

    def nearest(self, vector: FloatArray, *, selection: IdArray, held: IdArray, top_k: int) -> list[int] | None:
        """Return the `top_k` passages of the selection that the store calls nearest, in no promised order.

        Args:
            vector: shape (dim,), unit length.
            selection: ids that may be found, ascending.
            held: all ids of this memory in the store, ascending.
            top_k: how many, at most the selection's size.

        Returns:
            None when the store answers with too few, or with passages outside the selection, whichever way it is asked.
        """
        hidden = np.setdiff1d(held, selection, assume_unique=True)
        for way in tuple(self._ways):
            if way == self._with_all_but_the_hidden and hidden.size > selection.size:
                continue  # the shorter list is sent
            found = self._ask(vector, top_k, way(selection, hidden))
            if found is None or not np.isin(found, selection).all():
                self._ways.remove(way)
                log.info("%s does not search %s", self.name, way.__name__.strip("_").replace("_", " "))
            elif len(set(found)) == top_k:
                return found
        return None

    def _ask(self, vector: FloatArray, top_k: int, restriction: dict[str, Any]) -> list[int] | None:
        query = VectorStoreQuery(query_embedding=vector.tolist(), similarity_top_k=top_k, **restriction)
        try:
            answer = self._store.query(query)
        except (NotImplementedError, ValueError) as error:  # how these stores say that they lack an operator
            log.info("%s refuses a restricted search: %s", self.name, error)
            return None
        names = answer.ids if answer.ids is not None else [node.node_id for node in answer.nodes or ()]
        return [self._passage(name) for name in names]

    def _with_all_but_the_hidden(self, _selection: IdArray, hidden: IdArray) -> dict[str, Any]:
        return {"filters": self._ours(FilterOperator.NIN, hidden.tolist())}

    def _by_node_id(self, selection: IdArray, _hidden: IdArray) -> dict[str, Any]:
        return {"node_ids": [self._node_id(key) for key in selection.tolist()]}

    def _by_metadata(self, selection: IdArray, _hidden: IdArray) -> dict[str, Any]:
        return {"filters": self._ours(FilterOperator.IN, selection.tolist())}

    def _ours(self, operator: FilterOperator, ids: list[int]) -> MetadataFilters:
        conditions = [MetadataFilter(key=MEMORY, value=self._space)]
        if ids:
            conditions.append(MetadataFilter(key=PASSAGE, value=ids, operator=operator))
        return MetadataFilters(filters=conditions)

    def _node(self, key: int, row: FloatArray) -> TextNode:
        name = self._node_id(key)
        return TextNode(
            id_=name,
            text="",
            embedding=row.tolist(),
            metadata={MEMORY: self._space, PASSAGE: key},
            relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=name)},
        )

    def _node_id(self, key: int) -> str:
        """Return a UUID, the only form of id that Qdrant takes: the memory's 64 bits, then the passage's."""
        return str(uuid.UUID(int=int(self._space, 16) << 64 | key))

    def _passage(self, name: str) -> int:
        try:
            space, key = divmod(uuid.UUID(name).int, 1 << 64)
        except ValueError:
            return NOT_OURS
        return key if space == int(self._space, 16) and key < 1 << 63 else NOT_OURS


def _parts(items: Any) -> Iterator[Any]:
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]
