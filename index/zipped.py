"""Members of documents that are zip archives of XML (DOCX, EPUB), unpacked within bounds.

A document cannot make its reader unpack more than a few hundred megabytes, whatever it says of itself, and its XML
cannot name files, networks or entities that grow.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from typing import Any

from pincite.index.extracted import UnreadableError
from pincite.index.titles import one_line

__all__ = ["ZIP_ERRORS", "Package", "parser_options"]

_MIB = 1 << 20
_MOST_MEMBERS = 20_000
_LARGEST_MEMBER = 128 * _MIB
_LARGEST_TREE = 16 * _MIB  # takes some ten times as much as a tree
_MOST_UNPACKED = 256 * _MIB  # in all
_HIGHEST_RATIO = 200  # XML of a hundred equal table rows packs to a fiftieth; a bomb, to a thousandth
_SMALL = 4 * _MIB  # harmless at any ratio

_ENTRY = b"PK\x01\x02"
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ENCRYPTED_OLE = "EncryptedPackage".encode("utf-16-le")
ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    ValueError,
    IndexError,
    OverflowError,
    NotImplementedError,
    RuntimeError,
)
"""What zipfile raises on archives that are damaged or made to harm."""


class Package:
    """A zip archive in memory; names of members are taken as Office takes them, in upper or lower case."""

    def __init__(self, data: bytes, kind: str) -> None:
        """Open an archive; `kind` is what it should be, for messages: "a Word document".

        Raises:
            UnreadableError: it is no zip archive, or not one of a document.
        """
        self._kind = kind
        self._left = _MOST_UNPACKED
        if data.startswith(_OLE):
            locked = _ENCRYPTED_OLE in data
            raise UnreadableError("encrypted with a password" if locked else f"an old office document, not {kind}")
        if data.count(_ENTRY) > _MOST_MEMBERS:  # zipfile would read all their entries first
            raise UnreadableError(f"more than {_MOST_MEMBERS:,} files in it, as no document has")
        try:
            self._archive = zipfile.ZipFile(io.BytesIO(data))
            self._members = {info.filename.lower().lstrip("/"): info for info in self._archive.infolist()}
        except (*ZIP_ERRORS, OSError) as error:
            cut = data.startswith(b"PK")
            raise UnreadableError("damaged, or cut short" if cut else f"not {kind}: no zip archive") from error

    def __contains__(self, name: str) -> bool:
        return bool(name) and name.lower().lstrip("/") in self._members

    def read(self, name: str, largest: int = _LARGEST_MEMBER) -> bytes:
        """Return the content of a member.

        Raises:
            UnreadableError: it is missing, encrypted or damaged, or unpacks to more than `largest` bytes, or all
                members that were read do to more than a document can sensibly have.
        """
        shown = one_line(name)
        info = self._members.get(name.lower().lstrip("/"))
        if info is None:
            raise UnreadableError(f"not {self._kind}, or damaged: it has no {shown}")
        if info.flag_bits & 1:
            raise UnreadableError("encrypted with a password")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise UnreadableError(f"{shown} in it is compressed in a way that is not allowed there")
        size = info.file_size
        if size > largest:
            raise UnreadableError(f"{shown} in it unpacks to {size / 1e6:,.0f} MB; the limit is {largest >> 20} MiB")
        if size > _SMALL and size > _HIGHEST_RATIO * info.compress_size:
            raise UnreadableError(f"{shown} in it unpacks to over {_HIGHEST_RATIO} times its size, as no document does")
        self._left -= size
        if self._left < 0:
            raise UnreadableError(f"it unpacks to more than {_MOST_UNPACKED >> 20} MiB")
        try:
            with self._archive.open(info) as member:
                return member.read()
        except (*ZIP_ERRORS, OSError) as error:
            raise UnreadableError(f"damaged: {shown} in it cannot be unpacked") from error

    def tree(self, name: str) -> Any:  # an lxml element; lxml is untyped for us
        """Return the root of a member that is XML, as much of it as is well-formed.

        Raises:
            UnreadableError: as `read`, or it is no XML.
        """
        from lxml import etree  # type: ignore[import-untyped, unused-ignore]  # has no type information of its own

        data = self.read(name, _LARGEST_TREE)
        parser = etree.XMLParser(**parser_options(), recover=True, remove_comments=True, remove_pis=True)
        try:
            root = etree.fromstring(data, parser)
        except (etree.LxmlError, ValueError, LookupError):
            root = None
        if root is None:
            raise UnreadableError(f"damaged: {one_line(name)} in it is no XML")
        return root


def parser_options() -> dict[str, bool]:
    """Return what makes an lxml parser safe: no entities resolved, nothing loaded, depth and lengths limited."""
    return {"resolve_entities": False, "no_network": True, "load_dtd": False, "huge_tree": False}
