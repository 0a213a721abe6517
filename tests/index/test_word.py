"""Word documents: what the printed document shows is read, with notes, and nothing that it does not show."""

from __future__ import annotations

import random
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest

from pincite.index import word_body, zipped
from pincite.index.extracted import Extracted, UnreadableError
from pincite.index.word import read_docx
from tests.conftest import HashingEmbedder
from tests.index.sample_files import citation, encrypted, members_of, repacked, sample, spoiled
from tests.index.sample_files import zipped as packed

NAMESPACES = (
    'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main" '
    'xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006" '
    'xmlns:m="http://schemas.openxmlformats.org/officeDocument/2006/math"'
)
STYLES = f"""<w:styles {NAMESPACES}>
<w:style w:type="paragraph" w:styleId="berschrift1"><w:name w:val="heading 1"/></w:style>
<w:style w:type="paragraph" w:styleId="Teil"><w:name w:val="Teil"/><w:basedOn w:val="berschrift1"/></w:style>
<w:style w:type="paragraph" w:styleId="Bullets"><w:name w:val="List Bullet"/><w:pPr><w:numPr><w:numId w:val="3"/>
</w:numPr></w:pPr></w:style>
<w:style w:type="paragraph" w:styleId="Titel"><w:name w:val="Title"/></w:style>
<w:style w:type="paragraph" w:styleId="Kapitel"><w:name w:val="Kapitel"/><w:pPr><w:outlineLvl w:val="1"/></w:pPr>
</w:style>
<w:style w:type="paragraph" w:styleId="NoBullets"><w:name w:val="No"/><w:basedOn w:val="Bullets"/><w:pPr><w:numPr>
<w:numId w:val="0"/></w:numPr></w:pPr></w:style>
<w:style w:type="paragraph" w:styleId="Verzeichnis1"><w:name w:val="toc 1"/></w:style>
<w:style w:type="paragraph" w:styleId="Round"><w:name w:val="Round"/><w:basedOn w:val="Round"/></w:style>
</w:styles>"""
RELATIONS = """<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">
<Relationship Id="r1" Type="http://x/relationships/styles" Target="/word/styles.xml"/>
<Relationship Id="r2" Type="http://x/relationships/settings" Target="settings.xml"/>
<Relationship Id="r3" Type="http://x/relationships/footnotes" Target="notes/feet.xml"/></Relationships>"""


def document(body: str, **parts: str) -> bytes:
    members = {
        "word/document.xml": f"<w:document {NAMESPACES}><w:body>{body}</w:body></w:document>",
        "word/styles.xml": STYLES,
        "word/_rels/document.xml.rels": RELATIONS,
    }
    return packed(members | {f"{name.replace('__', '/')}.xml": content for name, content in parts.items()})


def run(text: str, properties: str = "") -> str:
    return f'<w:r><w:rPr>{properties}</w:rPr><w:t xml:space="preserve">{text}</w:t></w:r>'


def paragraph(content: str, properties: str = "") -> str:
    return f"<w:p><w:pPr>{properties}</w:pPr>{content}</w:p>"


def styled(style: str, text: str) -> str:
    return paragraph(run(text), f'<w:pStyle w:val="{style}"/>')


def read(body: str) -> Extracted:
    return read_docx(document(body))


def reason(data: bytes) -> str:
    with pytest.raises(UnreadableError) as error:
        read_docx(data)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_document_of_libreoffice_gives_its_text() -> None:
    found = read_docx(sample("docx-libreoffice.docx"))
    assert found.text.split("\n\n") == [
        "The tide mill of Orrin Bay",
        "Twice a day the sea fills the pond behind the mill, and twice a day it turns the wheel on its way out.[1] "
        "The pond holds fifty-two thousand cubic metres.",
        "The builders",
        "The mill was built by the brothers Anton and Josef Hallgren in 1786, with oak from the wreck of the "
        "Amalia.[i]",
        "Three things were agreed on the first evening:",
        "the sluice is opened by the younger brother,\nthe flour is sold on Fridays,\nnobody grinds on Easter Day.",
        "The boathouse",
        "Beside the mill stands a boathouse with a slate roof. The file has 2 page.",
        "A plaque on its door names Wilma Sandberg as the last miller.",
        "What was ground",
        "Year | Grain | Sacks\n1790 | rye | 2,140\n1791 | barley | 1,975",
        "The millstones came from the quarry at Västby and weigh two tonnes each.",
        "[1] At spring tides the wheel turns for nine hours a day.",
        "[i] The harbour book names eleven oaks and a mast.",
    ]
    assert found.title == "The tide mill of Orrin Bay"
    assert dict(found.metadata) == {
        "author": "Petra Lindqvist",
        "date": "2019-05-17",
        "language": "en-US",
        "subject": "Mills on the coast",
        "keywords": "tide mill",
    }


