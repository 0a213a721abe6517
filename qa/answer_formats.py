"""Answer or hits -> the text of a format: JSON, Markdown, HTML, CSL-JSON or W3C Web Annotations.

Titles, quotes and addresses come out of the sources. In Markdown and HTML they are text and never markup, on one line
and without control characters; links lead to files, and to http(s) addresses.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from html import escape
from typing import Any

from pincite.index import IndexStats
from pincite.index.dates import iso_date
from pincite.qa.annotations import answer_annotations
from pincite.qa.answers import Answer
from pincite.qa.citations import Citation
from pincite.qa.links import file_link, web_address, web_link
from pincite.qa.render import byline, printable, sentence_parts, within
from pincite.qa.render_json import answer_json, hits_json
from pincite.qa.retriever import Hit

__all__ = ["FORMATS", "HIT_FORMATS", "json_text"]

_Found = Sequence[tuple[str, Sequence[Citation]]]
"""Each answer in words, empty for hits, and where it stands."""

_Form = Callable[[str, _Found, str], str]
"""Question, what was found, and a note on it, all printable -> text."""

_CSL_TYPES = {"eml": "personal_communication", "mbox": "personal_communication", "epub": "book"}
_PAGE = """<!doctype html>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'">
<title>{title}</title>
<article>
<h1>{title}</h1>
{body}
</article>"""


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


def _answer_as(form: _Form, answer: Answer, stats: IndexStats, *, all_answers: bool = False) -> str:
    given = [(answer.text, answer.confidence, answer.citations)] if answer.text is not None else []
    given += [(one.text, one.confidence, one.citations) for one in answer.alternatives] if all_answers else []
    found = [(printable(f"{text} (confidence {sure:.2f})"), citations) for text, sure, citations in given]
    others = "; ".join(f"{one.text} ({one.citations[0].path})" for one in answer.disagreeing if not all_answers)
    note = f"Other sources say otherwise: {others}" if others else "" if found else "The articles do not say."
    return form(printable(answer.question), found, printable(note))


def _hits_json(query: str, hits: Sequence[Hit]) -> str:
    return json_text(hits_json(query, hits))


def _hits_jsonl(query: str, hits: Sequence[Hit]) -> str:
    return "\n".join(json_text({"query": query} | hit) for hit in hits_json(query, hits)["hits"])


def _hits_as(form: _Form, query: str, hits: Sequence[Hit]) -> str:
    return form(printable(query), [("", [_cited(hit) for hit in hits])], "")


def _cited(hit: Hit) -> Citation:
    """Return a hit as a citation of its whole passage."""
    text, span, told = hit.passage.text, hit.passage.span, hit.metadata.get
    return Citation(
        path=hit.path, title=hit.title, line=hit.line, column=1, end_line=hit.line, score=hit.score, verified=True,
        quote=text, span=span, sentence=text, sentence_span=span, format=hit.format, unit=hit.unit, mark=hit.mark,
        page=int(hit.mark) if hit.unit == "page" and hit.mark.isdecimal() else None,
        author=told("author", ""), date=told("date", ""), url=told("url", ""), also=tuple(map(_cited, hit.also)),
    )  # fmt: skip


def _markdown(question: str, found: _Found, note: str) -> str:
    blocks = []
    for text, citations in found:
        blocks += [f"**{_escaped(text)}**"] if text else []
        for number, one in enumerate(citations, 1):
            # Next to a letter outside, asterisks within which a punctuation mark begins are none (CommonMark, 6.2).
            marks = ("**", "**") if one.quote[:1].isalnum() and one.quote[-1:].isalnum() else ("«", "»")
            blocks.append(f"{number}. {_source(one, _escaped, _link_in_markdown)}: {_marked(one, _escaped, marks)}")
    return "\n\n".join([*blocks, *([_escaped(note)] if note else [])])


def _html(question: str, found: _Found, note: str) -> str:
    parts = []
    for text, citations in found:
        parts += [f"<p><strong>{escape(text)}</strong></p>"] if text else []
        for one in citations:
            quote, source = _marked(one, escape, ("<mark>", "</mark>")), _source(one, escape, _link_in_html)
            link = escape(web_link(one) or file_link(one.path, one.line))
            parts.append(
                f'<figure>\n<blockquote cite="{link}"><p>{quote}</p></blockquote>\n'
                f"<figcaption>{source}</figcaption>\n</figure>"
            )
    parts += [f"<p>{escape(note)}</p>"] if note else []
    return _PAGE.format(title=escape(question), body="\n".join(parts))


def _marked(citation: Citation, escaped: Callable[[str], str], marks: tuple[str, str]) -> str:
    """Return the sentence with a mark on each side of the quote, if that is not all of the sentence."""
    before, quote, after = sentence_parts(citation)
    left, right = marks if (before + after).strip() else ("", "")
    return f"{escaped(before)}{left}{escaped(quote)}{right}{escaped(after)}"


def _source(citation: Citation, escaped: Callable[[str], str], link: Callable[[str, str], str]) -> str:
    """Return the place of a quote, as a link to its file, the document, as one to its web page, and the copies."""
    places = []
    for one in (citation, *citation.also):
        problem = f" (not verified: {printable(one.problem)})" if one.problem else ""
        notes = escaped(within(one.unit, one.mark) + problem)
        places.append(link(printable(f"{one.path}:{one.line}"), file_link(one.path, one.line)) + notes)
    named, page = byline(citation.title, citation.author, citation.date), web_link(citation)
    also = f" (also in {'; '.join(places[1:])})" if places[1:] else ""
    return f"{places[0]} {link(named, page) if page else escaped(named)}{also}"


def _link_in_html(text: str, address: str) -> str:
    return f'<a href="{escape(address)}">{escape(text)}</a>'


def _escaped(text: str) -> str:
    r"""Return text with all escaped that within a line could be CommonMark, a table, formula, mention or address.

    >>> print(_escaped("*Carp* [a](b) https://example.org <b>"))
    \*Carp\* \[a\](b) https\://example.org \<b\>
    """
    return re.sub(r"([\\`*_{}\[\]<>#|~&$=^@]|:(?=//)|(?<=www)\.)", r"\\\1", text, flags=re.IGNORECASE)


def _link_in_markdown(text: str, address: str) -> str:
    for character, code in (("&", "&amp;"), ("(", "%28"), (")", "%29")):
        address = address.replace(character, code)
    return f"[{_escaped(text)}]({address})"


def _csl(question: str, found: _Found, note: str) -> str:
    """Return the bibliographic items of the cited documents, as Zotero, pandoc and others read them (csl-data.json)."""
    cited = [citation for _, citations in found for citation in citations]
    documents = {citation.path: citation for citation in reversed(cited)}
    return json_text([_csl_item(citation) for citation in reversed(documents.values())])


def _csl_item(citation: Citation) -> dict[str, Any]:
    address, date, iso = web_address(citation.url), printable(citation.date), iso_date(citation.date)
    item = {
        "id": citation.path,
        "type": _CSL_TYPES.get(citation.format, "webpage" if address else "document"),
        "title": printable(citation.title),
        "author": [{"literal": name.strip()} for name in printable(citation.author).split(";") if name.strip()],
        "issued": {"date-parts": [list(map(int, iso.split("-")))]} if iso else date and {"literal": date},
        "URL": address,
        "locator": str(citation.page or ""),
    }
    return {key: value for key, value in item.items() if value}


_FORMS: Mapping[str, _Form] = {"markdown": _markdown, "html": _html, "csl": _csl}

FORMATS: Mapping[str, Callable[..., str]] = {
    "json": _answer_json,
    "jsonl": _answer_json,  # a line
    **{name: partial(_answer_as, form) for name, form in _FORMS.items()},
    "annotations": _answer_annotations,
}
"""By name, as `--format` has it: what `answer_json` takes -> text."""

HIT_FORMATS: Mapping[str, Callable[[str, Sequence[Hit]], str]] = {
    "json": _hits_json,
    "jsonl": _hits_jsonl,
    **{name: partial(_hits_as, form) for name, form in _FORMS.items()},
}
"""By name, for hits."""
