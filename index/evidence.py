"""Document -> Evidence: what its file says now, to be held against what was indexed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from hashlib import sha256
from io import BufferedReader

from pincite.index.passage import Document
from pincite.index.sources import decode, open_regular
from pincite.index.walk import reason_for

__all__ = ["Evidence", "examine"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a document's file says now.

    `problem` is empty if the file is as indexed. `line` is where the document begins in it. `raw` is the line of a
    `.jsonl` record, as it stands in the file.
    """

    text: str
    line: int
    problem: str = ""
    raw: str = ""


def examine(document: Document, location: str) -> Evidence:
    """Read the file of a document again and return what it says now.

    Args:
        document: as indexed.
        location: absolute path of its file.
    """
    location = os.path.realpath(location)  # it may be a link, followed when it was indexed
    try:
        if document.record:
            return _examine_record(document, location)
        with open_regular(location) as file:
            data = file.read()
    except FileNotFoundError:
        return Evidence(document.text, document.line, "the file is no longer there")
    except OSError as error:
        return Evidence(document.text, document.line, f"the file cannot be read: {reason_for(error)}")
    if sha256(data).hexdigest() != document.sha256:
        return Evidence(document.text, document.line, "the file has changed since it was indexed")
    text = decode(data, document.encoding)[0] if document.encoding else document.text
    return Evidence(text, document.line)


def _examine_record(document: Document, location: str) -> Evidence:
    with BufferedReader(open_regular(location), 1 << 16) as file:
        file.seek(document.offset)
        raw = file.readline().rstrip(b"\r\n")
        if sha256(raw).hexdigest() == document.sha256:
            return Evidence(document.text, document.line, raw=raw.decode("utf-8", "replace"))
        file.seek(0)
        for line, found in enumerate(file, 1):
            raw = found.rstrip(b"\r\n")
            if sha256(raw).hexdigest() == document.sha256:
                return Evidence(document.text, line, raw=raw.decode("utf-8", "replace"))
    return Evidence(document.text, document.line, "the record has changed since it was indexed")
