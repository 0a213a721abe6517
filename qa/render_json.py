"""Answer, hits and reports -> the objects that `--json` prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pincite.index import IndexStats, Skipped, SyncReport
from pincite.index.overview import Overview
from pincite.qa.answers import Answer
from pincite.qa.citations import Citation
from pincite.qa.links import web_link
from pincite.qa.retriever import Hit

__all__ = ["Json", "answer_json", "hits_json", "report_json", "stats_json"]

Json = dict[str, Any]  # Any: what json.dumps takes


def answer_json(answer: Answer, stats: IndexStats, *, all_answers: bool = False) -> Json:
    """Return the object that `pincite ask --json` prints."""
    body: Json = {
        "question": answer.question,
        "answered": answer.text is not None,
        "answer": answer.text,
        "confidence": round(answer.confidence, 4),
        "citations": [_citation_and_copies_json(citation) for citation in answer.citations],
        "passages": [_passage_json(rank, hit) for rank, hit in enumerate(answer.hits, 1)],
        "index": {"generation": stats.generation, "documents": stats.documents, "passages": stats.passages},
        "elapsed_ms": {step: round(spent, 1) for step, spent in answer.elapsed.items()},
    }
    if all_answers:
        body["alternatives"] = [
            {
                "answer": item.text,
                "confidence": round(item.confidence, 4),
                "citations": [_citation_and_copies_json(citation) for citation in item.citations],
            }
            for item in answer.alternatives
        ]
    return body


def _citation_and_copies_json(citation: Citation) -> Json:
    return _citation_json(citation) | {"also": [_citation_json(copy) for copy in citation.also]}


def _citation_json(citation: Citation) -> Json:
    return {
        "path": citation.path,
        "title": citation.title,
        "start": citation.span.start,
        "end": citation.span.end,
        "line": citation.line,
        "column": citation.column,
        "end_line": citation.end_line,
        "quote": citation.quote,
        "sentence": citation.sentence,
        "sentence_start": citation.sentence_span.start,
        "sentence_end": citation.sentence_span.end,
        "score": round(citation.score, 4),
        "verified": citation.verified,
        "problem": citation.problem or None,
        "page": citation.page,
        "unit": citation.unit or None,
        "mark": citation.mark or None,
        "format": citation.format,
        "author": citation.author or None,
        "date": citation.date or None,
        "url": citation.url or None,
        "link": web_link(citation),
    }


def hits_json(query: str, hits: Sequence[Hit]) -> Json:
    """Return the object that `pincite search --json` prints."""
    return {
        "query": query,
        "hits": [
            _passage_json(rank, hit) | {"dense_rank": hit.dense_rank, "sparse_rank": hit.sparse_rank}
            for rank, hit in enumerate(hits, 1)
        ],
    }


def _passage_json(rank: int, hit: Hit) -> Json:
    return {
        "rank": rank,
        "path": hit.path,
        "title": hit.title,
        "start": hit.passage.span.start,
        "end": hit.passage.span.end,
        "line": hit.line,
        "text": hit.passage.text,
        "score": round(hit.score, 6),
        "unit": hit.unit or None,
        "mark": hit.mark or None,
        "format": hit.format,
        "author": hit.metadata.get("author"),
        "date": hit.metadata.get("date"),
        "url": hit.metadata.get("url"),
        "also": [
            {
                "path": copy.path,
                "title": copy.title,
                "start": copy.passage.span.start,
                "end": copy.passage.span.end,
                "line": copy.line,
                "score": round(copy.score, 6),
                "unit": copy.unit or None,
                "mark": copy.mark or None,
                "format": copy.format,
            }
            for copy in hit.also
        ],
    }


def report_json(report: SyncReport) -> Json:
    """Return the object that `pincite index --json` prints."""
    return {
        "documents": {
            "added": report.added,
            "changed": report.changed,
            "removed": report.removed,
            "unchanged": report.unchanged,
        },
        "skipped": [_skipped_json(item) for item in report.skipped],
        "passages": report.passages,
        "embedded": report.embedded,
        "seconds": round(report.seconds, 3),
        "generation": report.generation,
    }


def _skipped_json(item: Skipped) -> Json:
    return {"path": item.path, "reason": item.reason}


def stats_json(stats: IndexStats, folder: str, changes: Mapping[str, int], held: Overview | None = None) -> Json:
    """Return the object that `pincite status --json` prints, with formats and what was skipped if that is given."""
    more = {"formats": dict(held.formats), "skipped": [_skipped_json(item) for item in held.skipped]} if held else {}
    return more | {
        "index": folder,
        "generation": stats.generation,
        "model": stats.model,
        "documents": stats.documents,
        "passages": stats.passages,
        "segments": stats.segments,
        "bytes": stats.bytes,
        "sources": [{"path": source.path, "exclude": list(source.exclude)} for source in stats.sources],
        "changes": dict(changes),
    }
