"""Archives: what is in them is read like files of a folder, and nothing in them can do harm."""

from __future__ import annotations

import gzip
import io
import os
import random
import shutil
import struct
import subprocess
import tarfile
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from pincite.index import archives, members, webpages
from pincite.index.archives import read_gz, read_tar, read_zip
from pincite.index.extracted import Extracted, Part
from pincite.index.formats import FORMATS, Format
from pincite.index.members import safe_name
from pincite.index.walk import Skipped
from tests.conftest import HashingEmbedder
from tests.index.containers import Reader, assert_bears_damage, cited, documents, read, some_and_many, synced
from tests.index.sample_files import sample

TEXT = b"The lighthouse was lit in 1893. Its keeper was Ida Moss.\n"


def zipped(*files: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", method) as archive:
        for name, content in files:
            archive.writestr(zipfile.ZipInfo(name) if method != zipfile.ZIP_DEFLATED else name, content, method)
    return data.getvalue()


def tarred(*files: tuple[str, bytes], form: int = tarfile.PAX_FORMAT, mode: str = "w") -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode=mode, format=form) as archive:  # type: ignore[call-overload]
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return data.getvalue()


def tar_gz(*files: tuple[str, bytes]) -> bytes:
    return gzip.compress(tarred(*files))


ARCHIVERS: dict[str, tuple[Reader, Callable[..., bytes]]] = {
    "a.zip": (read_zip, zipped),
    "a.tar": (read_tar, tarred),
    "a.tgz": (read_tar, tar_gz),
}


@pytest.fixture(params=ARCHIVERS)
def archiver(request: pytest.FixtureRequest) -> tuple[str, Reader, Callable[..., bytes]]:
    return (request.param, *ARCHIVERS[request.param])


Archiver = tuple[str, Reader, Callable[..., bytes]]


def texts(reader: Reader, data: bytes, path: str) -> dict[str, str]:
    parts, skipped = read(reader, data, path)
    assert skipped == []
    return {record: part.extracted.text for record, part in parts.items()}


def reasons(reader: Reader, data: bytes, path: str) -> dict[str, str]:
    parts, skipped = read(reader, data, path)
    assert parts == {}
    return {item.path: item.reason for item in skipped}


def test_members_of_a_zip_archive_are_read_by_their_kinds() -> None:
    parts, skipped = read(read_zip, sample("zip-papers.zip"), "papers.zip")
    assert skipped == [Skipped("papers.zip#link.html", "a link, not a file")]
    assert {record: part.format for record, part in parts.items()} == {
        **{f"mail-harbour.mbox#2021-02-0{n}.harbour@example.org": "mbox" for n in (1, 2, 3)},
        "mail-harbour.mbox#2021-02-03.harbour@example.org#minutes.txt": "text",
        "mail-harbour.mbox#4": "mbox",
        **{f"csv-ferries.csv#{n}": "csv" for n in (2, 3, 4, 5, 6)},
        "inner/mill.md": "markdown",
        "bell.html": "html",
    }
    assert parts["inner/mill.md"].extracted.title == "The tide mill"
    assert "430 kilograms" in parts["bell.html"].extracted.text
    assert parts["csv-ferries.csv#5"].line == 5


def test_members_of_a_compressed_tar_archive_are_read_by_their_kinds() -> None:
    parts, skipped = read(read_tar, sample("tar-papers.tar.gz"), "papers.tar.gz")
    assert skipped == [Skipped("papers.tar.gz#link.html", "a link, not a file")]
    assert list(parts) == ["inner/mill.md", "bell.html", *(f"csv-ferries.csv#{n}" for n in (2, 3, 4, 5, 6))]
    assert texts(read_tar, tarred(("a.txt", TEXT)), "a.tar.gz") == {"a.txt": TEXT.decode()}  # it goes by content


def test_the_file_in_a_gz_file_is_read_under_the_path_of_that() -> None:
    assert texts(read_gz, gzip.compress(TEXT), "notes.txt.gz") == {"": TEXT.decode()}
    (part,) = read(read_gz, gzip.compress(b"# Title\n\ntext"), "a/b#notes.md.gz")[0].values()
    assert (part.format, part.extracted.title) == ("markdown", "Title")
    assert list(read(read_gz, sample("gz-harbour.mbox.gz"), "m.mbox.gz")[0])[-1] == "4"
    two = gzip.compress(b"One.\n") + b"\0" * 20 + gzip.compress(b"Two.\n") + b"\0\0"
    assert texts(read_gz, two, "a.txt.gz") == {"": "One.\nTwo.\n"}
    assert texts(read_gz, gzip.compress(TEXT) + b"rubbish", "a.txt.gz") == {"": TEXT.decode()}
    for name in ("a.gz", "a.log.gz", "a.png.gz"):
        assert read(read_gz, gzip.compress(TEXT), name) == ({}, [])