def test_marks_are_the_headings_and_notes_where_they_begin() -> None:
    found = read_docx(sample("docx-libreoffice.docx"))
    assert found.unit == "section"
    assert [mark.label for mark in found.marks] == [
        "The builders",
        "The boathouse",
        "What was ground",
        "footnote 1",
        "endnote i",
    ]
    assert all(found.text[mark.start :].startswith(mark.label) for mark in found.marks[:3])
    assert found.text[found.marks[3].start :].startswith("[1] At spring")


def test_a_document_of_pandoc_gives_its_text() -> None:
    found = read_docx(sample("docx-pandoc.docx"))
    assert "A crossing takes seven minutes in April and eleven in August." in found.text
    assert "four cars,\nor one hay cart,\nor sixty people, if nobody sits.\n\n" in found.text
    assert "Who | One way | Return\nGrown-ups | 2.40 | 4.00\nChildren | free | free\n\n" in found.text
    assert "his grandmother held" in found.text
    assert "every twelve years\non the first Monday" in found.text
    assert found.text.endswith("\n\n[1] It had one from 1951 to 1958, and nobody missed it.")
    assert "nine" not in found.text and "a note" not in found.text
    # The date in the style for dates, not the day on which pandoc ran.
    assert (found.title, found.metadata["author"], found.metadata["date"]) == (
        "The ferry that ran on a rope",
        "Jonas Ekdahl; Mira Tov",
        "2022-09-30",
    )


def test_a_citation_names_the_section(tmp_path: Path, embedder: HashingEmbedder) -> None:
    cited = citation(tmp_path, embedder, "docx-libreoffice.docx", "Anton and Josef Hallgren")
    assert (cited.quote, cited.unit, cited.mark, cited.format) == (
        "Anton and Josef Hallgren",
        "section",
        "The builders",
        "docx",
    )
    assert cited.sentence.startswith("The mill was built by the brothers Anton and Josef Hallgren in 1786")
    assert cited.verified and (cited.author, cited.date) == ("Petra Lindqvist", "2019-05-17")


def test_tracked_changes_count_as_accepted() -> None:
    def deleted(text: str) -> str:
        return f'<w:del w:author="A"><w:r><w:delText>{text}</w:delText><w:t>{text}</w:t></w:r></w:del>'

    gone = "<w:rPr><w:del/></w:rPr>"
    assert read(paragraph(run("The ") + deleted("old") + f"<w:ins>{run('new')}</w:ins>" + run(" pier"))).text == (
        "The new pier"
    )
    assert read(paragraph(f"<w:moveFrom>{run('a')}</w:moveFrom><w:moveTo>{run('b')}</w:moveTo>")).text == "b"
    assert read(paragraph(run("One "), gone) + paragraph(run("sentence.")) + paragraph(run("Next."))).text == (
        "One sentence.\n\nNext."
    )
    assert read(paragraph(run("Last."), gone)).text == "Last."
    assert read(paragraph(run("Last."), gone)).unit == ""
    row = "<w:tr>{}<w:tc>" + paragraph(run("x{}")) + "</w:tc></w:tr>"
    table = row.format("", 1) + row.format("<w:trPr><w:del/></w:trPr>", 2) + row.format("", 3)
    assert read(f"<w:tbl>{table}</w:tbl>").text == "x1\nx3"
    changed = '<w:pPrChange><w:pPr><w:pStyle w:val="berschrift1"/></w:pPr></w:pPrChange>'
    assert read(paragraph(run("No heading any more."), changed)).marks == ()


def test_field_codes_are_left_out_and_their_results_kept() -> None:
    def mark(kind: str) -> str:
        return f'<w:r><w:fldChar w:fldCharType="{kind}"/></w:r>'

    code = "<w:r><w:instrText> PAGE </w:instrText></w:r>"
    inner = mark("begin") + code + mark("separate") + run("inner") + mark("end")
    assert read(paragraph(run("Page ") + mark("begin") + code + mark("separate") + run("7") + mark("end"))).text == (
        "Page 7"
    )
    assert read(paragraph(mark("begin") + inner + mark("separate") + run("shown") + mark("end"))).text == "shown"
    assert read(paragraph(f'<w:fldSimple w:instr="PAGE">{run("8")}</w:fldSimple>')).text == "8"
    # One that never ends hides no more than its paragraph.
    assert read(paragraph(mark("begin") + code) + paragraph(run("After."))).text == "After."


