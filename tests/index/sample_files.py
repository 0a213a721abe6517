"""The sample documents: their bytes, variants of them, and a citation from one that was indexed."""

from __future__ import annotations

import io
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random

from pincite.index import Index, Span, examine
from pincite.index.sentences import split_sentences
from pincite.qa.citations import Citation, cite
from tests.conftest import HashingEmbedder

SAMPLES = Path(__file__).parent.parent / "samples"


def sample(name: str) -> bytes:
    return (SAMPLES / name).read_bytes()


def spoiled(content: bytes, chance: Random, junk: Sequence[bytes], longest: int = 30) -> bytes:
    """Return `content` with something else in a few of its places."""
    changed = bytearray(content)
    for _ in range(chance.choice([1, 3])):
        place = chance.randrange(len(changed))
        changed[place : place + chance.choice([0, 1, longest])] = chance.choice(junk)
    return bytes(changed)


def zipped(members: Mapping[str, str | bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return a zip archive of `members`."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def members_of(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def repacked(data: bytes, changes: Mapping[str, str | bytes | None]) -> bytes:
    """Return a zip archive with some members exchanged, added, or left out where `changes` has None."""
    members = members_of(data) | dict(changes)
    return zipped({name: content for name, content in members.items() if content is not None})


def encrypted(data: bytes) -> bytes:
    """Return a zip archive whose entries say that they are encrypted, as those made with a password do."""
    changed = bytearray(data)
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = changed.find(signature)
        while place >= 0:
            changed[place + flags] |= 1
            place = changed.find(signature, place + 4)
    return bytes(changed)


def citation(folder: Path, embedder: HashingEmbedder, name: str, quote: str) -> Citation:
    """Return the citation of the only `quote` in a sample that lies among others in an indexed folder."""
    sources = folder / "sources"
    sources.mkdir()
    for other in {name, "docx-pandoc.docx", "srt-talk.srt"}:
        shutil.copy(SAMPLES / other, sources)
    index = Index.sync(folder / ".pincite", [sources], embedder=embedder)
    assert index.report is not None and index.report.skipped == ()
    (document,) = (document for document in index.documents() if document.path.endswith(f"/{name}"))
    assert document.text.count(quote) == 1
    for passage in index.passages_of(document.id):
        assert passage.span.of(document.text) == passage.text
    start = document.text.index(quote)
    span = Span(start, start + len(quote))
    (sentence,) = (one for one in split_sentences(document.text) if one.start <= start < one.end)
    return cite(document, span, sentence, 0.5, examine(document, str(sources / name)))
