"""Mail: what its sender wrote is the text, and what is attached is read like files."""

from __future__ import annotations

import io
import os
from email.message import EmailMessage
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pincite.index import mail as mail_module
from pincite.index.extracted import Part
from pincite.index.letter import own_first, unflowed
from pincite.index.mail import read_eml, read_mbox
from pincite.index.mime import decoded_header, parse_mail
from pincite.index.walk import Skipped
from tests.conftest import HashingEmbedder
from tests.index.containers import assert_bears_damage, cited, documents, read, some_and_many, synced
from tests.index.sample_files import sample

IDS = [f"2021-02-0{n}.harbour@example.org" for n in (1, 2, 3)]


def letter(data: bytes | str) -> Part:
    """Return the one mail in a file."""
    parts, skipped = read(read_eml, data.encode() if isinstance(data, str) else data, "a.eml")
    assert skipped == [] and list(parts) == [""]
    return parts[""]


def text(data: bytes | str) -> str:
    return letter(data).extracted.text


def mailbox(*bodies: str, headers: str = "") -> bytes:
    return "".join(
        f"From jane@example.org Mon Feb  1 09:31:00 2021\nSubject: Mail {n}\n{headers}\n{body}\n\n"
        for n, body in enumerate(bodies, 1)
    ).encode()


def test_a_mailbox_has_a_document_for_each_mail_and_each_file_attached() -> None:
    parts, skipped = read(read_mbox, sample("mail-harbour.mbox"), "box.mbox")
    assert skipped == []
    assert list(parts) == [*IDS, f"{IDS[2]}#minutes.txt", "4"]
    first = parts[IDS[0]].extracted
    assert first.title == "Crane: who pays for the repair?"
    assert dict(first.metadata) == {
        "author": "Jane Roe",
        "from": "Jane Roe <jane.roe@example.org>",
        "date": "2021-02-01T09:31:00+01:00",
        "to": "Harbour board <board@example.org>",
    }
    assert first.text == (
        "Dear all,\n\nthe crane on the north quay stands still since Friday. The repair costs 7,400 crowns.\n"
        "From what I hear, a gear is broken.\n\n-- \nJane Roe\nHarbour office"
    )
    assert parts[f"{IDS[2]}#minutes.txt"].extracted.text.startswith("Minutes\n\nThe board chose a new treasurer")
    assert parts[f"{IDS[2]}#minutes.txt"].format == "text"
    assert "to 26 degrees." in parts["4"].extracted.text and "<" not in parts["4"].extracted.text


def test_what_is_quoted_at_the_beginning_comes_after_what_was_written() -> None:
    answer = read(read_mbox, sample("mail-harbour.mbox"), "box.mbox")[0][IDS[1]].extracted
    assert answer.text.startswith("The insurance pays for it. I spoke to Mr Løvås, who sends an engineer on Thursday.")
    assert answer.text.endswith("On 1 February Jane Roe wrote:\n> the crane on the north quay stands still since "
                                "Friday. The repair costs\n> 7,400 crowns.")  # fmt: skip
    assert answer.metadata["author"] == "Bjørn Aas"
    between = "Hello,\n\nyou asked:\n\n> When?\n\nAt noon.\n\n> Where?\n\nHere."
    assert own_first(between) == between  # answers to questions one by one
    assert own_first("Hello,\nthe harbour is closed:\nice.\n\n> Open?\n\nNo.").startswith("Hello,")
    assert own_first("> all of it\n> is quoted\n") == "> all of it\n> is quoted\n"


def test_mails_begin_at_their_lines_and_offsets() -> None:
    data = sample("mail-harbour.mbox")
    for part in read(read_mbox, data, "box.mbox")[0].values():
        assert data[part.offset :].startswith(b"From MAILER-DAEMON ")
        assert data[: part.offset].count(b"\n") + 1 == part.line


