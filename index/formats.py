"""File extension -> format: what is read, and by which module, imported when the first such file comes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any, cast

from pincite.index.extracted import Extracted

__all__ = ["EXTENSIONS", "FORMATS", "Format", "extension_of", "format_of"]

_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of file.

    Attributes:
        name: as users see it.
        module: of `pincite.index`, with a function `read_<name>`; empty for plain text.
        largest: bytes of a file that are read into memory; 0 where it is streamed, or read as an archive.
    """

    name: str
    module: str = ""
    largest: int = 32 * _MIB

    @property
    def holds_many(self) -> bool:
        """Whether one file holds several documents."""
        return not self.largest

    def reader(self) -> Callable[[bytes], Extracted]:
        """Return what takes the text out of a file of one document; raises `UnreadableError` when it cannot."""
        return cast("Callable[[bytes], Extracted]", self._function())

    def parts_reader(self) -> Callable[..., Iterator[Any]]:
        """Return what yields each `Part` of a file of many, or a `Skipped`.

        It is called with a stream of bytes, its path and, where not all is read or it is part of another file, a
        `Reading` of members.py.
        """
        return cast("Callable[..., Iterator[Any]]", self._function())

    def _function(self) -> Any:
        return getattr(import_module(f"pincite.index.{self.module}"), f"read_{self.name}")


_TEXT, _MARKDOWN, _RST = Format("text"), Format("markdown"), Format("rst")
_HTML = Format("html", "webpages")
_DOCX = Format("docx", "word", 128 * _MIB)
_TAR = Format("tar", "archives", 0)

FORMATS = {
    ".txt": _TEXT,
    ".text": _TEXT,
    ".md": _MARKDOWN,
    ".markdown": _MARKDOWN,
    ".rst": _RST,
    ".html": _HTML,
    ".htm": _HTML,
    ".xhtml": _HTML,
    ".pdf": Format("pdf", "pdf", 256 * _MIB),
    ".jsonl": Format("jsonl", "records", 0),
    ".csv": Format("csv", "tables", 0),
    ".tsv": Format("tsv", "tables", 0),
    ".eml": Format("eml", "mail", 0),
    ".mbox": Format("mbox", "mail", 0),
    ".zip": Format("zip", "archives", 0),
    ".gz": Format("gz", "archives", 0),
    ".tar": _TAR,
    ".tar.gz": _TAR,
    ".tgz": _TAR,
    ".docx": _DOCX,
    ".docm": _DOCX,
    ".epub": Format("epub", "epub", 256 * _MIB),
    ".ipynb": Format("ipynb", "notebooks"),
    ".srt": Format("srt", "subtitles"),
    ".vtt": Format("vtt", "subtitles"),
}
"""By extension, in lower case and with its dot."""

EXTENSIONS = frozenset(FORMATS)
"""What is read in a folder; a file that is named as a source itself may have any extension, and is text by default."""


def extension_of(name: str) -> str:
    """Return what follows the last dot of a name, in lower case and with the dot, or an empty string.

    >>> extension_of("Harbour.HTM"), extension_of("notes.tar.gz"), extension_of("notes.txt.gz")
    ('.htm', '.tar.gz', '.gz')
    """
    stem, dot, extension = name.rpartition(".")
    if extension.lower() == "gz" and stem.lower().endswith(".tar"):
        return ".tar.gz"
    return dot + extension.lower()


def format_of(name: str) -> Format:
    """Return the format of a file by its name.

    >>> format_of("notes/Harbour.HTM").name, format_of("README").name
    ('html', 'text')
    """
    return FORMATS.get(extension_of(name), _TEXT)