def test_what_is_not_printed_is_left_out() -> None:
    assert read(paragraph(run("a") + run("b", "<w:vanish/>") + run("c", '<w:vanish w:val="0"/>'))).text == "ac"
    prompt = "<w:sdt><w:sdtPr>{}</w:sdtPr><w:sdtContent>" + paragraph(run("Click here")) + "</w:sdtContent></w:sdt>"
    assert read(prompt.format("<w:showingPlcHdr/>") + prompt.format("")).text == "Click here"
    assert read(styled("Verzeichnis1", "The harbour\t12") + paragraph(run("Text."))).text == "Text."
    box = "<w:txbxContent>" + paragraph(run("In a box.")) + "</w:txbxContent>"
    twice = f"<mc:AlternateContent><mc:Choice>{box}</mc:Choice><mc:Fallback>{box}</mc:Fallback></mc:AlternateContent>"
    assert read(paragraph(f"{run('Be')}<w:r>{twice}</w:r>{run('side.')}")).text == "Beside.\n\nIn a box."
    ruby = f"<w:ruby><w:rt>{run('かん')}</w:rt><w:rubyBase>{run('漢')}</w:rubyBase></w:ruby>"
    assert read(paragraph(f"<w:r>{ruby}</w:r>{run('字')}")).text == "漢字"


def test_characters_that_are_elements_are_text() -> None:
    content = "<w:r><w:t>a</w:t><w:tab/><w:t>b</w:t><w:br/><w:t>c</w:t><w:noBreakHyphen/><w:t>d</w:t></w:r>"
    assert read(paragraph(content)).text == "a\tb\nc-d"
    assert read(paragraph("<w:r><w:t>a</w:t><w:ptab/><w:t>b</w:t></w:r>")).text == "a\tb"
    goes_on = paragraph(run("One "), "<w:rPr><w:del/></w:rPr>")
    assert read(goes_on + paragraph(run("line."), "<w:tabs><w:tab/></w:tabs>")).text == "One line."
    power = (
        "<m:oMath><m:sSup><m:e><m:r><m:t>10</m:t></m:r></m:e><m:sup><m:r><m:t>6</m:t></m:r></m:sup></m:sSup></m:oMath>"
    )
    assert read(paragraph(power)).text == "10^6"


def test_headings_and_lists_are_known_by_style_inheritance_and_outline() -> None:
    heading = styled("Teil", "Part one")
    level = paragraph(run("Part two"), '<w:outlineLvl w:val="1"/>')
    items = styled("Bullets", "one") + styled("Bullets", "") + styled("Bullets", "two")
    items += paragraph("") + styled("Bullets", "three")
    none = paragraph(run("four"), '<w:pStyle w:val="Bullets"/><w:numPr><w:numId w:val="0"/></w:numPr>')
    found = read(styled("Round", "Before.") + heading + items + none + level)
    assert found.text == "Before.\n\nPart one\n\none\ntwo\n\nthree\n\nfour\n\nPart two"
    assert [mark.label for mark in found.marks] == ["Part one", "Part two"]
    assert found.title == "Part one"
    assert [mark.label for mark in read(styled("Kapitel", "Two")).marks] == ["Two"]
    assert read(styled("Round", "Before.") + styled("Bullets", "") + styled("Bullets", "one")).text == "Before.\n\none"
    assert read(styled("NoBullets", "one") + styled("NoBullets", "two")).text == "one\n\ntwo"
    title = styled("Titel", "The whole")
    assert read(heading + title).title == "The whole"