def test_an_eml_file_is_a_document_under_its_own_path() -> None:
    parts, skipped = read(read_eml, sample("mail-minutes.eml"), "minutes.eml")
    assert skipped == [] and list(parts) == ["", "minutes.txt"]
    assert parts[""].extracted.text == "The minutes are attached."  # not once more in HTML
    assert "Ingrid Moe" in parts["minutes.txt"].extracted.text
    box = sample("mail-harbour.mbox")
    assert text(box[box.index(b"From: news") :]).endswith("26 degrees.")
    assert text(box[: box.index(b"\n\nFrom MAILER", 20)]).endswith("Harbour office")  # with its "From " line


def test_plain_text_is_preferred_wherever_there_is_some() -> None:
    def multipart(kind: str, *parts: str) -> str:
        inner = "".join(f"--b\nContent-Type: {part}\n" for part in parts)
        return f"Subject: s\nContent-Type: multipart/{kind}; boundary=b\n\n{inner}--b--\n"

    page = "text/html\n\n<p>A page of <b>tides</b>.</p>"
    assert text(multipart("alternative", page, "text/plain\n\nPlain tides.")) == "Plain tides."
    assert text(multipart("alternative", "text/plain\n\n \n", page)) == "A page of tides."
    assert text(multipart("mixed", "text/plain\n\nFirst.", "text/plain\n\nFooter of the list.")) == (
        "First.\n\nFooter of the list."
    )
    assert text(multipart("mixed", "image/png\n\nxyz", "text/plain\n\nBelow a picture.")) == "Below a picture."


@pytest.mark.parametrize(
    ("headers", "body", "expected"),
    [
        ("Content-Transfer-Encoding: base64", b"w4Bww6lyaXRpZg==", "Àpéritif"),
        ("Content-Transfer-Encoding: BASE64", b"w4Bww6\n lyaXRpZg", "Àpéritif"),
        ("Content-Transfer-Encoding: quoted-printable", b"Caf=C3=A9 so=\n long", "Café so long"),
        ("Content-Transfer-Encoding: quoted-printable", b"50 =% =zz =", "50 =% =zz"),
        ("Content-Type: text/plain; charset=koi8-r", "Причал".encode("koi8_r"), "Причал"),
        ('Content-Type: text/plain; charset="iso-8859-1"', b"\x93Caf\xe9\x94", "“Café”"),
        ("Content-Type: text/plain; charset=us-ascii", "Café, naïve".encode(), "Café, naïve"),
        ("Content-Type: text/plain; charset=no-such", "Café, naïve".encode(), "Café, naïve"),
        ("Content-Type: text/plain; charset=idna", b"xn--caf-dma", "xn--caf-dma"),
        ("Content-Type: text/plain; charset=hex", b"4142", "4142"),
        ("Content-Type: text/html; charset=cp1252", b"<meta charset=utf-8><p>Caf\xe9 noir", "Café noir"),
        ("Content-Type: text/plain; format=flowed", b"One \ntwo\n\n  three\n-- \nme", "One two\n\n three\n-- \nme"),
        ("Content-Type: text/plain; format=flowed; delsp=yes", b"One \ntwo", "Onetwo"),
        ("Content-Type: application/octet-stream", b"xyz", "s"),
        ("Content-Type: multipart/mixed", b"no boundary", "no boundary"),
        ("Content-Type: multipart/mixed; boundary=x", b"--y\n\nwrong boundary\n--y--", "wrong boundary"),
        ("Content-Type: multipart/mixed; boundary=x", b"preamble\n--x\n\nno end", "no end"),
        ("Content-Type: ;;;=; charset", b"broken header", "broken header"),
        ("Content-Type: text/plain; charset*0*=utf-8''%zz", b"broken parameter", "broken parameter"),
    ],
)
def test_a_body_is_decoded_as_its_headers_say_or_as_it_can_be(headers: str, body: bytes, expected: str) -> None:
    assert text(b"Subject: s\n" + headers.encode() + b"\n\n" + body).strip() == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Plain words", "Plain words"),
        ("=?utf-8?q?Caf=C3=A9?= at =?iso-8859-1?b?bm/rbA==?=", "Café at noël"),
        ("=?utf-8?b?0J/RgNC40Yc=?= =?utf-8?b?0LDQuw==?=", "Причал"),
        ("=?utf-8*en?q?Caf=C3=A9?=", "Café"),
        ("=?no-such?q?Caf=C3=A9?=", "Café"),
        ("=?utf-8?b?!!!?=", "=?utf-8?b?!!!?="),
        ("=?utf-8?q?broken", "=?utf-8?q?broken"),
    ],
)
def test_headers_are_decoded(value: str, expected: str) -> None:
    assert decoded_header(value) == expected
    assert letter(f"Subject: {value}\n\nbody").extracted.title == expected


