"""A file of saved answers -> the citations in it, whatever else is in it.

Read are what `ask --json` prints (one object, an array of them, or a `.jsonl` file with one on a line) and Web
Annotations. What is no citation is passed on with the reason; nothing is lost, and nothing in the file is trusted.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from itertools import chain
from typing import Any

from pincite.index import SourceError
from pincite.index.lines import lines_of
from pincite.index.opening import open_regular, reason_for
from pincite.qa.annotations import path_of_iri

__all__ = ["Saved", "read_saved"]

LARGEST = 32 << 20
"""Bytes of a `.json` file, or of a line of a `.jsonl` file; in memory, JSON made to harm takes 25 times its size."""

_MOST_ALIEN = 1_000  # lines that hold no answer, after which a file without any is taken for another kind of file
_LONGEST_PATH = 4_096
_ALIEN = "neither an answer nor an annotation"


@dataclass(frozen=True, slots=True)
class Saved:
    """A citation as it was saved.

    Attributes:
        place: where it was saved, as `file` or `file:line`.
        path: of its document, as it was opened then.
        start, end: characters of the quote in the document's text.
        quote: the exact text; `before` and `after` are what stood around it, as far as that was saved.
        problem: why it cannot be checked; all but `place` is empty then.
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
        SourceError: it cannot be read, or holds no answers at all.
    """
    try:
        with BufferedReader(open_regular(os.path.realpath(path)), 1 << 20) as file:
            if path.lower().endswith((".jsonl", ".ndjson")):
                yield from _of_lines(path, file)
            else:
                yield from _of_all(path, file.read(LARGEST + 1))
    except (OSError, ValueError) as error:
        reason = reason_for(error) if isinstance(error, OSError) else str(error)
        raise SourceError(f"Cannot read {path}: {reason}. Name a file that ask --format json has written.") from error


def _of_all(path: str, data: bytes) -> Iterator[Saved]:
    if len(data) > LARGEST:
        raise ValueError(f"it is larger than {LARGEST >> 20} MiB, which only .jsonl files may be")
    body = _parsed(data)
    answers = body if isinstance(body, list) else [body]
    found = [_of_answer(answer, path) for answer in answers]
    if all(citations is None for citations in found):
        raise ValueError("it holds no answers")
    for citations in found:
        yield from [Saved(path, problem=_ALIEN)] if citations is None else citations


def _of_lines(path: str, file: BufferedReader[Any]) -> Iterator[Saved]:
    answers = aliens = 0
    for number, (line, _) in enumerate(lines_of(file, LARGEST), 1):
        if line is not None and not line.strip():
            continue
        place = f"{path}:{number}"
        try:
            if line is None:
                raise ValueError(f"the line is longer than {LARGEST >> 20} MiB")
            if (found := _of_answer(_parsed(line), place)) is None:
                raise ValueError(_ALIEN)
            answers += 1
        except ValueError as error:
            aliens += 1
            found = [Saved(place, problem=str(error))]
        if not answers and aliens > _MOST_ALIEN:
            raise ValueError(f"none of its first {_MOST_ALIEN:,} lines is an answer")
        yield from found
    if not answers and not aliens:
        raise ValueError("it holds no answers")


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ValueError("not UTF-8") from error
    except RecursionError as error:
        raise ValueError("JSON nested too deeply") from error
    except ValueError as error:  # also of a number with thousands of digits
        raise ValueError("not JSON") from error


def _of_answer(body: Any, place: str) -> list[Saved] | None:
    """Return the citations of an answer or of annotations; None if `body` is neither."""
    if not isinstance(body, dict):
        return None
    if isinstance(body.get("citations"), list):
        others = [other.get("citations") for other in _objects(body.get("alternatives"))]
        lists = [body["citations"], *(other for other in others if isinstance(other, list))]
        return [saved for item in chain(*lists) for saved in _of_citation(item, place)]
    if "question" in body and isinstance(body.get("error"), str):  # of a batch: it was not answered
        return []
    page = body.get("first") if body.get("type") == "AnnotationCollection" else body
    if isinstance(page, dict) and isinstance(page.get("items"), list):
        return [saved for item in page["items"] for saved in _of_annotation(item, place)]
    is_empty = body.get("type") == "AnnotationCollection" and page is None
    return list(_of_annotation(body, place)) if body.get("type") == "Annotation" else [] if is_empty else None


def _of_citation(item: Any, place: str) -> Iterator[Saved]:
    copies = item.get("also") if isinstance(item, dict) else None
    for one in [item, *(copies if isinstance(copies, list) else [])]:
        if not isinstance(one, dict):
            yield Saved(place, problem="a citation that is no object")
            continue
        start, end, quote = one.get("start"), one.get("end"), one.get("quote")
        before, after = _around(one.get("sentence"), one.get("sentence_start"), start, quote)
        yield _saved(place, one.get("path"), start, end, quote, before, after)


def _around(sentence: Any, first: Any, start: Any, quote: Any) -> tuple[str, str]:
    """Return what stands in a sentence before and after a quote, both empty if the quote is not there."""
    if not isinstance(sentence, str) or not isinstance(quote, str) or type(first) is not int or type(start) is not int:
        return "", ""
    at = start - first
    return (sentence[:at], sentence[at + len(quote) :]) if at >= 0 and sentence.startswith(quote, at) else ("", "")


def _of_annotation(item: Any, place: str) -> Iterator[Saved]:
    target = item.get("target") if isinstance(item, dict) else None
    for one in target if isinstance(target, list) else [target]:
        one = one if isinstance(one, dict) else {}
        source, state = one.get("source"), one.get("state")
        iris = [source.get("id") if isinstance(source, dict) else source]
        iris += [each.get("cached") for each in _objects(state if isinstance(state, list) else [state])]
        path = next((path for iri in iris if isinstance(iri, str) and (path := path_of_iri(iri))), None)
        selectors = one.get("selector")
        kinds = {}
        for selector in _objects(selectors if isinstance(selectors, list) else [selectors]):
            kinds[str(selector.get("type"))] = selector
        quote, position = (kinds.get(f"Text{kind}Selector", {}) for kind in ("Quote", "Position"))
        sides = [quote.get(side) for side in ("prefix", "suffix")]
        before, after = (side if isinstance(side, str) else "" for side in sides)
        yield _saved(place, path, position.get("start"), position.get("end"), quote.get("exact"), before, after)


def _saved(place: str, path: Any, start: Any, end: Any, quote: Any, before: str, after: str) -> Saved:
    if not isinstance(path, str) or not path or "\0" in path or len(path) > _LONGEST_PATH:
        return Saved(place, problem="it names no file")
    if not isinstance(quote, str) or not quote.strip():
        return Saved(place, problem="it has no quote")
    if type(start) is not int or type(end) is not int or not 0 <= start < end or end - start != len(quote):
        return Saved(place, problem="its start and end are not those of its quote")
    return Saved(place, path, start, end, quote, before, after)


def _objects(items: Any) -> list[dict[str, Any]]:
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
