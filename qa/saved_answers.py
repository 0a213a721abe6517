"""A file of saved answers -> the citations in it, whatever else is in it.

Read are what `ask --json` prints (one object, or a `.jsonl` file with one on a line) and Web Annotations. What is no
citation is passed on with the reason; nothing is lost, and nothing in the file is trusted.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from typing import Any

from pincite.index import SourceError
from pincite.index.lines import lines_of
from pincite.index.opening import open_regular, reason_for
from pincite.qa.annotations import path_of_iri
from pincite.qa.question_lines import parse_object

__all__ = ["Saved", "read_saved"]

LARGEST = 32 << 20
"""Bytes of a `.json` file, or of a line of a `.jsonl` file; in memory, JSON made to harm takes 25 times its size."""

_LONGEST_PATH = 4_096


@dataclass(frozen=True, slots=True)
class Saved:
    """A citation as it was saved at a `place`, `file` or `file:line`.

    `path` is its document's, as it was opened then; `start` and `end` are characters of the document's text. `before`
    and `after` stood around the quote, as far as that was saved. With a `problem` it cannot be checked.
    """

    place: str
    path: str = ""
    start: int = 0
    end: int = 0
    quote: str = ""
    before: str = ""
    after: str = ""
    problem: str = ""


def read_saved(path: str) -> Iterator[Saved]:
    """Yield the citations in a file, in order, those in `also` after the one that they are copies of.

    Raises:
        SourceError: it cannot be read, or does not begin with an answer.
    """
    place, has_answer = path, False
    try:
        with BufferedReader(open_regular(os.path.realpath(path)), 1 << 20) as file:
            for place, data in _pieces(path, file):
                try:
                    found, has_answer = list(_citations(parse_object(data), place)), True
                except ValueError as error:
                    if not has_answer:
                        raise
                    found = [Saved(place, problem=str(error))]
                yield from found
        if not has_answer:
            raise ValueError("it is empty")
    except (OSError, ValueError) as error:
        reason = reason_for(error) if isinstance(error, OSError) else str(error)
        raise SourceError(f"Cannot read {place}: {reason}. Name a file that ask --format json has written.") from error


def _pieces(path: str, file: BufferedReader[Any]) -> Iterator[tuple[str, bytes | None]]:
    if path.lower().endswith(".jsonl"):
        lines = enumerate(lines_of(file, LARGEST), 1)
        yield from ((f"{path}:{number}", line) for number, (line, _) in lines if line is None or line.strip())
    else:
        data = file.read(LARGEST + 1)
        yield path, None if len(data) > LARGEST else data


def _citations(body: dict[str, Any], place: str) -> Iterator[Saved]:
    if "citations" in body:
        for answer in (body, *_objects(body.get("alternatives", []))):
            for citation in _objects(answer.get("citations", [])):
                yield from (_of_citation(one, place) for one in (citation, *_objects(citation.get("also", []))))
    elif body.get("type") in ("Annotation", "AnnotationPage", "AnnotationCollection"):
        page = body.get("first", {"items": []}) if body["type"] == "AnnotationCollection" else body
        items = page.get("items", [page]) if isinstance(page, dict) else page
        yield from (_of_target(one, place) for item in _objects(items) for one in _objects(item.get("target")))
    elif not {"question", "error"} <= body.keys():  # of a batch: it was not answered
        raise ValueError("neither an answer nor an annotation")


def _of_citation(item: dict[str, Any], place: str) -> Saved:
    try:
        start = item["start"] - item["sentence_start"]
        before, after = item["sentence"][:start], item["sentence"][start + len(item["quote"]) :]
    except (KeyError, TypeError):
        before = after = ""
    return _saved(place, item.get("path"), item.get("quote"), item.get("start"), item.get("end"), before, after)


def _of_target(target: dict[str, Any], place: str) -> Saved:
    iris = [target.get("source"), *(state.get("cached") for state in _objects(target.get("state")))]
    path = next((path for iri in iris if isinstance(iri, str) and (path := path_of_iri(iri))), None)
    kinds = {str(selector.get("type")): selector for selector in _objects(target.get("selector"))}
    quote, position = (kinds.get(f"Text{kind}Selector", {}) for kind in ("Quote", "Position"))
    around = (quote.get(side, "") for side in ("prefix", "suffix"))
    return _saved(place, path, quote.get("exact"), position.get("start"), position.get("end"), *around)


def _saved(place: str, path: Any, quote: Any, start: Any, end: Any, before: Any, after: Any) -> Saved:
    is_sound = (
        all(isinstance(text, str) for text in (path, quote, before, after))
        and 0 < len(path) <= _LONGEST_PATH
        and "\0" not in path
        and type(start) is type(end) is int
        and 0 <= start < end == start + len(quote)
        and quote.strip()
    )
    if not is_sound:
        return Saved(place, problem="no citation: it needs a path, and a quote with its start and end")
    return Saved(place, path, start, end, quote, before, after)


def _objects(items: Any) -> list[dict[str, Any]]:
    """Return the objects of a list, or the one that stands for it; an empty one for what is none."""
    return [item if isinstance(item, dict) else {} for item in (items if isinstance(items, list) else [items])]