def test_headers_are_taken_as_they_are_meant_where_they_are_broken() -> None:
    long = letter("Subject: one\n two\n\tthree\nSubject: again\nnonsense\n : x\nFrom:\nDate: noon\n\nbody").extracted
    assert (long.title, dict(long.metadata)) == ("one two three", {"date": "noon"})
    raw = letter("From: Zoë <zoe@example.org\nSubject: Café\n\nbody".encode()).extracted
    assert raw.title == "Café" and raw.metadata["author"].startswith("Zoë")
    assert letter(f"From: {'(' * 50_000}\n\nbody").extracted.metadata["author"].startswith("(((")
    assert letter("From: jane@example.org\n\nbody").extracted.metadata == {"author": "jane@example.org"}
    dated = letter("From: J\nDate: Thu, 4 Mar 2021 10:15:00 +0000 (GMT)\n\nbody").extracted
    assert dated.metadata["date"] == "2021-03-04T10:15:00+00:00"
    assert letter("From: J\nDate: 4 March 2021\n\nbody").extracted.metadata["date"].startswith("2021-03-04")


def test_paragraphs_of_flowed_text_are_joined_at_each_depth_of_quotation() -> None:
    flowed = "> The ferry \n> leaves.\n>> When \n>> then?\nAt \nnoon. \n> Thanks"
    assert unflowed(flowed) == "> The ferry leaves.\n>> When then?\nAt noon. \n> Thanks"


def test_what_is_no_mail_is_reported() -> None:
    for data in (b"", b"\n\n", b"just text\n", b"key: value\n\nno mail", b"\0\1\2" * 100):
        assert read(read_eml, data, "a.eml") == (
            {}, [Skipped("a.eml", "not an e-mail: it has no header such as From or Subject")]
        )  # fmt: skip
    parts, (skipped,) = read(read_mbox, b"Subject: s\n\nbody", "b.mbox")
    assert parts == {} and skipped.path == "b.mbox" and skipped.reason.startswith("not a mailbox")
    assert read(read_mbox, b"", "b.mbox") == ({}, [])


def test_only_a_line_that_begins_a_mail_begins_one() -> None:
    body = "\nFrom the pier you see the island.\n\n>From here on it is quoted.\nFrom a@b Mon Feb 1 10:00:00 2021"
    parts, skipped = read(read_mbox, mailbox(body, "Second."), "b.mbox")
    assert list(parts) == ["1", "2"] and skipped == []
    assert parts["1"].extracted.text == body.replace(">From", "From").strip()


def test_mails_without_an_id_of_their_own_are_numbered() -> None:
    parts, _ = read(read_mbox, mailbox("One.", "Two.", headers="Message-ID: <same@example.org>\n"), "b.mbox")
    assert list(parts) == ["same@example.org", "2"]
    for name in ("17", "a#b", "a b", "x" * 300):
        assert list(read(read_mbox, mailbox("One.", headers=f"Message-ID: <{name}>\n"), "b.mbox")[0]) == ["1"]


def test_the_hash_of_a_mail_is_that_of_its_bytes_wherever_it_stands() -> None:
    alone, among = mailbox("Two."), mailbox("Two.") + mailbox("One.", "Three.")
    first = read(read_mbox, alone, "b.mbox")[0]["1"]
    for data in (among, alone.rstrip(b"\n"), alone.replace(b"\n", b"\r\n")):
        assert read(read_mbox, data, "b.mbox")[0]["1"].sha256 == first.sha256
    assert read(read_mbox, mailbox("Tw0."), "b.mbox")[0]["1"].sha256 != first.sha256


