"""WordprocessingML -> blocks of text, read as a stream of events: without a tree, memory stays that of the text.

Elements are known by their local names, since the strict form of the format differs from the usual one in its
namespaces only. What the printed document does not show is left out (deleted and hidden text, field codes, prompts),
and so are tables of contents, which repeat headings, and the copies of text boxes for old programs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from pincite.index.extracted import UnreadableError
from pincite.index.word_styles import Style, attribute, heading_level

__all__ = ["Block", "Body"]

_MOST_EVENTS = 8_000_000  # tags and pieces of text; so many take 8 s
_MOST_TEXT = 32_000_000  # characters, as for plain text
_MOST_FIELDS = 50  # one in the other
_LONGEST_CELL = 1000  # characters; a table with longer ones is there for the layout

# fmt: off
_LEFT_OUT = frozenset({
    "del", "moveFrom", "Fallback", "rt", "pPrChange", "rPrChange", "tblPrChange", "tblPrExChange", "trPrChange",
    "tcPrChange", "sectPrChange",
})
# fmt: on
_CHARACTERS = {"tab": "\t", "ptab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}
_IN_FORMULAS = {"sup": "^", "sub": "_", "den": "/"}
# fmt: off
_ROMAN = {
    1000: "m", 900: "cm", 500: "d", 400: "cd", 100: "c", 90: "xc", 50: "l", 40: "xl", 10: "x", 9: "ix", 5: "v",
    4: "iv", 1: "i",
}
# fmt: on
_OFF = ("0", "false", "off")
_PLAIN = Style()


@dataclass(frozen=True, slots=True)
class Block:
    """A paragraph, list item or table row, after a line end if it is `joined` to the one before, else an empty line.

    `level` is that of a heading, 0 of anything else; `style` the English name of its style in lower case.
    """

    text: str
    joined: bool = False
    level: int = 0
    style: str = ""


@dataclass(slots=True)
class _Flow:
    """Blocks one after the other: of the body, a table cell, a text box or a note."""

    blocks: list[Block] = field(default_factory=list)
    in_list: bool = False
    carried: list[str] = field(default_factory=list)  # text of a paragraph whose end was deleted


@dataclass(slots=True)
class _Paragraph:
    pieces: list[str] = field(default_factory=list)
    style: Style = _PLAIN
    level: int | None = None
    listed: bool | None = None
    goes_on: bool = False
    boxes: list[Block] = field(default_factory=list)  # of the text boxes that are anchored in it


@dataclass(slots=True)
class _Table:
    rows: list[Block] = field(default_factory=list)
    cells: list[list[Block]] = field(default_factory=list)  # of the row that is open
    deleted: bool = False


class Body:
    """Target of an event parser for the main part of a document, or for its notes.

    Attributes:
        is_document: whether there was the body of a document at all.
        references: the notes that the text refers to, as "footnote" or "endnote" and id, in order, each with its
            number; empty where the author set another mark.
        notes: blocks of each note by its id, where notes were parsed.
        has_embedded: whether a part of it is another file, such as a web page, which is not read.
    """

    def __init__(self, styles: Mapping[str, Style], *, roman: Collection[str] = ("endnote",)) -> None:
        """Begin a document with `styles` by id, in which the notes of the kinds `roman` count i, ii, iii."""
        self.is_document = self.has_embedded = False
        self.references: dict[tuple[str, str], str] = {}
        self.notes: dict[str, list[Block]] = {}
        self._styles = styles
        self._flows = [_Flow()]
        self._paragraphs: list[_Paragraph] = []
        self._tables: list[_Table] = []
        self._fields: list[bool] = []  # of the open fields: whether their code, not their result, is being read
        self._note = ""
        self._numbers = {"footnote": 0, "endnote": 0}
        self._roman = roman
        self._open: list[str] = []
        self._skipped = 0  # elements that are open from one that is left out on
        self._in_text = self._hidden = False
        self._is_prompt = False  # what the content control that begins shows
        self._events = self._characters = 0

    @property
    def blocks(self) -> list[Block]:
        """The blocks of the document, without its notes."""
        return self._flows[0].blocks

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        """Open an element."""
        self._count()
        name = tag.rpartition("}")[2]
        parent = self._open[-1] if self._open else ""
        around = self._open[-2:]
        self._open.append(name)
        if self._skipped or name in _LEFT_OUT:
            self._skipped += 1
            if around == ["pPr", "rPr"] and self._paragraphs:
                self._paragraphs[-1].goes_on = self._paragraphs[-1].goes_on or name in ("del", "moveFrom")
            elif parent == "trPr" and self._tables:
                self._tables[-1].deleted = self._tables[-1].deleted or name == "del"
        elif name in _STARTS:
            _STARTS[name](self, attributes)
        elif name in _CHARACTERS:
            if parent == "r":
                self._add(_CHARACTERS[name])
        elif name in _IN_FORMULAS:
            self._add(_IN_FORMULAS[name])
        elif parent.endswith("Pr"):
            self._property(name, around, attributes)

    def end(self, tag: str) -> None:
        """Close an element."""
        self._count()
        name = self._open.pop()
        if self._skipped:
            self._skipped -= 1
        elif name in _ENDS:
            _ENDS[name](self)

    def data(self, data: str) -> None:
        """Take a piece of text."""
        self._count()
        if self._in_text and not self._skipped:
            self._add(data)

    def doctype(self, name: str, public: str, system: str) -> None:
        """Refuse what only files made to harm have."""
        raise UnreadableError("it declares a document type, as no Word document does")

    def comment(self, text: str) -> None:
        """Leave out a comment of the XML."""

    def close(self) -> Body:
        """Return itself: what the parser then returns."""
        if self._flows[0].carried:
            self._add_block(self._flows[0], _Paragraph(self._flows[0].carried))
        return self

    def _count(self) -> None:
        self._events += 1
        if self._events > _MOST_EVENTS:
            raise UnreadableError(f"more than {_MOST_EVENTS:,} tags and pieces of text")

    def _add(self, data: str) -> None:
        if self._paragraphs and not self._hidden and not any(self._fields):
            self._characters += len(data)
            if self._characters > _MOST_TEXT:
                raise UnreadableError(f"more than {_MOST_TEXT:,} characters")
            self._paragraphs[-1].pieces.append(data)

    def _property(self, name: str, around: list[str], attributes: Mapping[str, str]) -> None:
        value = attribute(attributes, "val")
        if around == ["r", "rPr"]:
            self._hidden = self._hidden or (name == "vanish" and value not in _OFF)
        elif name == "showingPlcHdr":
            self._is_prompt = value not in _OFF
        elif self._paragraphs and name == "pStyle":
            self._paragraphs[-1].style = self._styles.get(value, _PLAIN)
        elif self._paragraphs and around == ["pPr", "numPr"] and name == "numId":
            self._paragraphs[-1].listed = value != "0"
        elif self._paragraphs and name == "outlineLvl":
            self._paragraphs[-1].level = heading_level(value)

    def _start_paragraph(self, attributes: Mapping[str, str]) -> None:
        flow = self._flows[-1]
        self._paragraphs.append(_Paragraph(flow.carried))
        flow.carried = []

    def _end_paragraph(self) -> None:
        paragraph, flow = self._paragraphs.pop(), self._flows[-1]
        if not self._paragraphs:
            self._fields = [False for _ in self._fields]  # else a code without an end would hide all that follows
        if paragraph.goes_on:
            flow.carried = paragraph.pieces
        else:
            self._add_block(flow, paragraph)
        flow.blocks += paragraph.boxes

    def _add_block(self, flow: _Flow, paragraph: _Paragraph) -> None:
        style = paragraph.style
        lines = [line.strip() for line in "".join(paragraph.pieces).split("\n")]
        text = "\n".join(line for line in lines if line)
        if style.name.startswith(("toc ", "table of figures")):
            return
        level = style.level if paragraph.level is None else paragraph.level
        listed = not level and (style.listed if paragraph.listed is None else paragraph.listed)
        if text:
            flow.blocks.append(Block(text, listed and flow.in_list, level, style.name))
        flow.in_list = listed and (flow.in_list or bool(text))

    def _start_run(self, attributes: Mapping[str, str]) -> None:
        self._hidden = False

    def _start_text(self, attributes: Mapping[str, str]) -> None:
        self._in_text = True

    def _end_text(self) -> None:
        self._in_text = False

    def _start_reference(self, attributes: Mapping[str, str]) -> None:
        if self._hidden or any(self._fields):
            return
        kind = self._open[-1].removesuffix("Reference")
        key = kind, attribute(attributes, "id")
        if attribute(attributes, "customMarkFollows") not in ("", *_OFF):
            self.references.setdefault(key, "")
        elif key not in self.references:
            self._numbers[kind] += 1
            count = self._numbers[kind]
            self.references[key] = _roman(count) if kind in self._roman else str(count)
        if number := self.references[key]:
            self._add(f"[{number}]")

    def _start_field_mark(self, attributes: Mapping[str, str]) -> None:
        kind = attribute(attributes, "fldCharType")
        if kind == "begin" and len(self._fields) < _MOST_FIELDS:
            self._fields.append(True)
        elif self._fields and kind == "separate":
            self._fields[-1] = False
        elif self._fields:
            self._fields.pop()

    def _start_flow(self, attributes: Mapping[str, str]) -> None:
        self._flows.append(_Flow())

    def _end_flow(self) -> list[Block]:
        flow = self._flows.pop()
        if flow.carried:
            self._add_block(flow, _Paragraph(flow.carried))
        return flow.blocks

    def _end_box(self) -> None:
        blocks = self._end_flow()
        (self._paragraphs[-1].boxes if self._paragraphs else self._flows[-1].blocks).extend(blocks)

    def _start_note(self, attributes: Mapping[str, str]) -> None:
        self._note = attribute(attributes, "id")
        self._flows.append(_Flow())

    def _end_note(self) -> None:
        self.notes[self._note] = self._end_flow()

    def _start_table(self, attributes: Mapping[str, str]) -> None:
        self._tables.append(_Table())

    def _end_table(self) -> None:
        self._flows[-1].blocks += self._tables.pop().rows
        self._flows[-1].in_list = False

    def _end_cell(self) -> None:
        blocks = self._end_flow()
        if self._tables and blocks:
            self._tables[-1].cells.append(blocks)

    def _end_row(self) -> None:
        if not self._tables:
            return
        table = self._tables[-1]
        cells, deleted = table.cells, table.deleted
        table.cells, table.deleted = [], False
        if cells and not deleted:
            table.rows += _row(cells, follows=bool(table.rows))

    def _start_control(self, attributes: Mapping[str, str]) -> None:
        self._is_prompt = False

    def _start_control_content(self, attributes: Mapping[str, str]) -> None:
        self._skipped = int(self._is_prompt)

    def _start_body(self, attributes: Mapping[str, str]) -> None:
        self.is_document = True

    def _start_embedded(self, attributes: Mapping[str, str]) -> None:
        self.has_embedded = True


def _row(cells: list[list[Block]], follows: bool) -> list[Block]:
    """Return a table row as one block, or its blocks as they are if the table is there for the layout."""
    blocks = [block for cell in cells for block in cell]
    if len(blocks) > len(cells) == 1 or any(sum(len(block.text) for block in cell) > _LONGEST_CELL for cell in cells):
        return blocks
    flat = [" ".join(" ".join(block.text.split("\n")) for block in cell) for cell in cells]
    return [Block(" | ".join(flat), joined=follows)]


def _roman(number: int) -> str:
    digits = ""
    for value, digit in _ROMAN.items():
        count, number = divmod(number, value)
        digits += count * digit
    return digits


_STARTS: dict[str, Callable[[Body, Mapping[str, str]], None]] = {
    "p": Body._start_paragraph,
    "r": Body._start_run,
    "t": Body._start_text,
    "footnoteReference": Body._start_reference,
    "endnoteReference": Body._start_reference,
    "fldChar": Body._start_field_mark,
    "txbxContent": Body._start_flow,
    "tc": Body._start_flow,
    "tbl": Body._start_table,
    "footnote": Body._start_note,
    "endnote": Body._start_note,
    "sdt": Body._start_control,
    "sdtContent": Body._start_control_content,
    "body": Body._start_body,
    "altChunk": Body._start_embedded,
}
_ENDS: dict[str, Callable[[Body], object]] = {
    "p": Body._end_paragraph,
    "t": Body._end_text,
    "txbxContent": Body._end_box,
    "tc": Body._end_cell,
    "tr": Body._end_row,
    "tbl": Body._end_table,
    "footnote": Body._end_note,
    "endnote": Body._end_note,
}
