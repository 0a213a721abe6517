"""Books: their chapters in order, named as the table of contents names them, and no book is hostile enough."""

from __future__ import annotations

import random
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from pincite.index import epub, epub_chapters, zipped
from pincite.index.epub import read_epub
from pincite.index.extracted import Extracted, Mark, UnreadableError
from tests.conftest import HashingEmbedder
from tests.index.sample_files import citation, encrypted, members_of, repacked, sample, spoiled
from tests.index.sample_files import zipped as packed

CONTAINER = '<container xmlns="urn:x"><rootfiles><rootfile full-path="OPS/book.opf"/></rootfiles></container>'
XHTML = '<html xmlns="http://www.w3.org/1999/xhtml" xmlns:epub="http://www.idpf.org/2007/ops">'


def book(
    files: Mapping[str, str | bytes], *, metadata: str = "", items: str = "", guide: str = "", **extra: str | bytes
) -> bytes:
    """Return a book of `files` in this order; `items` are more entries of its manifest, `extra` more members."""
    manifest = "".join(
        f'<item id="i{n}" href="{name}" media-type="application/xhtml+xml"/>' for n, name in enumerate(files)
    )
    spine = "".join(f'<itemref idref="i{n}"/>' for n in range(len(files)))
    opf = (
        '<package xmlns="http://www.idpf.org/2007/opf" xmlns:opf="http://www.idpf.org/2007/opf"'
        f' xmlns:dc="http://purl.org/dc/elements/1.1/"><metadata>{metadata}</metadata>'
        f"<manifest>{manifest}{items}</manifest><spine>{spine}</spine><guide>{guide}</guide></package>"
    )
    members = {f"OPS/{name.replace('%20', ' ')}": content for name, content in files.items()}
    more = {name.replace("__", "/") + ".xml": content for name, content in extra.items()}
    return packed({"META-INF/container.xml": CONTAINER, "OPS/book.opf": opf} | members | more)


def with_navigation(files: Mapping[str, str | bytes], entries: str, metadata: str = "") -> bytes:
    """Return a book with a navigation document, whose own list is `entries`."""
    item = '<item id="nav" href="nav.xml" media-type="application/xhtml+xml" properties="nav"/>'
    navigation = f'{XHTML}<body><nav epub:type="landmarks"><ol><li><a href="x">No</a></li></ol></nav>'
    navigation += f'<nav epub:type="toc"><h1>Contents</h1><ol>{entries}</ol></nav></body></html>'
    return book(files, items=item, metadata=metadata, OPS__nav=navigation)


def entry(target: str, label: str, below: str = "") -> str:
    return f'<li><a href="{target}">{label}</a>{f"<ol>{below}</ol>" if below else ""}</li>'


def chapter(body: str) -> str:
    head = f"<?xml version='1.0' encoding='utf-8'?>\n<!DOCTYPE html>\n{XHTML}<head><title/></head>"
    return f"{head}<body>{body}</body></html>"


def read(body: str) -> Extracted:
    return read_epub(book({"c.xhtml": chapter(body)}))


def reason(data: bytes) -> str:
    with pytest.raises(UnreadableError) as error:
        read_epub(data)
    assert "\n" not in str(error.value)
    return str(error.value)


def labels(found: Extracted) -> dict[str, str]:
    """Return the first word of what begins at each mark, by its label."""
    assert [mark.start for mark in found.marks] == sorted({mark.start for mark in found.marks})
    return {mark.label: found.text[mark.start :].split()[0] for mark in found.marks}


@pytest.mark.parametrize("name", ["epub-pandoc.epub", "epub-pandoc-2.epub"])
def test_a_book_of_pandoc_gives_its_chapters(name: str) -> None:
    found = read_epub(sample(name))
    assert found.text.split("\n\n")[5:] == [
        "I. The first lamp",
        "The lamp on Gull Rock was lit for the first time on the ninth of October 1871.[1] Its keeper was Edda Rowe, "
        "a widow of thirty-four, who had kept the toll gate at Marren before.",
        "She wrote in her log every night. The log has 6,205 pages & no blot.",
        "The storm of 1874",
        "In the storm of 1874 the sea broke the lower door. Edda Rowe sent up",
        "three red rockets,\none white rocket,\nand her only umbrella.",
        "Two nights late, because the oil had been sent to Gull Point.",
        "II. The fog bell",
        "The fog bell was cast by Lorne & Sons. It weighs 612 kilograms, and it was rung by hand until 1902.",
        "Year | Hours of fog\n1899 | 411\n1900 | 387",
        "III. The last keeper",
        "Tobias Quill left the rock on 30 June 1968. He took the cat with him, and the bell stayed.",
    ]
    assert (found.unit, found.title) == ("chapter", "The Keepers of Gull Rock")
    assert [mark.label for mark in found.marks] == [
        "The Keepers of Gull Rock",
        "I. The first lamp",
        "I. The first lamp / The storm of 1874",
        "I. The first lamp",
        "II. The fog bell",
        "III. The last keeper",
    ]
    assert found.text[found.marks[3].start :].startswith("Two nights late")
    assert dict(found.metadata) == {
        "author": "Astrid Holm; Peter Vane",
        "date": "2018-03-01",
        "language": "en-GB",
        "subject": "Lighthouses",
        "publisher": "Kelp Lane Press",
    }