def test_attached_files_are_read_by_their_names() -> None:
    message = EmailMessage()
    message["Subject"] = "Papers"
    message.set_content("See below.")
    message.add_attachment("Tides\n\nThe tide turns at six.\n", filename="../Flut & Ebbe ü.txt")
    message.add_attachment("a,b\n1,2\n3,4\n", subtype="csv", filename="t.csv")
    message.add_attachment("Again.", filename="t.csv")
    message.add_attachment(b"MZ", maintype="application", subtype="octet-stream", filename="virus.exe")
    forwarded = EmailMessage()
    forwarded["Subject"] = "Inner"
    forwarded.set_content("Forwarded words.")
    forwarded.add_attachment("Deep.", filename="deep.txt")
    message.add_attachment(forwarded)
    parts, skipped = read(read_eml, bytes(message), "a.eml")
    assert skipped == []
    assert {record: part.format for record, part in parts.items()} == {
        "": "", "Flut & Ebbe ü.txt": "text", "t.csv#2": "csv", "t.csv#3": "csv", "t (2).csv#1": "csv",
        "message.eml": "eml", "message.eml#deep.txt": "text",
    }  # fmt: skip
    assert parts["message.eml"].extracted.title == "Inner"


def test_mails_in_mails_are_read_to_a_depth() -> None:
    data = b"Subject: 0\n\nThe innermost."
    for n in range(1, 8):
        data = b"Subject: %d\nContent-Type: message/rfc822\n\n" % n + data
    parts, skipped = read(read_eml, data, "a.eml")
    assert len(parts) == 5 and [item.reason for item in skipped] == ["a mail in 4 others; so deep none is opened"]


def test_parts_without_number_or_end_are_cut_off() -> None:
    many = "Subject: s\nContent-Type: multipart/mixed; boundary=b\n\n" + "--b\n\nx\n" * 5_000
    parts, (skipped,) = read(read_eml, many.encode(), "a.eml")
    assert "not all of them" in skipped.reason and parts[""].extracted.text.count("x") < 600
    deep = "".join(f"Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n" for n in range(3_000))
    _, (skipped,) = read(read_eml, f"Subject: s\n{deep}\n\nx".encode(), "a.eml")
    assert "not all of them" in skipped.reason


def test_the_end_of_an_enormous_mail_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mail_module, "_LARGEST", 10_000)
    data = sample("mail-minutes.eml").replace(b"\r\n", b"\n")
    big = data + b"x" * 76 + b"\n"
    big += (b"y" * 76 + b"\n") * 1_000
    for reader, whole in ((read_eml, big), (read_mbox, b"From x 10:00\n" + big + b"\n" + mailbox("Next."))):
        parts, skipped = read(reader, whole, "a")
        assert next(iter(parts.values())).extracted.text.startswith("The minutes are attached.")
        assert "larger than" in skipped[0].reason and not any("minutes.txt" in record for record in parts)
        other = read(reader, whole.replace(b"y\n", b"z\n", 1), "a")[0]
        assert next(iter(other.values())).sha256 != next(iter(parts.values())).sha256
    assert [part.extracted.text for part in parts.values()][-1] == "Next."


def test_a_hole_of_terabytes_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mail_module, "_MOST_PASSED", 40 << 20)
    for name, reader in (("a.eml", read_eml), ("b.mbox", read_mbox)):
        path = tmp_path / name
        path.write_bytes(mailbox("One."))
        os.truncate(path, 1 << 40)
        with path.open("rb") as stream:
            reasons = [item.reason for item in reader(stream, name) if isinstance(item, Skipped)]
        assert any("GiB" in reason for reason in reasons)


@some_and_many
@pytest.mark.parametrize("name", ["mail-harbour.mbox", "mail-minutes.eml"])
def test_a_damaged_mail_gives_what_is_left_of_it(name: str, count: int) -> None:
    assert_bears_damage(read_mbox if name.endswith("mbox") else read_eml, sample(name), name, count)


