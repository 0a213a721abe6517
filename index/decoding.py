"""Bytes -> text, and which bytes are no text.

A file's encoding is found once and recorded by name: decoding again under that name, when a citation is checked,
gives the same text. UTF-8 is believed whenever it fits, because text in another encoding hardly ever does.
"""

from __future__ import annotations

import codecs
import re

__all__ = ["binary_reason", "decode", "encoding_of", "length_reason"]

# fmt: off
_CANDIDATES = [
    "cp1252", "cp1250", "cp1251", "koi8_r", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "shift_jis",
    "euc_jp", "gb18030", "big5", "euc_kr", "iso8859_2", "mac_roman", "cp866", "iso8859_5", "iso8859_7",
]
"""What is left when it is not Unicode. charset-normalizer named the encoding of 22 of 25 first 40 characters of
sentences in 15 languages when it chose among these, of 17 among all that it knows (French often became Big5)."""
# fmt: on

_WESTERN = "áàâäãåæçéèêëíîïñóôöøœúùûüßÉÀÄÖÅØÜ’‘“”„«»–—…€£°·¡¿"
_CENTRAL = "áâăąäćčçďđéęěëíîłńňóôöőřśşšťţúůűüýźżžČŁŚŞŠŘŻŽŐ’‘“”„«»–—…€°"
_TURKISH = "âçğıîöşüÇĞİÖŞÜ’‘“”–—…€"
_LATIN = {"cp1252": _WESTERN, "cp1250": _CENTRAL, "iso8859_2": _CENTRAL, "mac_roman": _WESTERN, "cp1254": _TURKISH}
"""What each is used for, the likeliest first. charset-normalizer tells scripts apart, but not these: it was right on
44 of 68 sentences and halves of sentences in 13 European languages, counting these characters is on 67."""

_SIGNATURES = {
    b"%PDF-": "a PDF",
    b"PK\x03\x04": "a zip archive or an office document",
    b"\x1f\x8b": "gzip-compressed",
    b"BZh": "bzip2-compressed",
    b"\xfd7zXZ\x00": "xz-compressed",
    b"\x28\xb5\x2f\xfd": "zstd-compressed",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "an old office document",
    b"\x89PNG\r\n": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF87a": "a GIF image",
    b"GIF89a": "a GIF image",
    b"\x7fELF": "a program",
    b"SQLite format 3\x00": "an SQLite database",
}

_CONTROLS = bytes(n for n in range(32) if n not in b"\t\n\v\f\r\x1b") + b"\x7f"
_MOST_CONTROLS = 0.30  # of valid Unicode: a stray NUL or form mark is text, a third of them is not
_MOST_CONTROLS_LEGACY = 0.02  # of other bytes: old encodings of text have none, compressed data has 10 %
MOST_LINES = 2_000_000
"""Lines of one document; each is looked at as a sentence, in some 200 bytes. Shakespeare wrote 200,000."""

_SAMPLE = 256 * 1024  # bytes with accents in them that charset-normalizer gets to see


def decode(data: bytes, encoding: str | None = None) -> tuple[str, str]:
    r"""Return the text of `data`, without a byte-order mark, and the encoding it was read in; never fails on data.

    Args:
        data: all bytes of a file; bytes that do not fit become U+FFFD.
        encoding: what `decode` returned for these bytes before; None to find out.

    >>> decode(b"\xff\xfeh\x00i\x00")
    ('hi', 'utf-16')
    >>> decode("naïve café".encode("cp1252"))
    ('naïve café', 'cp1252')
    """
    name = encoding_of(data) if encoding is None else encoding
    return data.decode(name, "replace"), name


def encoding_of(data: bytes) -> str:
    """Return the encoding of `data`, under a name from which Python decodes it without its byte-order mark."""
    if data.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)) and _fits(data, "utf-32"):
        return "utf-32"
    if data.startswith(codecs.BOM_UTF8):
        return "utf-8-sig"
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    unmarked = _unmarked_wide(data)
    if unmarked:
        return unmarked
    if b"\x1b$" in data and data.isascii() and _fits(data, "iso2022_jp"):
        return "iso2022_jp"
    if _fits(data, "utf-8") or _is_damaged_utf8(data):
        return "utf-8"
    if _control_share(data) > _MOST_CONTROLS_LEGACY:
        return "latin-1"  # not text; no use in asking on
    return _legacy_encoding(data)