def test_a_book_of_libreoffice_gives_its_chapters() -> None:
    found = read_epub(sample("epub-libreoffice.epub"))
    assert labels(found) == {"Six hives and a lift": "Six", "The harvest": "The"}
    assert "night guard, Fenna Oduya.[1] They came up" in found.text
    assert "\n\n[1] A seventh was given to the school" in found.text
    assert "Summer | Jars of honey\n2019 | 212\n2020 | 87\n\nThe jars" in found.text
    assert (found.title, found.metadata["author"]) == ("Bees on the station roof", "Yusuf Karim")


def test_a_citation_names_the_chapter(tmp_path: Path, embedder: HashingEmbedder) -> None:
    cited = citation(tmp_path, embedder, "epub-pandoc.epub", "612 kilograms")
    assert (cited.quote, cited.unit, cited.mark, cited.format) == (
        "612 kilograms",
        "chapter",
        "II. The fog bell",
        "epub",
    )
    assert cited.sentence == "It weighs 612 kilograms, and it was rung by hand until 1902."
    assert cited.verified and cited.title == "The Keepers of Gull Rock"
    assert (cited.author, cited.date) == ("Astrid Holm; Peter Vane", "2018-03-01")


def test_all_blocks_of_a_chapter_are_text() -> None:
    menu = "<nav><p>Nav.</p></nav><aside><p>Aside.</p></aside><footer><p>Foot.</p></footer><form>Form.</form>"
    assert read(f"<p>A.</p>{menu}<p>B.<br/>C.</p>").text == "A.\n\nNav.\n\nAside.\n\nFoot.\n\nForm.\n\nB.\nC."
    assert (
        read("<p>漢<ruby>字<rp>(</rp><rt>じ</rt></ruby>&nbsp;&eacute;</p><script/><div/><p>x</p>").text == "漢字 é\n\nx"
    )
    assert read("<pre>\n a\n  b\n</pre><p> c\n  d</p>").text == " a\n  b\n\nc d"
    assert read("<p>a\0b</p>").text == "ab"
    assert read("<style><![CDATA[ p {} ]]></style><svg><title>Cover</title><text>t</text></svg><p>x").text == "x"


def test_links_to_notes_stand_in_brackets_and_links_back_are_left_out() -> None:
    assert read('<p>Lit.<sup><a href="#n1">1</a></sup> Dark.</p>').text == "Lit.[1] Dark."
    assert read('<p>Lit<sup><a href="#n1">1</a></sup>, dark.</p>').text == "Lit[1], dark."
    assert read('<p>Lit.<a href="n.xhtml#n1"><sup>(2)</sup></a></p>').text == "Lit.[2]"
    assert read('<p>Lit.<a epub:type="noteref" href="#n1">*</a></p>').text == "Lit.[*]"
    assert read('<p>See <a href="#c2">chapter 2</a>, 10<sup>6</sup>.</p>').text == "See chapter 2, 106."
    assert read('<p>A note.<a href="#r1" role="doc-backlink">↩</a></p>').text == "A note."
    assert read('<aside epub:type="footnote"><p><sup><a href="#r">3</a></sup>Why.</p></aside>').text == "[3] Why."