# fmt: off
PIECES = [
    "From a 10:00\n", "\n", "Subject: s\n", "Content-Type: ", "multipart/mixed; boundary=b\n", "--b", "--", "=?", "?=",
    "text/html\n", "; charset=", "utf-7", "base64\n", "Content-Transfer-Encoding: ", "quoted-printable\n", "é", "(",
    '"', "<", ">", "=", ";", "Date: 1\n", "From: ", "Message-ID: <a>\n", "message/rfc822\n", "\r", "\0",
]
HEADERS = [
    "From: ", "Subject: ", "Date: ", "Content-Type: multipart/mixed; boundary=", "Content-Disposition: x; filename*0=",
    "Content-Type: multipart/mixed; boundary=b\n\n",
]
HARMFUL = ["=?utf-8?q?", "<", "(", ";a=", ';a="', "\n ", "--b\n", "Content-Type: x\n", "=", ",", "%", "'"]
# fmt: on


@given(st.lists(st.sampled_from(PIECES), max_size=40))
def test_no_bytes_are_an_error(pieces: list[str]) -> None:
    data = "".join(pieces).encode()
    for reader in (read_eml, read_mbox):
        list(reader(io.BytesIO(data), "a"))
    parse_mail(data)


@pytest.mark.parametrize("piece", HARMFUL)
@pytest.mark.parametrize("before", HEADERS)
def test_mails_made_to_harm_take_time_in_proportion(before: str, piece: str) -> None:
    list(read_eml(io.BytesIO(f"To: x\n{before}{piece * (100_000 // len(piece))}".encode()), "a.eml"))


def test_a_mail_is_cited_and_a_change_of_it_is_noticed(tmp_path: Path, embedder: HashingEmbedder) -> None:
    path = tmp_path / "box.mbox"
    path.write_bytes(sample("mail-harbour.mbox"))
    index = synced(tmp_path, path, embedder)
    citation = cited(index, IDS[1], "The insurance pays for it.")
    assert (citation.verified, citation.author, citation.date[:10]) == (True, "Bjørn Aas", "2021-02-02")
    assert citation.path.endswith(f"box.mbox#{IDS[1]}") and citation.format == "mbox"
    assert cited(index, f"{IDS[2]}#minutes.txt", "Ingrid Moe").verified
    path.write_bytes(mailbox("A new one.") + sample("mail-harbour.mbox").replace(b"The insurance", b"The museum"))
    assert cited(index, IDS[1], "The insurance").problem == "it has changed since it was indexed"
    moved = cited(index, IDS[0], "7,400 crowns")
    assert moved.verified and moved.line == 6
    assert cited(index, "4", "26 degrees").verified  # it is the fifth now
    assert cited(index, f"{IDS[2]}#minutes.txt", "Ingrid Moe").verified
    path.write_bytes(mailbox("Only this."))
    assert cited(index, IDS[0], "7,400 crowns").problem == "it is no longer in its file"


def test_only_changed_mails_are_embedded(tmp_path: Path, embedder: HashingEmbedder) -> None:
    path = tmp_path / "box.mbox"
    path.write_bytes(sample("mail-harbour.mbox"))
    synced(tmp_path, path, embedder)
    embedder.embedded.clear()
    path.write_bytes(sample("mail-harbour.mbox").replace(b"7,400=", b"7,500=") + mailbox("A new one."))
    index = synced(tmp_path, path, embedder)
    assert index.report is not None and (index.report.changed, index.report.added, index.report.unchanged) == (1, 1, 4)
    assert len(embedder.embedded) == 2
    assert documents(index)["5"].text == "A new one."


def test_an_attached_file_is_verified_with_its_mail(tmp_path: Path, embedder: HashingEmbedder) -> None:
    path = tmp_path / "minutes.eml"
    path.write_bytes(sample("mail-minutes.eml"))
    index = synced(tmp_path, path, embedder)
    assert cited(index, "minutes.txt", "310 crowns").verified and cited(index, "", "attached").verified
    path.write_bytes(sample("mail-minutes.eml").replace(b"Ingrid", b"Astrid"))
    assert not cited(index, "minutes.txt", "310 crowns").verified and not cited(index, "", "attached").verified
    path.write_bytes(sample("mail-minutes.eml").replace(b"crane.png", b"cranE.png"))
    assert cited(index, "minutes.txt", "310 crowns").verified and not cited(index, "", "attached").verified
