"""Subtitles (SRT, WebVTT) -> running text with the time of each cue, so that a sentence over several cues is one.

Read by the lines below and not by pysubs2 or webvtt-py: the work is in putting cues together, which they leave to
their users, and they do not keep who speaks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import unescape
from itertools import pairwise

from pincite.index.decoding import binary_reason, decode
from pincite.index.extracted import Extracted, Mark, UnreadableError
from pincite.index.titles import one_line

__all__ = ["read_srt", "read_vtt"]

_PAUSE = 3.0  # seconds of silence that end a paragraph,
_LONG_PAUSE = 8.0  # in the midst of a sentence
_ADJACENT = 0.1  # seconds from one cue to another that may repeat it
_REPEATING = 0.2  # share of cues that begin with words of the one before; in roll-up captions half of them and more
_MOST_ROLLED = 8  # lines
_MOST_LINES = 500_000  # of a file; captions of a whole day have a third
_LONG_LINE = 250  # characters, after which the next sentence that begins a line of a cue begins one of the text
_LONGEST_SENTENCE = 400  # characters; where they are longer on average, nobody marked their ends

_CLOCK = r"(?:(\d{1,4}):)?(\d{1,2}):(\d{2})(?:[.,](\d{1,3}))?"
_TIMING = re.compile(rf"\s*{_CLOCK}\s*-->\s*{_CLOCK}(?:\s.*)?", re.ASCII)
_VOICE = re.compile(r"(<v(?:\.[^\s<>]{1,100})?[ \t][^<>]{1,200}>|</v>)")
_READING = re.compile(r"<rt>[^<>]{0,500}(?:</rt>)?", re.IGNORECASE)  # above Japanese words; would tear them apart
_OVERRIDE = re.compile(r"\{\\[^{}]{0,500}\}")
_VTT_TAG = re.compile(r"<[^<>]{0,500}>")
_SRT_TAG = re.compile(r"</?(?:b|i|u|s|em|strong|font|span|c|v|ruby|rp)(?:[ .][^<>]{0,500})?/?>", re.IGNORECASE)
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z]{2,31});")
_STOPS = re.compile(r"[.!?…](?=[\s\"'”’»)\]]|$)|[。！？]")
_ENDED = re.compile(r"(?:[.!?…。！？]|♪)[\"'”’»)\]]*$")
_ABBREVIATED = re.compile(r"\b\w{1,3}\.$")  # "Dr.", which ends no sentence
_CHEVRONS = re.compile(r">>+(?!>)\s*(?=\S)")
_TURN = re.compile(r"[-–—]\s*(\w)|>>|[A-Z][A-Z .'-]{1,30}:\s")  # "- Hello.", ">> Hello.", "MRS. ROWE: Hello."
_TITLE = re.compile(r"WEBVTT[ \t]+-[ \t]*(.*)")
_LANGUAGE = re.compile(r"Language:[ \t]*([A-Za-z0-9-]{2,35})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of a cue; `speaker` is empty if it is not known."""

    text: str
    speaker: str = ""


@dataclass(frozen=True, slots=True)
class _Cue:
    """What is shown from `start` to `end`, in seconds."""

    start: float
    end: float
    lines: tuple[_Line, ...]


def read_srt(data: bytes) -> Extracted:
    """Return what is said in SubRip subtitles, as `read_vtt` does."""
    return _extracted(data, vtt=False)


def read_vtt(data: bytes) -> Extracted:
    """Return what is said in WebVTT subtitles, in paragraphs that end at a pause or with a change of speaker.

    A mark is a cue, by the time of its beginning: "00:01:02". Where a speaker is named, a paragraph begins with the
    name: "Ida Moss: ". Words that captions rolling up the screen repeat stand there once.

    Raises:
        UnreadableError: it has no cues.
    """
    return _extracted(data, vtt=True)


def _extracted(data: bytes, vtt: bool) -> Extracted:
    content, encoding = decode(data)
    if binary := binary_reason(data, content, encoding):
        raise UnreadableError(binary)
    lines = content.splitlines()
    if len(lines) > _MOST_LINES:
        raise UnreadableError(f"more than {_MOST_LINES:,} lines")
    vtt = vtt or content.startswith("WEBVTT")
    cues = sorted(_cues(lines, vtt), key=lambda cue: cue.start)
    if not cues:
        raise UnreadableError("no subtitles: it has no line such as 00:01:02,000 --> 00:01:04,000")
    text, marks = _running(_unrolled(cues))
    title, language = _header(lines) if vtt else ("", "")
    return Extracted(text, title, {"language": language} if language else {}, "time" if marks else "", marks)


def _header(lines: Sequence[str]) -> tuple[str, str]:
    """Return the title and the language that the lines above the first empty one of a WebVTT file give."""
    title = _TITLE.match(lines[0])
    language = ""
    for line in lines[1:20]:
        if not line.strip():
            break
        if found := _LANGUAGE.match(line):
            language = found[1]
    return one_line(title[1]) if title else "", language