def test_tables_give_a_line_a_row_unless_they_are_there_for_the_layout() -> None:
    rows = "<tr><th><p>a</p></th><td><p>b</p><p>c</p></td></tr><tr><td/><td>d</td></tr>"
    assert read(f"<p>x</p><table><tbody>{rows}</tbody></table><p>y</p>").text == "x\n\na | b c\nd\n\ny"
    long = "word " * 210 + "end"
    assert read(f"<table><tr><td>{long}</td><td><p>x</p><p>y</p></td></tr></table>").text == f"{long}\n\nx\n\ny"
    assert read("<table><tr><td><p>One.</p><p>Two.</p></td></tr></table>").text == "One.\n\nTwo."
    assert read("<table><tr><td>unclosed").text == "unclosed"
    assert read("<table><tr><td>deep" * 30).text.count("deep") == 30


def test_rows_in_rows_are_put_together_up_to_a_depth(monkeypatch: pytest.MonkeyPatch) -> None:
    inner = "<table><tr><td>a</td><td>b</td></tr><tr><td>c</td><td>d</td></tr></table>"
    outer = f"<table><tr><td>x</td><td>{inner}</td></tr><tr><td>y</td></tr></table>"
    assert read(outer).text == "x | a | b c | d\ny"
    monkeypatch.setattr(epub_chapters, "_DEEPEST_ROW", 1)
    assert read(outer).text == "x | a | b | c | d\ny"


def test_chapters_begin_where_the_table_of_contents_points() -> None:
    files = {
        "front.xhtml": chapter("<p>Front.</p>"),
        "a%20b.xhtml": chapter(
            '<h1 id="p1">PART ONE</h1><h2 id="c1">1</h2><p>First.</p><p>Still <a id="c2"/>first.</p><h2>2</h2>'
            "<p>Second.</p>"
        ),
        "split.xhtml": chapter("<p>Going on.</p><p><a name='c\u00e9'>Three.</a></p><p id='c\u00e9'>Twice.</p>"),
        "last.xhtml": chapter("<h3>Epilogue</h3><p>End.</p>"),
    }
    below = entry("a%20b.xhtml#c1", "The <i>first</i>\n chapter") + entry("a%20b.xhtml#c2", "Two")
    entries = entry("a%20b.xhtml#p1", "Part one", below) + entry("split.xhtml#c%C3%A9", "Three")
    found = read_epub(with_navigation(files, entries))
    assert found.text == (
        "Front.\n\nPART ONE\n\n1\n\nFirst.\n\nStill first.\n\n2\n\nSecond.\n\nGoing on.\n\nThree.\n\nTwice.\n\nEpilogue"
        "\n\nEnd."
    )
    # An anchor in the midst of a paragraph does not tear it apart.
    assert labels(found) == {
        "Part one": "PART",
        "Part one / The first chapter": "1",
        "Part one / Two": "2",
        "Three": "Three.",
        "Epilogue": "Epilogue",
    }


def test_a_chapter_that_begins_in_a_table_begins_after_it() -> None:
    rows = '<tr><td><p>a</p><p id="c1">b</p></td><td>c</td></tr>'
    files = {"a.xhtml": chapter(f"<h1>Start</h1><table>{rows}</table><p>Then.</p>")}
    found = read_epub(with_navigation(files, entry("a.xhtml#c1", "One")))
    assert found.text == "Start\n\na b | c\n\nThen."
    assert found.marks == (Mark(16, "One"),)


NCX = """<ncx xmlns="http://www.daisy.org/z3986/2005/ncx/"><docTitle><text>No</text></docTitle><navMap>
<navPoint><navLabel><text>The Book</text></navLabel><content src="a.xhtml"/>
<navPoint><navLabel><text>One</text></navLabel><content src="b.xhtml"/>
<navPoint><navLabel><text>Day</text></navLabel><content src="b.xhtml#d"/></navPoint></navPoint></navPoint>
</navMap></ncx>"""


@pytest.mark.parametrize("kind", ["application/x-dtbncx+xml", "text/xml"])
def test_the_contents_of_an_old_book_are_in_an_ncx(kind: str) -> None:
    files = {"a.xhtml": chapter("<p>Title."), "b.xhtml": chapter("<p>One.</p><p id='d'>Day.")}
    item = f'<item id="contents" href="contents.xml" media-type="{kind}"/>'
    data = book(files, items=item, metadata="<dc:title>The Book</dc:title>", OPS__contents=NCX)
    opf = members_of(data)["OPS/book.opf"].decode()
    opf = opf if kind.startswith("app") else opf.replace("<spine>", '<spine toc="contents">')
    found = read_epub(repacked(data, {"OPS/book.opf": opf}))
    assert labels(found) == {"The Book": "Title.", "One": "One.", "One / Day": "Day."}