def binary_reason(data: bytes, text: str, encoding: str) -> str | None:
    """Return why `data`, decoded to `text`, is no text at all, or None if it is one.

    An occasional NUL or other control character is no reason; a share of them that no text has is one.
    """
    for signature, kind in _SIGNATURES.items():
        if data.startswith(signature):
            return f"binary ({kind})"
    wide = encoding.startswith(("utf-16", "utf-32"))
    sound = encoding.startswith("utf") and text.count("\ufffd") * 50 <= len(text)
    if wide and not sound:
        return "binary"
    share = _control_share(text.encode("utf-8", "replace") if wide else data)
    return "binary" if share > (_MOST_CONTROLS if sound else _MOST_CONTROLS_LEGACY) else None


def length_reason(text: str) -> str | None:
    """Return why `text`, of a size that can be read, is still too long for one document, or None if it is not."""
    lines = text.count("\n") + text.count("\r") + text.count("\u2028") + text.count("\u2029")
    return f"too many lines ({lines:,}; the limit is {MOST_LINES:,})" if lines > MOST_LINES else None


def _fits(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _is_damaged_utf8(data: bytes) -> bool:
    """Return whether a few bytes of otherwise good UTF-8 do not fit, as after a bad copy or a cut."""
    text = data.decode("utf-8", "replace")
    damaged = text.count("\ufffd")
    good = len(text) - len(text.encode("ascii", "ignore")) - damaged
    return damaged * 8 <= good


def _unmarked_wide(data: bytes) -> str | None:
    """Return UTF-16 or UTF-32 of either byte order if there is no mark but a NUL in every second byte, or more."""
    if len(data) < 8 or b"\0" not in data[:4096]:
        return None
    nuls = [data[n:4096:4].count(0) * 4 / len(data[:4096]) for n in range(4)]
    patterns = {"utf-32-le": "1xx0", "utf-32-be": "0xx1", "utf-16-le": "1010", "utf-16-be": "0101"}
    for encoding, pattern in patterns.items():
        if encoding.startswith("utf-32"):
            fits = nuls[1] > 0.9 and nuls[2] > 0.9 and nuls[0 if pattern[0] == "0" else 3] > 0.9
        else:
            full = [share for share, mark in zip(nuls, pattern, strict=True) if mark == "0"]
            empty = [share for share, mark in zip(nuls, pattern, strict=True) if mark == "1"]
            fits = min(full) > 0.4 and max(empty) < 0.05
        if fits and _fits(data, encoding):
            return encoding
    return None


def _control_share(data: bytes) -> float:
    return (len(data) - len(data.translate(None, _CONTROLS))) / max(1, len(data))


def _legacy_encoding(data: bytes) -> str:
    """Return the likeliest encoding from before Unicode."""
    lines = _telling_lines(data)
    found: str | None = "cp1257"
    if re.search(rb"[\x80-\xff]{2}", lines):  # otherwise these are accents, as all other scripts have some in a row
        import charset_normalizer

        best = charset_normalizer.from_bytes(lines, cp_isolation=_CANDIDATES).best()
        found = best.encoding if best is not None else None
    if found is None or found in _LATIN or found == "cp1257":
        found = max(_LATIN, key=lambda name: _fitness(lines, name))
    for encoding in (found, "cp1252"):
        if _fits(data, encoding):
            return encoding
    return "latin-1"


def _fitness(data: bytes, encoding: str) -> int:
    """Return how many more characters beyond ASCII are usual where `encoding` is used than are not."""
    beyond_ascii = re.sub(r"[\x00-\x7f]+", "", data.decode(encoding, "replace"))
    return 2 * len(re.findall(f"[{_LATIN[encoding]}]", beyond_ascii)) - len(beyond_ascii)


def _telling_lines(data: bytes) -> bytes:
    """Return the first lines that are not plain ASCII: the others tell nothing, and may come in megabytes."""
    lines, size, start = [], 0, 0
    beyond_ascii = re.compile(rb"[\x80-\xff]")
    while size < _SAMPLE and (found := beyond_ascii.search(data, start)):
        begin = max(data.rfind(b"\n", start, found.start()) + 1, start, found.start() - _SAMPLE)
        end = data.find(b"\n", found.start()) + 1 or len(data)
        lines.append(data[begin : min(end, found.start() + _SAMPLE)])
        size += len(lines[-1])
        start = end
    return b"".join(lines)
