"""An index as a retriever of LangChain: passages as documents whose metadata say where they stand."""

from __future__ import annotations

from typing import Any

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import Field, PrivateAttr

from pincite.qa.found_passages import SearchMode, find_passages
from pincite.qa.live_index import LiveIndex

__all__ = ["PinciteRetriever"]


class PinciteRetriever(BaseRetriever):
    """Finds passages in an index, always in its newest generation.

    Attributes:
        index: the folder of the index, such as "articles/.pincite".
        k: how many passages.
        mode: what to rank by, as `Pipeline.search` takes it.
        where: conditions on the documents, such as "date>=2021-05".

    Raises:
        PinciteError: there is no such index; when asked, also for an empty query or a condition that says nothing.
    """

    index: str
    k: int = Field(default=10, ge=1)
    mode: SearchMode = "hybrid"
    where: list[str] = Field(default_factory=list)
    _live: LiveIndex = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Open the index."""
        super().model_post_init(context)
        self._live = LiveIndex(self.index, can_sync=False)

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        found = find_passages(self._live, query, self.k, mode=self.mode, where=self.where)
        return [Document(one.text, id=one.id, metadata=dict(one.metadata)) for one in found]