def test_what_is_in_the_spine_but_no_text_is_left_out() -> None:
    data = with_navigation({"a.xhtml": chapter("<p>One.")}, entry("a.xhtml", "First") + entry("b.xhtml", "word " * 200))
    opf = members_of(data)["OPS/book.opf"].decode()
    opf = opf.replace("<spine>", '<spine><itemref idref="nav"/><itemref idref="picture"/><itemref idref="gone"/>')
    opf = opf.replace("</manifest>", '<item id="picture" href="p.svg" media-type="image/svg+xml"/></manifest>')
    found = read_epub(repacked(data, {"OPS/book.opf": opf, "OPS/p.svg": "<p>Picture</p>"}))
    assert found.text == "One."


def test_an_entry_whose_anchor_is_missing_means_the_beginning_of_its_file() -> None:
    files = {"a.xhtml": chapter("<p>One.</p>"), "b.xhtml": chapter("<p>Two.</p>")}
    entries = entry("a.xhtml#gone", "First") + entry("b.xhtml#gone", "Second") + entry("c.xhtml", "No file")
    assert labels(read_epub(with_navigation(files, entries))) == {"First": "One.", "Second": "Two."}


def test_small_mistakes_in_the_xml_of_a_book_do_no_harm() -> None:
    files = {"a.xhtml": "<p>One<p>&nbsp;&bogus;two</i></p>"}
    data = with_navigation(files, entry("a.xhtml", "Fish&nbsp;&amp; R&D"), "<dc:title>Fish & Chips</dc:title>")
    found = read_epub(data)
    assert found.text == "One\n\n&bogus;two"
    assert found.title.startswith("Fish") and found.marks[0].label.startswith("Fish")


def test_a_title_above_all_entries_is_in_no_label() -> None:
    files = {"a.xhtml": chapter("<p>One.</p>")}
    entries = entry("a.xhtml", "The Book", entry("a.xhtml", "First"))
    found = read_epub(with_navigation(files, entries, "<dc:title>The Book</dc:title>"))
    assert found.marks == (Mark(0, "First"),)
    files = {"t.xhtml": chapter("<p>Title.</p>")} | files
    entries = entry("t.xhtml", "The Book", entry("a.xhtml", "First"))
    found = read_epub(with_navigation(files, entries, "<dc:title>The Book</dc:title>"))
    assert labels(found) == {"The Book": "Title.", "First": "One."}


def test_parts_of_pictures_only_name_what_follows() -> None:
    files = {"p.xhtml": chapter('<img src="x.png" alt="x"/>'), "a.xhtml": chapter("<p>One.</p>")}
    assert read_epub(with_navigation(files, entry("p.xhtml", "Part one"))).marks == (Mark(0, "Part one"),)


def test_without_a_table_of_contents_chapters_are_named_by_their_headings() -> None:
    files = {"a.xhtml": chapter("<h2>One <br/> day</h2><h1>No</h1><p>a"), "b.xhtml": chapter("<p>b")}
    assert labels(read_epub(book(files))) == {"One day": "One"}


def test_cover_and_contents_are_left_out_but_not_a_chapter_that_is_called_so() -> None:
    links = "".join(f'<p><a href="c.xhtml#{n}">Chapter {n} of this book</a></p>' for n in range(60))
    long = "<p>" + "The tide was late. " * 40 + "</p>"
    files = {"cover.xhtml": chapter("<p>A cover</p>"), "toc.xhtml": chapter(links), "c.xhtml": chapter(long)}
    guide = '<reference type="cover" href="cover.xhtml"/><reference type="toc" href="toc.xhtml#top"/>'
    assert read_epub(book(files, guide=guide)).text.startswith("The tide")
    guide = '<reference type="text" href="cover.xhtml"/>'
    assert read_epub(book(files, guide=guide)).text.startswith("A cover\n\nChapter 0")
    guide = '<reference type="cover" href="c.xhtml"/><reference type="toc" href="c.xhtml#toc"/>'
    assert read_epub(book(files, guide=guide)).text.endswith("The tide was late.")