def _cues(lines: Sequence[str], vtt: bool) -> Iterator[_Cue]:
    """Yield the cues; one of WebVTT ends with an empty line, one of SubRip with the number of the next, or without."""
    timing: re.Match[str] | None = None
    numbered = False
    shown: list[str] = []
    for line in lines:
        found = _TIMING.fullmatch(line) if "-->" in line else None
        if found or (vtt and not line):  # a line of one space is part of a cue
            has_number = bool(shown) and shown[-1].strip().isdecimal()
            if timing is None:
                numbered = has_number
            else:
                yield _cue(timing, shown[:-1] if found and numbered and has_number else shown, vtt)
            timing, shown = found, []
        elif line.strip():
            shown.append(line)
    if timing is not None:
        yield _cue(timing, shown, vtt)


def _cue(timing: re.Match[str], shown: Sequence[str], vtt: bool) -> _Cue:
    lines = []
    speaker = ""
    for line in shown:
        for piece in _VOICE.split(line) if "<v" in line or speaker else [line]:
            if piece == "</v>":
                speaker = ""
            elif _VOICE.fullmatch(piece):
                speaker = one_line(_entities(piece[:-1].split(None, 1)[-1]))
            elif words := _words(piece, vtt):
                lines.append(_Line(words, speaker))
    return _Cue(_seconds(*timing.groups()[:4]), _seconds(*timing.groups()[4:]), tuple(lines))


def _seconds(hours: str | None, minutes: str, seconds: str, fraction: str | None) -> float:
    return 3600 * int(hours or 0) + 60 * int(minutes) + int(seconds) + float(f"0.{fraction or 0}")


def _words(line: str, vtt: bool) -> str:
    """Return a line without its tags, characters in place of entities, and no more white space than it needs."""
    line = _OVERRIDE.sub("", _READING.sub("", line))
    return " ".join(_entities((_VTT_TAG if vtt else _SRT_TAG).sub("", line)).split())


def _entities(text: str) -> str:
    return _ENTITY.sub(lambda found: unescape(found[0]), text) if "&" in text else text


def _unrolled(cues: Sequence[_Cue]) -> list[_Cue]:
    """Return the cues without what they repeat of the one before.

    That is a lot in captions that roll up the screen. In others only a whole cue counts that is there twice at the
    same time: people do say "No." and again "No."
    """
    pairs = [(before, cue) for before, cue in pairwise(cues) if cue.start <= before.end + _ADJACENT]
    rests = {id(cue): _rest(before.lines, cue.lines) for before, cue in pairs}
    rolling = sum(rests[id(cue)] != cue.lines for _, cue in pairs) > _REPEATING * len(cues)
    if rolling:
        return [_Cue(cue.start, cue.end, rests.get(id(cue), cue.lines)) for cue in cues]
    doubled = {id(cue) for before, cue in pairs if cue.lines == before.lines and cue.start < before.end}
    return [cue for cue in cues if id(cue) not in doubled]


def _rest(before: tuple[_Line, ...], lines: tuple[_Line, ...]) -> tuple[_Line, ...]:
    """Return `lines` without those at their beginning with which `before` ended, whole or as far as they went."""
    for k in range(min(len(before), len(lines), _MOST_ROLLED), 0, -1):
        if before[-k:] == lines[:k]:
            return lines[k:]
        last, grown = before[-1].text, lines[k - 1]
        if before[-k:-1] == lines[: k - 1] and grown.text.startswith(f"{last} "):
            return (_Line(grown.text[len(last) + 1 :], grown.speaker), *lines[k:])
    return lines


def _running(cues: Sequence[_Cue]) -> tuple[str, tuple[Mark, ...]]:
    """Return the text of the cues, and the mark of each that has any."""
    characters = sum(len(line.text) for cue in cues for line in cue.lines)
    stops = sum(len(_STOPS.findall(line.text)) for cue in cues for line in cue.lines)
    punctuated = characters <= _LONGEST_SENTENCE * (stops + 1)
    pieces: list[str] = []
    marks = []
    length = since = 0  # characters, and since the last line end
    previous, silent_from, speaker = "", 0.0, ""
    for cue in cues:
        for n, line in enumerate(cue.lines):
            ended = not punctuated or bool(_ENDED.search(previous))
            pause = cue.start - silent_from if n == 0 else 0.0
            if _begins_turn(line.text) or line.speaker != speaker or pause >= (_PAUSE if ended else _LONG_PAUSE):
                gap = "\n\n"
            elif since < _LONG_LINE or not ended or _ABBREVIATED.search(previous):
                gap = " "
            else:
                gap = "\n" if punctuated else "\n\n"
            named = f"{line.speaker}: " if line.speaker and gap == "\n\n" else ""
            gap = gap if pieces else ""
            chevrons = _CHEVRONS.match(line.text)
            words = named + line.text[chevrons.end() if chevrons else 0 :]
            since = len(words) if "\n" in gap else since + len(words)
            if n == 0:
                marks.append(Mark(length + len(gap), _clock(cue.start)))
            pieces += [gap, words]
            length += len(gap) + len(words)
            previous, speaker = line.text, line.speaker
        silent_from = max(silent_from, cue.end)
    return "".join(pieces), tuple(marks)


def _begins_turn(line: str) -> bool:
    """Return whether somebody else says this line; a dash before a small letter goes on with the sentence."""
    found = _TURN.match(line)
    return found is not None and not (found[1] or "").islower()


def _clock(seconds: float) -> str:
    """Return a time as players show it.

    >>> _clock(3723.9)
    '01:02:03'
    """
    minutes, second = divmod(int(seconds), 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{second:02}"
