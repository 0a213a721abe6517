"""Answer -> W3C Web Annotations, one for each citation: what a reading or annotating tool shows in the source.

An annotation highlights the quote by what it says and where it stands (TextQuoteSelector, TextPositionSelector), in
characters of the document's text; its bodies are the question and the answer. A quote with copies has several targets.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote_to_bytes, urlsplit

from pincite.qa.answers import Answer
from pincite.qa.citations import Citation
from pincite.qa.links import file_of, web_address
from pincite.qa.retriever import Hit

__all__ = ["answer_annotations", "file_iri", "path_of_iri"]

_CONTEXT = 32  # characters of prefix and suffix

Json = dict[str, Any]  # Any: what json.dumps takes


def answer_annotations(answer: Answer, *, all_answers: bool = False) -> Json:
    """Return an AnnotationCollection in JSON-LD (Web Annotation Data Model, W3C 2017); an empty one if nothing is said.

    Every `exact` is what the document's text has from `start` to `end`.
    """
    found = [(answer.text or "", answer.citations)]
    if all_answers:
        found += [(other.text, other.citations) for other in answer.alternatives]
    items = [_annotation(answer, text, citation) for text, citations in found for citation in citations]
    name = _name(answer.question, *(item["id"] for item in items))
    body: Json = {
        "@context": "http://www.w3.org/ns/anno.jsonld",
        "id": name,
        "type": "AnnotationCollection",
        "label": answer.question,
        "total": len(items),
    }
    if items:
        body["first"] = {"id": _name(name), "type": "AnnotationPage", "startIndex": 0, "items": items}
    return body


def _annotation(answer: Answer, text: str, citation: Citation) -> Json:
    targets = [_target(one, answer.hits) for one in (citation, *citation.also)]
    places = [f"{file_iri(one.path)} {one.span}" for one in (citation, *citation.also)]
    return {
        "id": _name(answer.question, text, *places),
        "type": "Annotation",
        "motivation": "highlighting",
        "body": [
            {"type": "TextualBody", "format": "text/plain", "purpose": "questioning", "value": answer.question},
            {"type": "TextualBody", "format": "text/plain", "purpose": "replying", "value": text},
        ],
        "target": targets if len(targets) > 1 else targets[0],
    }


def _target(citation: Citation, hits: Sequence[Hit]) -> Json:
    span, (text, start) = citation.span, _around(citation, hits)
    before, after = text[: span.start - start], text[span.end - start :]
    target: Json = {"type": "SpecificResource", "source": web_address(citation.url) or file_iri(citation.path)}
    if target["source"] != file_iri(citation.path):  # the copy of the page that was read
        target["state"] = {"type": "TimeState", "cached": file_iri(citation.path)}
    target["selector"] = [
        {
            "type": "TextQuoteSelector",
            "exact": citation.quote,
            "prefix": before[-_CONTEXT:],
            "suffix": after[:_CONTEXT],
        },
        {"type": "TextPositionSelector", "start": span.start, "end": span.end},
    ]
    return target


def _around(citation: Citation, hits: Sequence[Hit]) -> tuple[str, int]:
    """Return the text around a quote, of its passage or else of its sentence, and where it begins."""
    sentence = citation.sentence_span
    passages = (one.passage for hit in hits for one in (hit, *hit.also) if one.path == citation.path)
    wide = (one for one in passages if one.span.start <= sentence.start and sentence.end <= one.span.end)
    found = next(wide, None)
    return (found.text, found.span.start) if found else (citation.sentence, sentence.start)


def file_iri(path: str) -> str:
    """Return the `file:` IRI of a document; the name of a record in its file is the fragment."""
    file = file_of(path)
    iri = Path(file).absolute().as_uri()
    return f"{iri}#{quote(os.fsencode(path[len(file) + 1 :]))}" if len(path) > len(file) else iri


def path_of_iri(iri: str) -> str:
    """Return the path that `file_iri` was given, but absolute; empty if `iri` is none of a file here.

    >>> path_of_iri("file:///notes/all.jsonl#caf%C3%A9"), path_of_iri("https://example.org/a.txt")
    ('/notes/all.jsonl#café', '')
    """
    try:
        parts = urlsplit(iri)
        if parts.scheme != "file" or parts.netloc not in ("", "localhost"):
            return ""
        path = os.fsdecode(unquote_to_bytes(parts.path))
        return f"{path}#{os.fsdecode(unquote_to_bytes(parts.fragment))}" if parts.fragment else path
    except ValueError:
        return ""


def _name(*parts: str) -> str:
    """Return an IRI that is the same for the same parts."""
    return uuid.uuid5(uuid.NAMESPACE_URL, "\n".join(parts).encode("utf-8", "replace").decode()).urn
