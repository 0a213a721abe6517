"""An index as a retriever of LlamaIndex: passages as nodes that say where they stand in their document."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence

from llama_index.core.callbacks import CallbackManager
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import NodeRelationship, NodeWithScore, QueryBundle, RelatedNodeInfo, TextNode

from pincite.qa.found_passages import FoundPassage, SearchMode, find_passages
from pincite.qa.live_index import LiveIndex

__all__ = ["PinciteRetriever"]

_FOR_MODELS = frozenset({"path", "title", "line", "author", "date"})
"""What a language model sees of the metadata, beside the text."""


class PinciteRetriever(BaseRetriever):
    """Finds passages in an index, always in its newest generation.

    Args:
        index: the folder of the index.
        k: how many passages.
        mode: what to rank by, as `Pipeline.search` takes it.
        where: conditions on the documents, such as "date>=2021-05".
        callback_manager: as of every retriever.

    Raises:
        PinciteError: there is no such index; when asked, also for an empty query or a condition that says nothing.
    """

    def __init__(
        self,
        index: str | os.PathLike[str],
        *,
        k: int = 10,
        mode: SearchMode = "hybrid",
        where: Sequence[str] = (),
        callback_manager: CallbackManager | None = None,
    ) -> None:
        super().__init__(callback_manager=callback_manager)
        self.k, self.mode, self.where = k, mode, tuple(where)
        self._live = LiveIndex(index, can_sync=False)

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        found = find_passages(self._live, query_bundle.query_str, self.k, mode=self.mode, where=self.where)
        return [NodeWithScore(node=_node(one), score=one.score) for one in found]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await asyncio.to_thread(self._retrieve, query_bundle)


def _node(found: FoundPassage) -> TextNode:
    hidden = [key for key in found.metadata if key not in _FOR_MODELS]
    return TextNode(
        id_=found.id,
        text=found.text,
        start_char_idx=found.metadata["start"],
        end_char_idx=found.metadata["end"],
        metadata=dict(found.metadata),
        excluded_llm_metadata_keys=hidden,
        excluded_embed_metadata_keys=hidden,
        relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=found.document_id)},
    )