@pytest.mark.parametrize("program", ["zip", "tar", "gzip"])
def test_what_a_program_packs_now_is_read(tmp_path: Path, program: str) -> None:
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed")
    (tmp_path / "in").mkdir()
    long = "n" * 200 + ".txt"
    (tmp_path / "in" / long).write_bytes(TEXT)
    (tmp_path / "in" / "Größe.txt").write_bytes(TEXT)
    commands = {
        "zip": (["zip", "-qr", "a.zip", "in"], "a.zip", read_zip, {f"in/{long}", "in/Größe.txt"}),
        "tar": (["tar", "cf", "a.tar", "in"], "a.tar", read_tar, {f"in/{long}", "in/Größe.txt"}),
        "gzip": (["gzip", "in/Größe.txt"], "in/Größe.txt.gz", read_gz, {""}),
    }
    command, name, reader, records = commands[program]
    subprocess.run(command, cwd=tmp_path, check=True, env={**os.environ, "LC_ALL": "C.UTF-8"})
    assert set(texts(reader, (tmp_path / name).read_bytes(), name)) == records


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_form_of_tar_is_read(form: int) -> None:
    names = ["a.txt", "deep/" * 18 + "b.txt"] + (["x" * 300 + ".txt"] if form != tarfile.USTAR_FORMAT else [])
    assert list(texts(read_tar, tarred(*((name, TEXT) for name in names), form=form), "a.tar")) == names


def test_hidden_members_and_those_of_other_kinds_are_left_out(archiver: Archiver) -> None:
    path, reader, pack = archiver
    names = ["a.txt", ".b.txt", ".git/c.txt", "__MACOSX/d.txt", "x/.y/e.txt", "f.png", "g", "CVS/h.txt"]
    assert list(texts(reader, pack(*((name, TEXT) for name in names)), path)) == ["a.txt"]
    assert reasons(reader, pack(("f.png", b"x")), path) == {path: "nothing in it is of a kind that pincite reads"}
    assert reasons(reader, pack(), path) == {path: "nothing in it is of a kind that pincite reads"}


def test_names_that_lead_out_are_reported_and_never_used(archiver: Archiver) -> None:
    path, reader, pack = archiver
    names = ["/etc/a.txt", "../b.txt", "x/../../c.txt", "C:\\d.txt", "x\\..\\..\\e.txt", "./fine.txt"]
    parts, skipped = read(reader, pack(*((name, TEXT) for name in names)), path)
    assert list(parts) == ["fine.txt"] and len(skipped) == 5
    assert {item.reason for item in skipped} == {"its name is an absolute path", "its name leads out of the archive"}
    assert safe_name("a/./b//c\x1b[1m\n.txt") == "a/b/c\ufffd[1m\ufffd.txt"


def test_of_two_members_with_one_name_one_is_read(archiver: Archiver) -> None:
    path, reader, pack = archiver
    with pytest.warns(UserWarning) if pack is zipped else pytest.MonkeyPatch.context():
        data = pack(("a.txt", b"One."), ("a.txt", b"Two."))
    parts, skipped = read(reader, data, path)
    assert parts["a.txt"].extracted.text == ("Two." if pack is zipped else "One.")
    assert [item.reason for item in skipped] == (
        [] if pack is zipped else ["another file in the archive has the same name"]
    )


def test_encrypted_members_and_odd_compression_are_reported() -> None:
    assert reasons(read_zip, sample("zip-locked.zip"), "a.zip") == {"a.zip#bell.html": "encrypted with a password"}
    odd = reasons(read_zip, zipped(("a.txt", TEXT), method=zipfile.ZIP_BZIP2), "a.zip")
    assert odd == {"a.zip#a.txt": "compressed in a way that pincite does not read (method 12 of zip)"}


def test_links_and_devices_of_a_tar_archive_are_reported() -> None:
    data = io.BytesIO()
    kinds = [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE]
    with tarfile.open(fileobj=data, mode="w") as archive:
        for n, kind in enumerate(kinds):
            info = tarfile.TarInfo(f"{n}.txt")
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
        info = tarfile.TarInfo("last.txt")
        info.size = len(TEXT)
        archive.addfile(info, io.BytesIO(TEXT))
    parts, skipped = read(read_tar, data.getvalue(), "a.tar")
    assert list(parts) == ["last.txt"]
    assert [item.reason for item in skipped] == [
        "a link, not a file", "a link, not a file", "a device, not a file", "a named pipe, not a file"
    ]  # fmt: skip


