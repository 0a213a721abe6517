"""Answer or hits -> the text of a format: JSON, Markdown, HTML, CSL-JSON or W3C Web Annotations.

Titles, quotes and addresses come out of the sources. In Markdown and HTML they are text and never markup, on one line
and without control characters; links lead to files, and to http(s) addresses.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

from pincite.index import IndexStats
from pincite.index.dates import iso_date
from pincite.qa.annotations import answer_annotations
from pincite.qa.answers import Answer
from pincite.qa.citations import Citation
from pincite.qa.links import file_link, web_address, web_link
from pincite.qa.render import answer_json, byline, hits_json, printable, sentence_parts, within
from pincite.qa.retriever import Hit

__all__ = ["FORMATS", "HIT_FORMATS", "AnswerFormat", "json_text"]

_NONE = "The articles do not say."
_CSL_TYPES = {"eml": "personal_communication", "mbox": "personal_communication", "epub": "book"}


AnswerFormat = Callable[..., str]
"""What `answer_json` takes -> the text of a format."""


def json_text(body: object) -> str:
    r"""Return JSON on one line; halves of surrogate pairs, which names that are no UTF-8 hold, are escaped.

    >>> json_text({"path": "caf\udce9.txt"})
    '{"path": "caf\\udce9.txt"}'
    """
    text = json.dumps(body, ensure_ascii=False)
    return re.sub("[\ud800-\udfff]", lambda half: f"\\u{ord(half[0]):04x}", text)


def _answer_json(answer: Answer, stats: IndexStats, *, all_answers: bool = False) -> str:
    return json_text(answer_json(answer, stats, all_answers=all_answers))


def _answer_annotations(answer: Answer, stats: IndexStats, *, all_answers: bool = False) -> str:
    return json_text(answer_annotations(answer, all_answers=all_answers))


def _answer_markdown(answer: Answer, stats: IndexStats, *, all_answers: bool = False) -> str:
    blocks = []
    for text, confidence, citations in _findings(answer, all_answers):
        blocks.append(f"**{_in_markdown(text)}** (confidence {confidence:.2f})")
        for number, citation in enumerate(citations, 1):
            place, marked = _place_in_markdown(citation), _marked_in_markdown(citation)
            blocks += [f"> {marked}", place] if number == 1 else [f"{number}. {place}: {marked}"]
    blocks += [_in_markdown(otherwise)] if (otherwise := _otherwise(answer, all_answers)) else []
    return "\n\n".join(blocks or [_NONE])


def _answer_html(answer: Answer, stats: IndexStats, *, all_answers: bool = False) -> str:
    parts = [f"<h1>{escape(printable(answer.question))}</h1>"]
    for text, confidence, citations in _findings(answer, all_answers):
        parts.append(f"<p><strong>{escape(printable(text))}</strong> (confidence {confidence:.2f})</p>")
        parts += map(_in_html, citations)
    note = _NONE if answer.text is None else _otherwise(answer, all_answers)
    return _page(answer.question, [*parts, f"<p>{escape(note)}</p>"] if note else parts)


def _answer_csl(answer: Answer, stats: IndexStats, *, all_answers: bool = False) -> str:
    return _csl([citation for _, _, citations in _findings(answer, all_answers) for citation in citations])


def _findings(answer: Answer, all_answers: bool) -> list[tuple[str, float, Sequence[Citation]]]:
    if answer.text is None:
        return []
    others = answer.alternatives if all_answers else ()
    first = (answer.text, answer.confidence, answer.citations)
    return [first, *((other.text, other.confidence, other.citations) for other in others)]


def _otherwise(answer: Answer, all_answers: bool) -> str:
    others = () if all_answers else answer.disagreeing
    said = "; ".join(f"{printable(other.text)} ({printable(other.citations[0].path)})" for other in others)
    return said and f"Other sources say otherwise: {said}"


def _hits_json(query: str, hits: Sequence[Hit]) -> str:
    return json_text(hits_json(query, hits))


def _hits_jsonl(query: str, hits: Sequence[Hit]) -> str:
    return "\n".join(json_text({"query": query} | hit) for hit in hits_json(query, hits)["hits"])


def _hits_markdown(query: str, hits: Sequence[Hit]) -> str:
    found = [(_place_in_markdown(one), _marked_in_markdown(one)) for one in map(_cited, hits)]
    return "\n\n".join(f"{rank}. {place}: {text}" for rank, (place, text) in enumerate(found, 1))


def _hits_html(query: str, hits: Sequence[Hit]) -> str:
    return _page(query, [f"<h1>{escape(printable(query))}</h1>", *(_in_html(_cited(hit)) for hit in hits)])


def _hits_csl(query: str, hits: Sequence[Hit]) -> str:
    return _csl([_cited(hit) for hit in hits])


def _cited(hit: Hit) -> Citation:
    """Return a hit as a citation of its whole passage."""
    passage, metadata = hit.passage, hit.metadata
    return Citation(
        path=hit.path,
        title=hit.title,
        span=passage.span,
        line=hit.line,
        column=1,
        end_line=hit.line,
        quote=passage.text,
        sentence=passage.text,
        sentence_span=passage.span,
        score=hit.score,
        verified=True,
        page=int(hit.mark) if hit.unit == "page" and hit.mark.isdecimal() else None,
        unit=hit.unit,
        mark=hit.mark,
        format=hit.format,
        author=metadata.get("author", ""),
        date=metadata.get("date", ""),
        url=metadata.get("url", ""),
        also=tuple(map(_cited, hit.also)),
    )


def _in_markdown(text: str) -> str:
    r"""Return text with all escaped that could be CommonMark, a table, a formula, a mention or an address.

    >>> print(_in_markdown("1. *Carp* [a](b) https://example.org <b>"))
    1\. \*Carp\* \[a\](b) https\://example.org \<b\>
    """
    return _without_bullet(_escaped(printable(text)))


def _escaped(text: str) -> str:
    return re.sub(r"([\\`*_{}\[\]<>#|~&$=^@]|:(?=//)|(?<=www)\.)", r"\\\1", text, flags=re.IGNORECASE)


def _without_bullet(text: str) -> str:
    return re.sub(r"^([0-9]*)([-+.)])", r"\1\\\2", text)


def _marked_in_markdown(citation: Citation) -> str:
    before, quote, after = sentence_parts(citation)
    if not quote or not (before + after).strip():
        return _in_markdown(before + quote + after)
    # Between a letter outside and a punctuation mark inside, asterisks are no marks (CommonMark 0.31, section 6.2).
    is_read = all(
        _is_letter(inner) or not _is_letter(outer) for outer, inner in ((before[-1:], quote[0]), (after[:1], quote[-1]))
    )
    left, right = ("**", "**") if is_read else "«»"
    return _without_bullet(f"{_escaped(before)}{left}{_escaped(quote)}{right}{_escaped(after)}")


def _is_letter(character: str) -> bool:
    """Return whether a character is neither white space nor punctuation, as CommonMark has it."""
    return bool(character) and not character.isspace() and unicodedata.category(character)[0] not in "PS"


def _place_in_markdown(citation: Citation) -> str:
    named, link = _in_markdown(byline(citation.title, citation.author, citation.date)), web_link(citation)
    for character, code in (("&", "&amp;"), ("(", "%28"), (")", "%29")):
        link = link.replace(character, code)
    places = [
        f"[{_in_markdown(f'{one.path}:{one.line}')}]({file_link(one.path, one.line)}){_escaped(_notes(one))}"
        for one in (citation, *citation.also)
    ]
    also = f" (also in {'; '.join(places[1:])})" if places[1:] else ""
    return f"{places[0]} {f'[{named}]({link})' if link else named}{also}"


def _in_html(citation: Citation) -> str:
    before, quote, after = map(escape, sentence_parts(citation))
    named, link = escape(byline(citation.title, citation.author, citation.date)), escape(web_link(citation))
    places = [
        f'<a href="{escape(file_link(one.path, one.line))}">{escape(printable(one.path))}:{one.line}</a>'
        f"{escape(_notes(one))}"
        for one in (citation, *citation.also)
    ]
    source = f'<a href="{link}">{named}</a>' if link else named
    also = f" (also in {'; '.join(places[1:])})" if places[1:] else ""
    marked = f"{before}<mark>{quote}</mark>{after}" if (before + after).strip() else quote
    return (
        f'<figure>\n<blockquote cite="{link or escape(file_link(citation.path, citation.line))}">'
        f"<p>{marked}</p></blockquote>\n"
        f"<figcaption>{places[0]} <cite>{source}</cite>{also}</figcaption>\n</figure>"
    )


def _notes(citation: Citation) -> str:
    """Return what stands behind a place: its page or the like, and why it is not verified."""
    problem = f" (not verified: {printable(citation.problem)})" if citation.problem else ""
    return within(citation.unit, citation.mark) + problem


def _page(title: str, parts: Sequence[str]) -> str:
    head = (
        '<meta charset="utf-8">\n'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'">\n'
        f"<title>{escape(printable(title))}</title>"
    )
    body = "\n".join(parts)
    return f"<!doctype html>\n<html>\n<head>\n{head}\n</head>\n<body>\n<article>\n{body}\n</article>\n</body>\n</html>"


def _csl(citations: Sequence[Citation]) -> str:
    """Return the bibliographic items of the cited documents, as Zotero, pandoc and others read them (csl-data.json)."""
    documents = {citation.path: citation for citation in reversed(citations)}
    return json_text([_csl_item(citation) for citation in reversed(documents.values())])


def _csl_item(citation: Citation) -> dict[str, Any]:
    address = web_address(citation.url)
    kind = _CSL_TYPES.get(citation.format, "webpage" if address else "document")
    item: dict[str, Any] = {"id": citation.path, "type": kind, "title": printable(citation.title)}
    if authors := [name.strip() for name in printable(citation.author).split(";") if name.strip()]:
        item["author"] = [{"literal": name} for name in authors]
    if iso := iso_date(citation.date):
        item["issued"] = {"date-parts": [[int(part) for part in iso.split("-")]]}
    elif citation.date:
        item["issued"] = {"literal": printable(citation.date)}
    if address:
        item["URL"] = address
    if citation.page is not None:
        item["locator"] = str(citation.page)
    return item


FORMATS: Mapping[str, AnswerFormat] = {
    "json": _answer_json,
    "jsonl": _answer_json,  # a line
    "markdown": _answer_markdown,
    "html": _answer_html,
    "csl": _answer_csl,
    "annotations": _answer_annotations,
}
"""By name, as `--format` has it."""

HIT_FORMATS: Mapping[str, Callable[[str, Sequence[Hit]], str]] = {
    "json": _hits_json,
    "jsonl": _hits_jsonl,
    "markdown": _hits_markdown,
    "html": _hits_html,
    "csl": _hits_csl,
}
"""By name, for hits."""