def test_metadata_is_that_of_the_book_and_not_of_its_file() -> None:
    given = (
        "<dc:title> The\n Book </dc:title><dc:title>A subtitle</dc:title>"
        '<dc:creator opf:role="ill">P. Inter</dc:creator>'
        '<dc:creator opf:role="aut">A. Uthor</dc:creator><dc:creator id="t">T. Rans</dc:creator>'
        '<meta refines="#t" property="role">trl</meta><dc:date opf:event="modification">2020-01-02</dc:date>'
        '<dc:date opf:event="publication">1999</dc:date><dc:subject>Tides</dc:subject><dc:subject>Boats</dc:subject>'
        "<dc:identifier>urn:isbn:1</dc:identifier><dc:identifier>https://example.org/b</dc:identifier>"
        "<dc:language>de</dc:language>"
    )
    found = read_epub(book({"c.xhtml": chapter("<p>x")}, metadata=given))
    assert found.title == "The Book"
    assert dict(found.metadata) == {
        "author": "A. Uthor",
        "date": "1999",
        "language": "de",
        "subject": "Tides; Boats",
        "url": "https://example.org/b",
    }
    dates = "<dc:date>2005-05</dc:date><dc:date opf:event='publication'>1999</dc:date>"
    addresses = "<dc:source>http://a.example</dc:source><dc:identifier>http://b.example</dc:identifier>"
    found = read_epub(book({"c.xhtml": chapter("<p>x")}, metadata=dates + addresses))
    assert dict(found.metadata) == {"date": "1999", "url": "http://b.example"}
    assert (found.title, found.unit, found.marks) == ("", "", ())
    other = "<dc:date opf:event='modification'>2005</dc:date><dc:source>http://a.example</dc:source>"
    assert dict(read_epub(book({"c.xhtml": chapter("<p>x")}, metadata=other)).metadata) == {"url": "http://a.example"}
    never = "<dc:date>0101-01-01T00:00:00+00:00</dc:date><dc:creator opf:role='edt'>E. Ditor</dc:creator>"
    assert dict(read_epub(book({"c.xhtml": chapter("<p>x")}, metadata=never)).metadata) == {"author": "E. Ditor"}


def test_chapters_in_other_encodings_are_read() -> None:
    text = "<p>Das Café in Łódź.</p>"
    files = {
        "a.xhtml": f"<?xml version='1.0' encoding='iso-8859-2'?><html>{text}".encode("iso-8859-2", "replace"),
        "b.xhtml": f"<?xml version='1.0' encoding='utf-16'?><html>{text}".encode("utf-16"),
        "c.xhtml": "<p>Das Café.</p>".encode("cp1252"),
    }
    assert read_epub(book(files)).text == "Das Café in Łódź.\n\nDas Café in Łódź.\n\nDas Café."


ENCRYPTION = """<encryption xmlns="urn:oasis:names:tc:opendocument:xmlns:container">
<EncryptedData xmlns="http://www.w3.org/2001/04/xmlenc#"><EncryptionMethod Algorithm="{}"/><CipherData>
<CipherReference URI="{}"/></CipherData></EncryptedData></encryption>"""


def test_a_protected_book_says_so_and_obfuscated_fonts_are_no_protection() -> None:
    files = {"c%20d.xhtml": chapter("<p>Text.")}
    locked = ENCRYPTION.format("http://www.w3.org/2001/04/xmlenc#aes128-cbc", "OPS/c%20d.xhtml")
    assert reason(book(files, **{"META-INF__encryption": locked})) == "protected by DRM: its chapters are encrypted"
    fonts = ENCRYPTION.format("http://www.idpf.org/2008/embedding", "OPS/c%20d.xhtml")
    assert read_epub(book(files, **{"META-INF__encryption": fonts})).text == "Text."
    pictures = ENCRYPTION.format("http://www.w3.org/2001/04/xmlenc#aes128-cbc", "OPS/x.png")
    assert read_epub(book(files, **{"META-INF__encryption": pictures})).text == "Text."


def test_chapters_that_cannot_be_read_are_told_of_and_the_others_are_read() -> None:
    files: dict[str, str | bytes] = {f"{n}.xhtml": b"\0\1\2\3" * 99 for n in range(8)}
    found = read_epub(book({"a.xhtml": "<p>Text."} | files))
    assert found.text == "Text."
    assert found.notes[0] == "OPS/0.xhtml in it is not read: binary"
    assert found.notes[5:] == ("3 more files in it are not read",)
    assert reason(book(files)) == "OPS/0.xhtml in it is not read: binary"


LAUGHS = "<!DOCTYPE a [<!ENTITY a0 'ha'>" + "".join(
    f"<!ENTITY a{n} '{f'&a{n - 1};' * 10}'>" for n in range(1, 12)
) + "]>"  # fmt: skip