def test_archives_are_opened_in_one_another_and_no_deeper(archiver: Archiver) -> None:
    path, reader, pack = archiver
    inner = pack(("deep.txt", TEXT), ("t.csv", b"name,port\nAnn,Oban\n"), ("more.txt.gz", gzip.compress(TEXT)))
    parts, skipped = read(reader, pack((f"in/{path}", inner), ("x.txt.gz", gzip.compress(TEXT))), path)
    assert list(parts) == [f"in/{path}#deep.txt", f"in/{path}#t.csv#2", "x.txt.gz"]
    assert [part.format for part in parts.values()] == ["text", "csv", "text"]
    assert [(item.path, item.reason) for item in skipped] == [
        (f"{path}#in/{path}#more.txt.gz", "an archive in 2 others; so deep none is opened")
    ]


def test_a_mail_in_an_archive_and_an_archive_in_a_mail_are_read() -> None:
    letter = sample("mail-minutes.eml").replace(b"minutes.txt", b"minutes.txt.gz")
    assert list(texts(read_zip, zipped(("m.eml", sample("mail-minutes.eml"))), "a.zip")) == [
        "m.eml", "m.eml#minutes.txt"
    ]  # fmt: skip
    parts, skipped = read(read_zip, zipped(("m.eml", letter)), "a.zip")
    assert list(parts) == ["m.eml"] and skipped == [Skipped("a.zip#m.eml#minutes.txt.gz", "damaged or cut short")]


@pytest.mark.parametrize("kind", ["a.zip", "a.tgz", "a.txt.gz", "b.zip"])
def test_what_unpacks_to_a_thousand_times_its_size_is_given_up(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "_HARMLESS", 1 << 17)
    bomb = b"a b\n" * (2 << 20)
    reader: Reader
    if kind.endswith(".zip"):
        harmful = ("in.zip", zipped(("x.txt", bomb))) if kind == "b.zip" else ("x.txt", bomb)
        reader, data = read_zip, zipped(harmful, ("y.txt", TEXT))
    elif kind == "a.tgz":
        reader, data = read_tar, tar_gz(("x.txt", bomb), ("y.txt", TEXT))
    else:
        reader, data = read_gz, gzip.compress(bomb)
    tracemalloc.start()
    try:
        parts, skipped = read(reader, data, kind)
        assert tracemalloc.get_traced_memory()[1] < 3_000_000
    finally:
        tracemalloc.stop()
    assert list(parts) == (["y.txt"] if kind.endswith("zip") else [])
    assert "200 times its size" in skipped[-1].reason


def test_no_more_is_unpacked_of_an_archive_than_it_may_hold(
    archiver: Archiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, reader, pack = archiver
    monkeypatch.setattr(members, "MOST_UNPACKED", 1_000_000)
    data = pack(*((f"{n}.txt", TEXT * 4_000) for n in range(10)))
    parts, skipped = read(reader, data, path)
    assert 1 <= len(parts) <= 5
    assert skipped == [Skipped(path, "it unpacks to more than 0 GiB; what follows is not read")]
    nested, (reason,) = read(reader, pack(("in/" + path, data), ("z.txt", TEXT)), path)
    assert reason == skipped[0] and "z.txt" not in nested


def test_no_more_members_are_read_than_an_archive_may_have(archiver: Archiver, monkeypatch: pytest.MonkeyPatch) -> None:
    path, reader, pack = archiver
    monkeypatch.setattr(members, "MOST_MEMBERS", 10)
    parts, skipped = read(reader, pack(*((f"{n}.txt", TEXT) for n in range(20))), path)
    assert 9 <= len(parts) <= 10 and skipped == [Skipped(path, "more than 10 files in it; what follows is not read")]


def test_members_are_held_to_the_limits_of_their_formats(archiver: Archiver, monkeypatch: pytest.MonkeyPatch) -> None:
    path, reader, pack = archiver
    monkeypatch.setitem(FORMATS, ".txt", Format("text", largest=1 << 20))
    parts, skipped = read(
        reader, pack(("big.txt", b"x" * (1 << 21)), ("b.txt", TEXT), ("no.txt", b" "), ("x.txt", b"\0")), path
    )
    assert list(parts) == ["b.txt"]
    assert [item.reason for item in skipped] == ["too large (the limit is 1 MiB)", "no text", "binary"]


def test_a_list_of_members_without_end_is_not_held_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "_LARGEST_LIST", 1_000)
    data = zipped(*((f"{n}.txt", TEXT) for n in range(50)))
    assert "list of files" in reasons(read_zip, data, "a.zip")["a.zip"]


