"""PDF bytes on standard input -> the lines of their pages on standard output, as JSON: a program of its own.

It runs apart from all other modules, because pdfium is C++ and a crafted file may crash it, or keep it busy for ever:
`python -I -S pdf_worker.py MEMORY SECONDS FOLDER...` may use `MEMORY` bytes and `SECONDS` a page, and imports pypdfium2
from the folders. A request is a line of JSON, `{"size": bytes, "first": page}`, and the bytes of the file. The answers
are lines of JSON: one with "pages", "language" and the document information, or with "error", pdfium's number of it;
one a page from the 0-based page `first` on, `{"page": n, "lines": [...], "unmapped": share of the characters without
meaning, "drawn": whether a page of few words shows something else}`; and `{"end": true}`.

A line of text is `[baseline, size, flags, text, left, right, text, left, right ...]`: pieces with wide gaps between
them. All lengths are in points; a page that is turned, or text that runs upwards, is measured as if it were upright.
"""

from __future__ import annotations

import ctypes
import json
import math
import os
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["ARTIFACT", "HYPHEN", "NO_MEMORY", "TURN", "main"]

HYPHEN, ARTIFACT = 1, 2
"""Flags of a line: it ends in a hyphen, which its text leaves out; it is no content, as a running head that says so."""
TURN = 4
"""What each quarter turn adds to the flags of text that is not upright."""
NO_MEMORY = 3
"""Exit status when there is no memory left."""

_INFORMATION = ("Title", "Author", "Subject", "Keywords", "CreationDate", "ModDate")
_WIDE_GAP = 1.5  # in sizes of the type; justified lines have narrower ones, but for the very worst
_ACCENTS = {  # that are set on their own, before the letter below them; with their combining forms
    0x60: 0x300, 0xB4: 0x301, 0x2C6: 0x302, 0x5E: 0x302, 0x2DC: 0x303, 0x7E: 0x303, 0xAF: 0x304, 0x2D8: 0x306,
    0x2D9: 0x307, 0xA8: 0x308, 0x2DA: 0x30A, 0x2DD: 0x30B, 0x2C7: 0x30C, 0xB8: 0x327, 0x2DB: 0x328,
}  # fmt: skip
_DOTLESS = {0x131: 0x69, 0x237: 0x6A}
_LARGEST_TYPE = 10_000.0  # points
_MOST_CHARACTERS = 2_000_000  # of a page; a page of a newspaper has 50,000
_LONGEST_VALUE = 4096  # bytes, of the document information
_FEW = 60  # entries of lines: of a page with as many, it does not matter whether it is a scan, too
_MOST_LINES = 50  # drawn on an empty page: frames and rules
_SAMPLES = 64  # characters of a page that are asked whether their font says what they are

Line = list[Any]  # Any: numbers and texts