def test_tables_give_a_line_a_row_unless_they_are_there_for_the_layout() -> None:
    def table(*rows: list[str]) -> str:
        return (
            "<w:tbl>"
            + "".join("<w:tr>" + "".join(f"<w:tc>{c}</w:tc>" for c in row) + "</w:tr>" for row in rows)
            + "</w:tbl>"
        )

    def cell(*texts: str) -> str:
        return "".join(paragraph(run(text)) for text in texts)

    assert read(table([cell("a"), cell("b", "c")], [cell(""), cell("d")]) + cell("after")).text == (
        "a | b c\nd\n\nafter"
    )
    assert read(table([paragraph("<w:r><w:t>a</w:t><w:br/><w:t>b</w:t></w:r>"), cell("c")])).text == "a b | c"
    between = styled("Bullets", "one") + table([cell("a"), cell("b")]) + styled("Bullets", "two")
    assert read(between).text == "one\n\na | b\n\ntwo"
    long = "word " * 210 + "end"
    assert read(table([cell(long, "x"), cell("y")])).text == f"{long}\n\nx\n\ny"
    assert read(table([cell("One.", "Two.")])).text == "One.\n\nTwo."
    assert read(table([table([cell("in"), cell("ner")]) + cell(""), cell("out")])).text == "in | ner | out"


def test_notes_are_numbered_as_the_document_says() -> None:
    def reference(kind: str, name: int, more: str = "") -> str:
        return f'<w:r><w:{kind}Reference w:id="{name}" {more}/></w:r>'

    def notes(kind: str, texts: dict[int, str]) -> str:
        one = f'<w:{kind} w:id="{{}}"><w:p><w:r><w:{kind}Ref/></w:r>{{}}</w:p></w:{kind}>'
        separator = f'<w:{kind} w:id="0" w:type="separator">{paragraph(run("---"))}</w:{kind}>'
        content = "".join(one.format(name, run(f" {text}")) for name, text in texts.items())
        return f"<w:{kind}s {NAMESPACES}>{separator}{content}</w:{kind}s>"

    body = paragraph(
        run("One.") + reference("footnote", 5) + run(" Two.") + reference("footnote", 4)
        + run(" Three.") + reference("footnote", 6, 'w:customMarkFollows="1"') + run("*")
        + run(" Four.") + reference("endnote", 2)
    )  # fmt: skip
    parts = {
        "word__notes__feet": notes(
            "footnote", {4: "Second.</w:t></w:r></w:p><w:p><w:r><w:t>More.", 5: "First.", 6: "* Third.", 7: "Unused."}
        ),
        "word__endnotes": notes("endnote", {2: "Last."}),
    }
    found = read_docx(document(body, **parts))
    assert found.text == (
        "One.[1] Two.[2] Three.* Four.[i]\n\n[1] First.\n\n[2] Second.\n\nMore.\n\n* Third.\n\n[i] Last."
    )
    assert [mark.label for mark in found.marks] == ["footnote 1", "footnote 2", "footnote", "endnote i"]
    decimal = f'<w:settings {NAMESPACES}><w:endnotePr><w:numFmt w:val="decimal"/></w:endnotePr></w:settings>'
    assert read_docx(document(body, word__settings=decimal, **parts)).text.endswith("\n\n[1] Last.")


def test_the_strict_form_of_the_format_is_read() -> None:
    members = members_of(sample("docx-libreoffice.docx"))
    strict = {
        name: content.replace(
            b"http://schemas.openxmlformats.org/wordprocessingml/2006/main",
            b"http://purl.oclc.org/ooxml/wordprocessingml/main",
        ).replace(
            b"http://schemas.openxmlformats.org/officeDocument/2006/relationships",
            b"http://purl.oclc.org/ooxml/officeDocument/relationships",
        )
        for name, content in members.items()
    }
    assert read_docx(packed(strict)) == read_docx(packed(members))


def test_the_main_part_may_have_any_name() -> None:
    members = members_of(sample("docx-pandoc.docx"))
    members["word/Document2.xml"] = members.pop("word/document.xml")
    members["word/_rels/Document2.xml.rels"] = members.pop("word/_rels/document.xml.rels")
    members["_rels/.rels"] = members["_rels/.rels"].replace(b"word/document.xml", b"word/document2.XML")
    assert read_docx(packed(members)).text == read_docx(sample("docx-pandoc.docx")).text


WORKBOOK = """<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">
<Relationship Id="r1" Type="http://x/relationships/officeDocument" Target="xl/workbook.xml"/></Relationships>"""