def test_long_names_of_a_tar_archive_are_not_held_in_memory() -> None:
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, 1 << 33
    data = header.tobuf(tarfile.GNU_FORMAT) + b"30 path=a\n" * 1_000
    assert "more than a megabyte" in reasons(read_tar, data, "a.tar")["a.tar"]
    name = b"9" * 100 + b" path=x\n"
    assert reasons(read_tar, tarred(("a", b"")) + name, "a.tar")


@pytest.mark.parametrize("reader", [read_zip, read_tar, read_gz])
def test_what_is_no_archive_is_reported(reader: Reader) -> None:
    for data in (b"", TEXT, b"PK\x03\x04", b"\x1f\x8b", b"\x1f\x8b\x08\0", b"\0" * 100):
        (reason,) = reasons(reader, data, "a.txt.gz").items()
        assert reason[0] == "a.txt.gz" and reason[1]
    assert reasons(read_tar, b"\0" * 1024, "a.tar") == {"a.tar": "nothing in it is of a kind that pincite reads"}


def test_what_could_not_be_read_of_a_member_is_reported_with_it(
    tmp_path: Path, embedder: HashingEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = Extracted("Page one. Page two.", notes=("page 3 has no text",))
    monkeypatch.setattr(webpages, "read_html", lambda data: content)
    path = tmp_path / "a.zip"
    path.write_bytes(zipped(("a.html", TEXT)))
    index = synced(tmp_path, path, embedder)
    assert documents(index)["a.html"].text == content.text and index.report is not None
    assert index.report.skipped == (Skipped("a.zip#a.html", "page 3 has no text"),)


def test_damage_in_the_middle_is_reported_and_what_is_before_it_is_read() -> None:
    data = tarred(*((f"{n}.txt", TEXT * 20) for n in range(4)))
    second = data.index(b"1.txt")
    broken = data[:second] + b"\xff" * 512 + data[second + 512 :]
    parts, skipped = read(read_tar, broken, "a.tar")
    assert list(parts) == ["0.txt"] and skipped == [Skipped("a.tar", "damaged or cut short in the middle")]
    for end in (second + 600, second + 512 + 1_200):
        parts, skipped = read(read_tar, data[:end], "a.tar")
        assert list(parts)[:1] == ["0.txt"] and skipped
    packed = zipped(("a.txt", TEXT * 50), ("b.txt", TEXT * 50))
    place = packed.index(b"b.txt") + 20
    parts, skipped = read(read_zip, packed[:place] + b"\xff\xff" + packed[place + 2 :], "a.zip")
    assert list(parts) == ["a.txt"] and skipped == [Skipped("a.zip#b.txt", "damaged or cut short")]
    cut = gzip.compress("".join(f"Line {n}, {zlib.crc32(b'%d' % n)}\n" for n in range(9_000)).encode())[:9_000]
    assert reasons(read_gz, cut, "a.txt.gz") == {"a.txt.gz": "damaged or cut short"}


def test_sizes_that_lie_do_no_harm() -> None:
    text = TEXT.decode() * 100
    data = bytearray(zipped(("a.txt", text.encode())))
    central = data.index(b"PK\x01\x02")
    for size in (0, 10, 0xFFFFFFF0):
        data[central + 24 : central + 28] = struct.pack("<I", size)
        parts, skipped = read(read_zip, bytes(data), "a.zip")
        assert bool(skipped) == (size < 100) and all(part.extracted.text == text for part in parts.values())
    entry = tarfile.TarInfo("a.txt")
    for size in (1 << 40, 1 << 70, -5):
        entry.size = size
        header = entry.tobuf(tarfile.GNU_FORMAT)
        parts, skipped = read(read_tar, header + TEXT, "a.tar")
        assert parts == {} and skipped


def test_a_large_member_is_streamed(archiver: Archiver) -> None:
    path, reader, pack = archiver
    chance = random.Random(0)
    rows = b"".join(b'{"text": "%s ships."}\n' % chance.randbytes(1_500).hex().encode() for _ in range(1_500))
    data = pack(("c.jsonl", rows))
    tracemalloc.start()
    try:
        count = sum(isinstance(item, Part) for item in reader(io.BytesIO(data), path))
        assert count == 1_500
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()


@some_and_many
@pytest.mark.parametrize(
    ("name", "reader"),
    [("zip-papers.zip", read_zip), ("tar-papers.tar.gz", read_tar), ("gz-harbour.mbox.gz", read_gz)],
)
def test_a_damaged_archive_gives_members_and_reasons(name: str, reader: Reader, count: int) -> None:
    assert_bears_damage(reader, sample(name), name, count)


@some_and_many
def test_a_damaged_tar_archive_gives_members_and_reasons(count: int) -> None:
    assert_bears_damage(read_tar, gzip.decompress(sample("tar-papers.tar.gz")), "a.tar", count)


@pytest.mark.parametrize("name", ["papers.zip", "papers.tar", "papers.tar.gz"])
def test_a_member_is_cited_and_a_change_of_it_is_noticed(tmp_path: Path, embedder: HashingEmbedder, name: str) -> None:
    _, archive = ARCHIVERS[{"zip": "a.zip", "tar": "a.tar", "gz": "a.tgz"}[name.rpartition(".")[2]]]

    def pack(**changed: bytes) -> bytes:
        files = {"inner/mill": sample("csv-ferries.csv"), "box": sample("mail-harbour.mbox"), "bell": TEXT, **changed}
        kinds = {"inner/mill": "csv", "box": "mbox", "bell": "txt"}
        members = [(f"{stem}.{kinds[stem]}", content) for stem, content in files.items()]
        return archive(*members)

    path = tmp_path / name
    path.write_bytes(pack())
    index = synced(tmp_path, path, embedder)
    citation = cited(index, "bell.txt", "Ida Moss")
    assert citation.verified and citation.path.endswith(f"{name}#bell.txt") and citation.format == "text"
    row = cited(index, "inner/mill.csv#5", "an east wind")
    assert row.verified and (row.format, row.mark, row.line) == ("csv", "Remarks", 5)
    minutes = "box.mbox#2021-02-03.harbour@example.org#minutes.txt"
    assert cited(index, minutes, "Ingrid Moe").verified

    path.write_bytes(pack(bell=TEXT.replace(b"Ida", b"Eva")))
    assert cited(index, "bell.txt", "Ida Moss").problem == "it has changed since it was indexed"
    assert cited(index, "inner/mill.csv#5", "an east wind").verified and cited(index, minutes, "Ingrid Moe").verified

    embedder.embedded.clear()
    index = synced(tmp_path, path, embedder)
    assert index.report is not None and (index.report.changed, index.report.unchanged) == (1, 10)
    assert len(embedder.embedded) == 1 and "Eva Moss" in embedder.embedded[0]
    assert cited(index, "bell.txt", "Eva Moss").verified

    path.write_bytes(pack(bell=TEXT)[:200])
    assert not cited(index, "bell.txt", "Eva Moss").verified
    path.write_bytes(zipped(("other.txt", TEXT)) if name.endswith("zip") else tarred(("other.txt", TEXT)))
    assert cited(index, "bell.txt", "Eva Moss").problem == "it is no longer in its file"


def test_a_gz_file_is_cited_like_the_file_in_it(tmp_path: Path, embedder: HashingEmbedder) -> None:
    path = tmp_path / "notes.txt.gz"
    path.write_bytes(gzip.compress(b"Notes\n\n" + TEXT))
    index = synced(tmp_path, path, embedder)
    citation = cited(index, "", "Ida Moss")
    assert (citation.verified, citation.line, citation.path) == (True, 3, str(path))
    path.write_bytes(gzip.compress(b"Notes\n\n" + TEXT, mtime=1))
    assert cited(index, "", "Ida Moss").verified  # packed anew
    path.write_bytes(gzip.compress(b"Notes\n\n" + TEXT.upper()))
    assert not cited(index, "", "Ida Moss").verified


def test_a_member_is_cited_by_its_own_lines(tmp_path: Path, embedder: HashingEmbedder) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(zipped(("inner/mill.md", b"# The mill\n\nIt stands at Ost.\n\nIts miller is Bo Lind.\n")))
    index = synced(tmp_path, path, embedder)
    citation = cited(index, "inner/mill.md", "Bo Lind")
    assert (citation.verified, citation.line, citation.column) == (True, 5, 15)


def test_what_is_gone_from_an_archive_goes_from_the_index(tmp_path: Path, embedder: HashingEmbedder) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(zipped(("a.txt", TEXT), ("b.txt", b"Another text.")))
    synced(tmp_path, path, embedder)
    path.write_bytes(zipped(("b.txt", b"Another text."), ("c.txt", TEXT)))
    embedder.embedded.clear()
    index = synced(tmp_path, path, embedder)
    assert list(documents(index)) == ["b.txt", "c.txt"] and embedder.embedded == []
    path.write_bytes(b"PK\x03\x04 nothing")
    index = synced(tmp_path, path, embedder)
    assert documents(index) == {} and index.report is not None and len(index.report.skipped) == 1