def main() -> None:
    """Answer requests until standard input ends."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what C++ prints is no answer
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal interrupts all its processes; whoever asked, decides
    sys.path.extend(sys.argv[3:])
    from pypdfium2 import raw  # type: ignore[import-untyped, unused-ignore]  # has no type information

    _limit(int(sys.argv[1]))
    alarm = _alarm(float(sys.argv[2]))
    try:
        while request := sys.stdin.buffer.readline():
            asked = json.loads(request)
            for answer in _answers(raw, sys.stdin.buffer.read(asked["size"]), asked["first"], alarm):
                answers.write(json.dumps(answer).encode() + b"\n")
                answers.flush()  # the next page may be the last of this process
    except MemoryError:
        os._exit(NO_MEMORY)


def _limit(memory: int) -> None:
    """Let no file cost more, and let nothing be written."""
    try:
        import resource
    except ImportError:  # Windows
        return
    for name, most in (("RLIMIT_AS", memory), ("RLIMIT_CORE", 0), ("RLIMIT_FSIZE", 0)):
        try:
            resource.setrlimit(getattr(resource, name), (most, most))
        except (ValueError, OSError):  # macOS has no limit on memory
            continue


def _alarm(seconds: float) -> Callable[[bool], None]:
    """Return what starts a clock that ends this process, and stops it; pdfium cannot be interrupted otherwise."""
    if not hasattr(signal, "setitimer"):
        return lambda on: None
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])

    def switch(on: bool) -> None:
        signal.setitimer(signal.ITIMER_REAL, seconds if on else 0)

    return switch


def _answers(raw: Any, data: bytes, first: int, alarm: Callable[[bool], None]) -> Iterator[dict[str, Any]]:
    alarm(True)
    document = raw.FPDF_LoadMemDocument64(data, len(data), None)
    if not document:
        alarm(False)
        yield {"error": raw.FPDF_GetLastError()}
        return
    try:
        count = raw.FPDF_GetPageCount(document)
        answer = {key: _value(raw.FPDF_GetMetaText, document, key.encode()) for key in _INFORMATION}
        language = getattr(raw, "FPDFCatalog_GetLanguage", None)  # since pypdfium2 5.5
        answer |= {"pages": count, "language": _value(language, document) if language else ""}
        alarm(False)
        yield answer
        for number in range(first, count):
            alarm(True)
            page = _page(raw, document, number)
            alarm(False)
            yield {"page": number} | page
    finally:
        raw.FPDF_CloseDocument(document)
    yield {"end": True}


def _value(function: Callable[..., int], *arguments: object) -> str:
    """Return what a function of pdfium writes into a buffer as UTF-16."""
    buffer = (ctypes.c_uint16 * (_LONGEST_VALUE // 2))()
    size = function(*arguments, buffer, _LONGEST_VALUE)  # nothing is written if it would not fit
    return bytes(buffer)[:size].decode("utf-16-le", "replace").rstrip("\0") if size <= _LONGEST_VALUE else ""


def _page(raw: Any, document: Any, number: int) -> dict[str, Any]:
    """Return the answer to a page: its lines, None if it is damaged, and what kind of page it is."""
    page = raw.FPDF_LoadPage(document, number)
    text = raw.FPDFText_LoadPage(page) if page else None
    try:
        if not text:
            return {"lines": None, "unmapped": 0, "drawn": False}
        turn = _PageText(raw, page, text).most_turn()
        if turn != raw.FPDFPage_GetRotation(page):  # pdfium parts lines as the page is shown
            raw.FPDFPage_SetRotation(page, turn)
            raw.FPDFText_ClosePage(text)
            text = raw.FPDFText_LoadPage(page)
        lines, unmapped = _PageText(raw, page, text).lines()
        few = sum(map(len, lines)) < _FEW
        return {"lines": lines, "unmapped": unmapped, "drawn": few and _is_drawn(raw, page)}
    finally:
        if text:
            raw.FPDFText_ClosePage(text)
        if page:
            raw.FPDF_ClosePage(page)


def _is_drawn(raw: Any, page: Any) -> bool:
    """Return whether a page has an image, or so many lines that they may show letters."""
    count = raw.FPDFPage_CountObjects(page)
    some = (raw.FPDFPage_GetObject(page, n) for n in range(min(count, _MOST_LINES)))
    kinds = {raw.FPDFPageObj_GetType(thing) for thing in some}
    return count > _MOST_LINES or bool(
        kinds & {raw.FPDF_PAGEOBJ_IMAGE, raw.FPDF_PAGEOBJ_FORM, raw.FPDF_PAGEOBJ_SHADING}
    )


class _PageText:
    """The characters of one page, in the order of pdfium, which is that of the file, with spaces put in between."""

    def __init__(self, raw: Any, page: Any, text: Any) -> None:
        self._raw, self._text = raw, text
        self._turned = raw.FPDFPage_GetRotation(page)
        self._box = raw.FS_RECTF()
        self._matrix = raw.FS_MATRIX()
        self._x, self._y = ctypes.c_double(), ctypes.c_double()

        self._count = min(raw.FPDFText_CountChars(text), _MOST_CHARACTERS)
        self._samples = range(0, self._count, max(1, self._count // _SAMPLES))

    def most_turn(self) -> int:
        """Return in which direction most of the text runs, in quarter turns; that of the page if there is no text."""
        turns = [self._turn(n) for n in self._samples if self._raw.FPDFText_IsGenerated(self._text, n) != 1]
        return max(sorted(set(turns)), key=turns.count, default=self._turned)

    def lines(self) -> tuple[list[Line], float]:
        """Return the lines of the page, and which share of its characters has no meaning."""
        raw, text = self._raw, self._text
        codes = [raw.FPDFText_GetUnicode(text, n) for n in range(self._count)]
        unmapped = sum(raw.FPDFText_HasUnicodeMapError(text, n) == 1 for n in self._samples)
        for n in [n for n, code in enumerate(codes[:-1]) if code in _ACCENTS]:
            self._put_on(n, codes)
        lines: list[Line] = []
        start = 0
        for n, code in enumerate(codes):
            hyphen = code in (2, 0xFFFE, 0xAD) and self._ends_line(n, codes)
            if hyphen or code in (10, 13):
                self._add(lines, codes, start, n, hyphen)
                start = n + 1
        self._add(lines, codes, start, self._count, False)
        return lines, round(unmapped / max(1, len(self._samples)), 2)

    def _put_on(self, n: int, codes: list[int]) -> None:
        """Put an accent on the letter behind it, if it stands over that letter: TeX sets é as an accent and an e."""
        turn = self._turn(n)
        (left, right), (begin, end) = self._extent(n, turn), self._extent(n + 1, turn)
        if begin < (left + right) / 2 < end:
            codes[n], codes[n + 1] = _DOTLESS.get(codes[n + 1], codes[n + 1]), _ACCENTS[codes[n]]

    def _ends_line(self, n: int, codes: list[int]) -> bool:
        """Return whether a hyphen is the last of its line: pdfium leaves out the line end behind it."""
        if n + 1 >= len(codes) or codes[n + 1] in (10, 13) or not n:
            return True
        turn = self._turn(n - 1)
        size = self._size(n - 1)
        return abs(self._origin(n - 1, turn)[1] - self._origin(n + 1, turn)[1]) > 0.4 * size

    def _add(self, lines: list[Line], codes: list[int], start: int, end: int, hyphen: bool) -> None:
        """Add the line of the characters from `start` to `end`, if it has any."""
        words = list(self._words(codes, start, end))
        if not words:
            return
        first, last = words[0][0], words[-1][1]
        turn = self._turn(first)
        places = {first + (last - 1 - first) * n // 5 for n in range(6)}
        sizes = sorted(self._size(n) for n in places if codes[n] > 32)
        size = sizes[-2] if len(sizes) > 2 else sizes[-1]  # neither of an index nor of a drop cap
        flags = (HYPHEN if hyphen else 0) | (ARTIFACT if self._is_artifact(first) else 0)
        baseline = self._origin(first, turn)[1]
        line: Line = [round(baseline, 1), round(size, 1), flags + TURN * ((turn - self._turned) % 4)]
        piece: list[str] = []
        left = right = 0.0
        for begin, stop in words:
            word = "".join(map(chr, codes[begin:stop]))
            near, _ = self._extent(begin, turn)
            if piece and near - right > _WIDE_GAP * size:
                line += [" ".join(piece), round(left, 1), round(right, 1)]
                piece = []
            left = left if piece else near
            right = self._extent(stop - 1, turn)[1]
            piece.append(word)
        line += [" ".join(piece), round(left, 1), round(right, 1)]
        lines.append(line)

    def _words(self, codes: list[int], start: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield where words begin and end."""
        begin = -1
        for n in range(start, end):
            code = codes[n]
            if code <= 32 or code == 0xA0 or 0x2000 <= code <= 0x200B or code == 0x3000 or 0xD800 <= code < 0xE000:
                if begin >= 0:
                    yield begin, n
                begin = -1
            elif begin < 0:
                begin = n
        if begin >= 0:
            yield begin, end

    def _size(self, n: int) -> float:
        """Return the size of the type; many files state 1 and enlarge it."""
        self._raw.FPDFText_GetMatrix(self._text, n, self._matrix)
        scale = math.hypot(self._matrix.c, self._matrix.d)
        size = abs(self._raw.FPDFText_GetFontSize(self._text, n) * scale)
        return min(size, _LARGEST_TYPE) if math.isfinite(size) else 0.0

    def _turn(self, n: int) -> int:
        """Return in which direction the text runs, in quarter turns to the left."""
        angle = self._raw.FPDFText_GetCharAngle(self._text, n)  # to the right; negative if it fails
        return -round(angle / (math.pi / 2)) % 4 if math.isfinite(angle) and angle >= 0 else 0

    def _origin(self, n: int, turn: int) -> tuple[float, float]:
        """Return the place of a character along its line, and the height of the line."""
        self._raw.FPDFText_GetCharOrigin(self._text, n, self._x, self._y)
        return _upright(self._x.value, self._y.value, turn)

    def _extent(self, n: int, turn: int) -> tuple[float, float]:
        """Return where along its line a character begins and ends."""
        box = self._box
        if not self._raw.FPDFText_GetLooseCharBox(self._text, n, box):
            place = self._origin(n, turn)[0]
            return place, place
        one, other = _upright(box.left, box.bottom, turn)[0], _upright(box.right, box.top, turn)[0]
        return min(one, other), max(one, other)

    def _is_artifact(self, n: int) -> bool:
        """Return whether a character is marked as no content: what tagged files do with running heads."""
        thing = self._raw.FPDFText_GetTextObject(self._text, n)
        if not thing:
            return False
        for number in range(min(self._raw.FPDFPageObj_CountMarks(thing), 16)):
            mark = self._raw.FPDFPageObj_GetMark(thing, number)
            buffer = (ctypes.c_uint16 * 16)()
            size = ctypes.c_ulong()
            if self._raw.FPDFPageObjMark_GetName(mark, buffer, 32, size) and bytes(buffer)[:16:2] == b"Artifact":
                return True
        return False


def _upright(x: float, y: float, turn: int) -> tuple[float, float]:
    if not (math.isfinite(x) and math.isfinite(y)):
        return 0.0, 0.0
    return ((x, y), (y, -x), (-x, -y), (-y, x))[turn]


if __name__ == "__main__":
    main()
