"""Citation -> links: to its words on the web page that its document names, and to the line of its file.

Addresses come out of the sources, so only what is plainly http or https becomes a link. The words are named by a text
fragment (WICG, "URL Fragment Text Directives"): `#:~:text=prefix-,start,end,-suffix`, each part percent-encoded.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import quote, urlsplit

from pincite.qa.citations import Citation

__all__ = ["file_link", "file_of", "web_address", "web_link"]

_LONGEST_EXACT = 300  # characters; of a longer quote the link names how it begins and ends, as browsers' own links do
_WORDS = 5  # of its beginning, and of its end
_CONTEXT = 32  # characters before and after it


def web_link(citation: Citation) -> str:
    """Return a link to the quote on the document's web page; empty if the document names none."""
    address = web_address(citation.url)
    words, lines = citation.quote.split(), citation.quote.strip().splitlines()
    if not address or not words:
        return address
    first = citation.sentence_span.start
    before = _last_words(citation.sentence[: citation.span.start - first])
    after = _last_words(citation.sentence[citation.span.end - first :][::-1])[::-1]
    named = [words]
    # Words that are looked for as one must stand in one paragraph.
    if len(lines) > 1 or (len(citation.quote) > _LONGEST_EXACT and len(words) >= 2 * _WORDS):
        named = [lines[0].split()[:_WORDS], lines[-1].split()[-_WORDS:]]
    parts = [f"{_encoded(before)}-"] if before else []
    parts += [_encoded(" ".join(part)) for part in named]
    parts += [f"-{_encoded(after)}"] if after else []
    page = address.partition(":~:")[0]
    return f"{page}{'' if '#' in page else '#'}:~:text={','.join(parts)}"


def web_address(url: str) -> str:
    """Return an address of the web, safe to stand in a link; empty if `url` is none.

    >>> web_address("https://example.org/a b"), web_address("javascript:alert(1)")
    ('', '')
    >>> web_address("HTTPS://example.org/café?q=1#top")
    'HTTPS://example.org/caf%C3%A9?q=1#top'
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    is_web = parts.scheme in ("http", "https") and parts.hostname and not re.search(r"\s", url)
    return quote(url, safe="%!#$&'()*+,/:;=?@[]~", errors="replace") if is_web else ""


def file_link(path: str, line: int) -> str:
    """Return a link to a line of a file: relative if `path` is, a `file:` URI otherwise.

    >>> file_link("notes/light house.txt", 3), file_link("/notes/a.txt", 1)
    ('notes/light%20house.txt#L3', 'file:///notes/a.txt#L1')
    """
    file = file_of(path)
    name = Path(file).as_uri() if os.path.isabs(file) else quote(os.fsencode(file), safe="/")
    return f"{name}#L{line}"


def file_of(path: str) -> str:
    """Return the file of a document: `path` itself, or what comes before the `#` of a record in it."""
    ends = [*(place for place, character in enumerate(path) if character == "#" and place), len(path)]
    there = (path[:end] for end in reversed(ends) if os.path.exists(path[:end]))
    return next(there, path[: ends[0]])


def _last_words(text: str) -> str:
    """Return the last whole words of a text, all in one paragraph; empty if there are none."""
    flat = " ".join((text.strip().splitlines() or [""])[-1].split())
    if len(flat) > _CONTEXT:
        flat = flat[-_CONTEXT - 1 :].partition(" ")[2]
    return flat if re.search(r"\w", flat) else ""


def _encoded(text: str) -> str:
    return quote(text, safe="", errors="replace").replace("-", "%2D")