DAMAGED = {
    "text": (b"A book.", "not an EPUB book: no zip archive"),
    "cut": (sample("epub-pandoc.epub")[:3000], "damaged, or cut short"),
    "encrypted": (encrypted(sample("epub-pandoc.epub")), "encrypted with a password"),
    "a Word document": (
        sample("docx-pandoc.docx"),
        "not an EPUB book, or damaged: it has no META-INF/container.xml",
    ),
    "empty container": (
        repacked(sample("epub-pandoc.epub"), {"META-INF/container.xml": ""}),
        "damaged: META-INF/container.xml in it is no XML",
    ),
    "container of nothing": (
        repacked(sample("epub-pandoc.epub"), {"META-INF/container.xml": "<container/>"}),
        "not an EPUB book, or damaged: its META-INF/container.xml names no book",
    ),
    "no package": (
        repacked(sample("epub-pandoc.epub"), {"EPUB/content.opf": None}),
        "not an EPUB book, or damaged: it has no EPUB/content.opf",
    ),
    "no chapter": (
        repacked(sample("epub-libreoffice.epub"), {f"OEBPS/sections/section000{n}.xhtml": None for n in (1, 2)}),
        "OEBPS/sections/section0001.xhtml in it is not read: not an EPUB book, or damaged: it has no "
        "OEBPS/sections/section0001.xhtml",
    ),
    "a bomb": (
        book({"c.xhtml": "<p>x" + " " * 5_000_000}),
        "OPS/c.xhtml in it is not read: OPS/c.xhtml in it unpacks to over 200 times its size, as no document does",
    ),
    "a large package": (
        repacked(sample("epub-pandoc.epub"), {"EPUB/content.opf": "<a/>" + " " * (17 << 20)}),
        "EPUB/content.opf in it unpacks to 18 MB; the limit is 16 MiB",
    ),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_book_that_cannot_be_read_says_why(kind: str) -> None:
    data, expected = DAMAGED[kind]
    assert reason(data) == expected


def test_what_a_book_unpacks_to_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    data = book({f"{n}.xhtml": f"<p>{n}</p>" * 500 for n in range(9)})
    monkeypatch.setattr(epub, "_MOST_EVENTS", 5_000)
    assert reason(data) == "more than 5,000 tags and pieces of text"
    monkeypatch.setattr(epub, "_MOST_EVENTS", 500_000)
    monkeypatch.setattr(epub, "_MOST_TEXT", 3_000)
    assert reason(data) == "more than 3,000 characters"
    monkeypatch.setattr(epub, "_MOST_TEXT", 300_000)
    monkeypatch.setattr(zipped, "_MOST_UNPACKED", 12_000)
    assert "it unpacks to more than 0 MiB" in read_epub(data).notes[0]


def test_entities_and_files_outside_are_never_read() -> None:
    title = "<dc:title xmlns:dc='http://purl.org/dc/elements/1.1/'>{}</dc:title>"
    for declaration, name in ((LAUGHS, "a11"), ("<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]>", "b")):
        opf = members_of(book({"c.xhtml": chapter(f"<p>Text. &{name};")}))["OPS/book.opf"].decode()
        opf = declaration + opf.replace("<metadata>", f"<metadata>{title.format(f'x &{name};')}")
        members = members_of(book({"c.xhtml": declaration + chapter(f"<p>Text. &{name};")})) | {
            "OPS/book.opf": opf.encode()
        }
        with suppress(UnreadableError):
            found = read_epub(packed(members))
            assert "root:" not in found.text + found.title and "haha" not in found.text + found.title


def test_a_file_that_the_book_names_twice_is_read_once() -> None:
    data = book({"c.xhtml": "<p>Text."})
    opf = members_of(data)["OPS/book.opf"].decode()
    opf = opf.replace('<itemref idref="i0"/>', '<itemref idref="i0"/>' * 1000)
    assert read_epub(repacked(data, {"OPS/book.opf": opf})).text == "Text."


def test_no_damage_is_a_traceback() -> None:
    chance = random.Random(11)
    members = members_of(sample("epub-pandoc.epub"))
    for _ in range(80):
        name = chance.choice([name for name in members if name.endswith(("xhtml", "opf", "ncx", "container.xml"))])
        content = spoiled(members[name], chance, [b"", b"<tr>", b"&x;", b"\0", b'"', b"<"])
        with suppress(UnreadableError):
            read_epub(packed(members | {name: content}))