DAMAGED = {
    "no bytes": (b"", "not a Word document: no zip archive"),
    "text": (b"The harbour was dredged.", "not a Word document: no zip archive"),
    "an old document": (zipped._OLE + b"\0" * 600, "an old office document, not a Word document"),
    "with a password": (zipped._OLE + zipped._ENCRYPTED_OLE, "encrypted with a password"),
    "cut": (sample("docx-pandoc.docx")[:-50], "damaged, or cut short"),
    "encrypted": (encrypted(sample("docx-pandoc.docx")), "encrypted with a password"),
    "no text": (
        repacked(sample("docx-pandoc.docx"), {"word/document.xml": None}),
        "not a Word document, or damaged: it has no word/document.xml",
    ),
    "empty text": (
        repacked(sample("docx-pandoc.docx"), {"word/document.xml": b""}),
        "damaged: word/document.xml in it is not well-formed XML",
    ),
    "broken text": (
        repacked(sample("docx-pandoc.docx"), {"word/document.xml": "<w:document><w:body>"}),
        "damaged: word/document.xml in it is not well-formed XML",
    ),
    "deep text": (document("<w:sdt>" * 10_000), "damaged: word/document.xml in it is not well-formed XML"),
    "an odd compression": (
        packed(members_of(sample("docx-pandoc.docx")), compression=zipfile.ZIP_LZMA),
        "word/document.xml in it is compressed in a way that is not allowed there",
    ),
    "a spreadsheet": (
        packed({"xl/workbook.xml": "<workbook/>", "_rels/.rels": WORKBOOK}),
        "not a Word document, though an office document: its main part is xl/workbook.xml",
    ),
    "an entity": (
        repacked(
            sample("docx-pandoc.docx"),
            {"word/document.xml": "<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><a>&b;</a>"},
        ),
        "it declares a document type, as no Word document does",
    ),
    "a bomb": (
        document(paragraph("") * 400_000),
        "word/document.xml in it unpacks to over 200 times its size, as no document does",
    ),
    "many members": (
        packed(dict.fromkeys(map(str, range(20_001)), "")),
        "more than 20,000 files in it, as no document has",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_document_that_cannot_be_read_says_why(kind: str) -> None:
    data, expected = DAMAGED[kind]
    assert reason(data) == expected


def test_a_member_that_does_not_match_its_checksum_is_damage() -> None:
    data = bytearray(packed({"word/document.xml": "<w:document/>"}, compression=0))
    place = data.index(b"<w:document/>")
    data[place + 3] ^= 1
    assert reason(bytes(data)) == "damaged: word/document.xml in it cannot be unpacked"


def test_what_a_document_unpacks_to_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    data = sample("docx-libreoffice.docx")
    monkeypatch.setattr(zipped, "_MOST_UNPACKED", 10_000)
    assert reason(data) == "it unpacks to more than 0 MiB"
    monkeypatch.setattr(word_body, "_MOST_EVENTS", 100)
    monkeypatch.setattr(zipped, "_MOST_UNPACKED", 1 << 20)
    assert reason(data) == "more than 100 tags and pieces of text"
    monkeypatch.setattr(word_body, "_MOST_EVENTS", 100_000)
    monkeypatch.setattr(word_body, "_MOST_TEXT", 100)
    assert reason(data) == "more than 100 characters"


def test_parts_that_a_document_can_do_without_may_be_damaged() -> None:
    whole = read_docx(sample("docx-libreoffice.docx"))
    changes = {
        "docProps/core.xml": b"\xff",
        "word/styles.xml": None,
        "word/settings.xml": "<",
        "word/footnotes.xml": "<",
    }
    found = read_docx(repacked(sample("docx-libreoffice.docx"), changes))
    assert found.text.startswith(whole.text.partition("\n\n[1]")[0])
    assert found.metadata == {} and found.text.endswith("eleven oaks and a mast.")
    assert found.notes == ("its footnotes are not read: damaged: word/footnotes.xml in it is not well-formed XML",)


def test_text_that_is_embedded_as_another_file_is_told_of() -> None:
    found = read(paragraph(run("Text.")) + "<w:altChunk/>")
    assert (found.text, found.notes) == ("Text.", ("a part of it that is embedded as another file is not read",))


def test_no_damage_is_a_traceback() -> None:
    chance = random.Random(7)
    members = members_of(sample("docx-libreoffice.docx"))
    for _ in range(80):
        name = chance.choice(["word/document.xml", "word/footnotes.xml", "word/styles.xml", "_rels/.rels"])
        content = spoiled(members[name], chance, [b"", b"<w:p>", b"&x;", b"\0", b'"', b"<"])
        with suppress(UnreadableError):
            read_docx(packed(members | {name: content}))
