"""Answer -> W3C Web Annotations, one for each citation: what a reading or annotating tool shows in the source.

An annotation highlights the quote by what it says and where it stands (TextQuoteSelector, TextPositionSelector), in
characters of the document's text; its bodies are the question and the answer. A quote with copies has several targets.
"""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote_to_bytes, urlsplit

from pincite.qa.answers import Answer
from pincite.qa.citations import Citation
from pincite.qa.links import file_of, web_address

__all__ = ["answer_annotations", "file_iri", "path_of_iri"]

_CONTEXT = 32  # characters of prefix and suffix

Json = dict[str, Any]  # Any: what json.dumps takes


def answer_annotations(answer: Answer, *, all_answers: bool = False) -> Json:
    """Return an AnnotationCollection in JSON-LD (Web Annotation Data Model, W3C 2017); an empty one if nothing is said.

    Every `exact` is what the document's text has from `start` to `end`.
    """
    found = [(answer.text or "", answer.citations)]
    found += [(other.text, other.citations) for other in answer.alternatives] if all_answers else []
    items = [_annotation(answer, text, citation) for text, citations in found for citation in citations]
    name = _name(answer.question, *(item["id"] for item in items))
    page = {"id": _name(name), "type": "AnnotationPage", "startIndex": 0, "items": items}
    return {
        "@context": "http://www.w3.org/ns/anno.jsonld",
        "id": name,
        "type": "AnnotationCollection",
        "label": answer.question,
        "total": len(items),
    } | ({"first": page} if items else {})


def _annotation(answer: Answer, text: str, citation: Citation) -> Json:
    targets = [_target(one) for one in (citation, *citation.also)]
    said = {"questioning": answer.question, "replying": text}
    return {
        "id": _name(*said.values(), *map(str, targets)),
        "type": "Annotation",
        "motivation": "highlighting",
        "body": [
            {"type": "TextualBody", "format": "text/plain", "purpose": purpose, "value": value}
            for purpose, value in said.items()
        ],
        "target": targets if len(targets) > 1 else targets[0],
    }


def _target(citation: Citation) -> Json:
    span, page, file = citation.span, web_address(citation.url), file_iri(citation.path)
    start, end = (place - citation.sentence_span.start for place in (span.start, span.end))
    before, after = citation.sentence[:start][-_CONTEXT:], citation.sentence[end:][:_CONTEXT]
    return {
        "type": "SpecificResource",
        "source": page or file,
        **({"state": {"type": "TimeState", "cached": file}} if page else {}),  # the copy of the page that was read
        "selector": [
            {"type": "TextQuoteSelector", "exact": citation.quote, "prefix": before, "suffix": after},
            {"type": "TextPositionSelector", "start": span.start, "end": span.end},
        ],
    }


def file_iri(path: str) -> str:
    """Return the `file:` IRI of a document; the name of a record in its file is the fragment."""
    file = file_of(path)
    iri = Path(os.path.abspath(file)).as_uri()
    return f"{iri}#{quote(os.fsencode(path[len(file) + 1 :]))}" if len(path) > len(file) else iri


def path_of_iri(iri: str) -> str:
    """Return the path that `file_iri` was given, but absolute; empty if `iri` is none of a file here.

    >>> path_of_iri("file:///notes/all.jsonl#caf%C3%A9"), path_of_iri("https://example.org/a.txt")
    ('/notes/all.jsonl#café', '')
    """
    try:
        parts = urlsplit(iri)
    except ValueError:
        return ""
    if parts.scheme != "file" or parts.netloc not in ("", "localhost"):
        return ""
    path, record = (os.fsdecode(unquote_to_bytes(part)) for part in (parts.path, parts.fragment))
    return f"{path}#{record}" if record else path


def _name(*parts: str) -> str:
    """Return an IRI that is the same for the same parts."""
    return uuid.uuid5(uuid.NAMESPACE_URL, "\n".join(parts).encode("utf-8", "replace").decode()).urn
