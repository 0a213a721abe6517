"""Tables: each row is a document that its cells can be quoted from, whoever wrote the file."""

from __future__ import annotations

import csv
import io
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pincite.index import Index, rows, tables
from pincite.index.extracted import Part
from pincite.index.tables import read_csv, read_tsv
from pincite.index.walk import Skipped
from tests.conftest import HashingEmbedder
from tests.index.containers import assert_bears_damage, cited, documents, read, some_and_many, synced
from tests.index.sample_files import sample


def table(data: bytes | str, path: str = "t.csv") -> tuple[dict[str, Part], list[Skipped]]:
    return read(read_tsv if path.endswith(".tsv") else read_csv, data.encode() if isinstance(data, str) else data, path)


def texts(data: bytes | str, path: str = "t.csv") -> dict[str, str]:
    parts, skipped = table(data, path)
    assert skipped == []
    return {record: part.extracted.text for record, part in parts.items()}


def reasons(data: bytes | str, path: str = "t.csv") -> dict[str, str]:
    return {item.path: item.reason for item in table(data, path)[1]}


def test_rows_of_a_table_of_values_name_each_cell_and_are_numbered_as_in_a_spreadsheet() -> None:
    parts, skipped = table(sample("csv-ferries.csv"))
    assert skipped == [] and list(parts) == ["2", "3", "4", "5", "6"]
    nan = parts["5"].extracted
    assert nan.text == (
        "Name: Old Nan; Home port: Wells-next-the-Sea; Crew: 3; Passengers: 24; Built: 1931; "
        "Remarks: Does not sail in an east wind.\nHer engine is from 1958."
    )
    assert nan.title == "Old Nan" and nan.unit == "column"
    assert [nan.text[mark.start :].split(":")[0] for mark in nan.marks] == [mark.label for mark in nan.marks]
    assert nan.metadata["home port"] == "Wells-next-the-Sea" and parts["4"].extracted.metadata["passengers"] == "640"
    assert "Remarks" not in parts["3"].extracted.text  # its cell is empty
    assert [part.line for part in parts.values()] == [2, 3, 4, 5, 7]


def test_rows_begin_at_their_offsets() -> None:
    data = sample("csv-ferries.csv")
    starts = [data[part.offset :].split(b",")[0] for part in table(data)[0].values()]
    assert starts == [b"Solveig", b"Gannet", b'"La Belle"', b'"Old Nan"', b"Kestrel"]


def test_a_table_of_articles_has_their_text_title_and_metadata() -> None:
    parts, skipped = table(sample("csv-articles.csv"))  # semicolons, Windows-1252
    assert skipped == [] and list(parts) == ["a17", "a18"]
    cafe = parts["a17"].extracted
    assert cafe.text.startswith("The café at the pier opened again on Thursday; it had")
    assert "48,000 crowns for the lease. “We bake at four,”" in cafe.text
    assert cafe.title == "Café at the pier opens again"
    assert dict(cafe.metadata) == {
        "id": "a17", "byline": "Zoë Brandt", "published": "4 March 2021", "author": "Zoë Brandt", "date": "2021-03-04"
    }  # fmt: skip
    assert [mark.label for mark in cafe.marks] == ["Body"]


def test_tabs_separate_cells_and_quotation_marks_in_them_are_text() -> None:
    rows = texts('name\tsaying\nAnn\t"Quick" is my word\nBob\tit is 5" wide\nCid\t"and\n', "t.tsv")
    assert rows == {"2": 'name: Ann; saying: "Quick" is my word.', "3": 'name: Bob; saying: it is 5" wide.',
                    "4": 'name: Cid; saying: "and.'}  # fmt: skip
    assert list(table(sample("tsv-ferries.tsv"), "t.tsv")[0]) == ["2", "3", "4", "5"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
def test_a_table_is_read_whoever_wrote_it(delimiter: str, newline: str, encoding: str) -> None:
    written = io.StringIO()
    names = ["Name", "Größe", "Where"]
    cells = [["Zoë", "1,5 m; a | b", "on the\tquay"], ["Ida", 'so "big"', "Hull,\nEngland"], ["Émile", "2", "Brest"]]
    csv.writer(written, delimiter=delimiter, lineterminator="\n").writerows([names, *cells])
    parts, skipped = table(written.getvalue().replace("\n", newline).encode(encoding))
    assert skipped == []
    expected = [dict(zip(names, row, strict=True)) for row in cells]
    found = []
    for content in (part.extracted for part in parts.values()):
        ends = [mark.start for mark in content.marks[1:]] + [len(content.text) + 1]
        pieces = [content.text[mark.start : end - 2] for mark, end in zip(content.marks, ends, strict=True)]
        found.append(dict(piece.split(": ", 1) for piece in pieces))
    assert [{name: cell.replace("\r", "\n") for name, cell in row.items()} for row in found] == expected
    lines = [1 + written.getvalue()[: written.getvalue().index(row[0])].count("\n") for row in cells]
    assert [part.line for part in parts.values()] == lines


def test_a_comma_in_a_text_is_not_taken_for_one_between_cells() -> None:
    assert texts("Bergen, Norway;12\nHull, England;14\n") == {"1": "Bergen, Norway; 12.", "2": "Hull, England; 14."}


def test_a_line_in_another_encoding_than_the_file_is_decoded_by_itself() -> None:
    data = ("name,saying\n" + "Zoë,là\n" * 40).encode() + b"Jos\xe9,\x93d\xe9j\xe0 vu\x94\n" + "Ann,là\n".encode()
    rows = texts(data)
    assert rows["42"] == "name: José; saying: “déjà vu”." and rows["43"] == "name: Ann; saying: là."


def test_the_cells_of_a_wide_row_are_in_lines_that_can_be_read() -> None:
    header = ",".join(f"column {n}" for n in range(60))
    (row,) = texts(f"{header}\n{','.join(f'cell {n} of it' for n in range(60))}\n").values()
    lines = row.split("\n")
    assert 3 < len(lines) < 8 and max(map(len, lines)) <= 400
    assert all(line.endswith((";", ".")) and line.startswith("column ") for line in lines)


def test_without_names_of_columns_a_row_is_its_cells() -> None:
    rows = texts("Bergen,Norway,12\nOslo,Norway,9\nHull,England,14\n")
    assert rows == {"1": "Bergen; Norway; 12.", "2": "Oslo; Norway; 9.", "3": "Hull; England; 14."}
    assert texts("year,1990,2000,2010\nBergen,12,13,15\n")["2"] == "year: Bergen; 1990: 12; 2000: 13; 2010: 15."
    assert texts("only\nnames\n") == {"2": "only: names"}


@pytest.mark.parametrize(
    ("data", "title"),
    [
        ("no,Name,port\n1,Gannet,Oban\n", "Gannet"),
        ("port,crew\nOban,12\n", "Oban"),
        ("no,port\n12,Oban\n", "harbours"),
        ("Title,text\nThe pier,It was built in 1893 of oak and of iron.\n", "The pier"),
        ("who,text\nAnn,It was built in 1893 of oak and of iron.\n", ""),
    ],
)
def test_a_row_is_found_by_its_title(data: str, title: str) -> None:
    (part,) = table(data, "a/harbours.csv")[0].values()
    assert part.extracted.title == title


def test_a_row_is_named_by_its_id_where_every_row_has_its_own() -> None:
    assert list(texts("id,name\nx,Ann\ny,Bob\n")) == ["x", "y"]
    assert list(texts("_id,id,name\n7,1,Ann\n8,1,Bob\n")) == ["7", "8"]
    assert list(texts("id,name\nx,Ann\nx,Bob\n")) == ["2", "3"]
    assert list(texts("id,name\nx,Ann\n,Bob\n")) == ["2", "3"]


def test_an_id_that_comes_again_far_below_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_SAMPLE", 30)
    rows = texts("id,name\nx,Ann\ny,Bob\nz,Cid\nx,Dan\n,Eva\n")
    assert rows["x"] == "id: x; name: Ann." and rows["x~5"] == "id: x; name: Dan." and rows["~6"] == "name: Eva"


def test_rows_of_another_length_are_reported_with_their_line() -> None:
    data = "name,port\n" + "Ann,Oban\n" * 20 + "Bob,Hull,England\nCid\nDan,Oslo,,\n\n , \n"
    parts, skipped = table(data)
    assert [(item.path, item.reason) for item in skipped] == [
        ("t.csv:22", "3 cells; the table has 2 columns"),
        ("t.csv:23", "1 cells; the table has 2 columns"),
    ]
    assert parts["24"].extracted.text == "name: Dan; port: Oslo." and len(parts) == 21


def test_cells_left_out_at_the_end_of_many_rows_are_empty_ones() -> None:
    assert texts("name,port,crew\nAnn,Oban,1\nBob,Hull\nCid,Oslo,3\nDan,Rome,4\n")["3"] == "name: Bob; port: Hull."


def test_lines_above_a_table_are_reported_and_not_taken_for_its_header() -> None:
    parts, skipped = table("sep=;\nFerries of 1994\nname;port\nAnn;Oban\nBob;Hull\nCid;Hull\n")
    assert [item.path for item in skipped] == ["t.csv:2"]
    assert parts["4"].extracted.text == "name: Ann; port: Oban."


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no text"),
        (b" \n\n", "no text"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4, "binary (a PNG image)"),
        (b"<!DOCTYPE html><p>a,b</p>\n", "HTML or XML, not a table"),
        (b'[{"a": 1},\n {"a": 2}]\n', "JSON, not a table"),
        (b"one, two, three\nfour, five\nsix\nseven, eight, nine, ten\n", "not a table: its lines have different"),
        (b",".join([b"a"] * 1500), "a table with 1,500 columns; the limit is 1,000"),
    ],
)
def test_what_is_no_table_is_reported_once(data: bytes, reason: str) -> None:
    ((path, found),) = reasons(data).items()
    assert path == "t.csv" and found.startswith(reason)


def test_a_table_without_rows_says_so() -> None:
    assert reasons("name,port\n") == {"t.csv": "a table without rows"}


def test_an_open_quotation_mark_costs_its_row_only() -> None:
    data = 'name,port\nAnn,"Oban, Scotland"\nBob,"Hull\nCid,"Oslo, Norway"\n' + 'Dan,"Rome, Italy"\n' * 5 + 'Eva,"Wick'
    parts, skipped = table(data)
    assert list(parts) == ["2", "4", "5", "6", "7", "8", "9", "10"]
    assert skipped == [Skipped("t.csv:3", "a quotation mark is not closed")]
    assert [part.line for part in parts.values()] == [2, 4, 5, 6, 7, 8, 9, 10]
    assert [data[part.offset :][:3] for part in parts.values()][:3] == ["Ann", "Cid", "Dan"]
    assert parts["10"].extracted.text == "name: Eva; port: Wick."


def test_quotation_marks_that_never_enclose_cells_are_text() -> None:
    assert texts('name,size\nAnn,"5" wide\nBob,"6" wide\n')["2"] == 'name: Ann; size: "5" wide.'


def test_a_row_of_unreasonable_length_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "LONGEST_ROW", 10_000)
    monkeypatch.setattr(tables, "LONGEST_ROW", 10_000)
    many = "x" * 200 + "\n"
    data = f'name,port\nAnn,Oban\nBob,{"y" * 300_000}\nCid,"{many * 100}end"\nDan,Rome\n'
    parts, skipped = table(data)
    assert "2" in parts and parts["105"].extracted.title == "Dan"
    assert skipped[0] == Skipped("t.csv:3", "longer than 0 MiB, or not a row")
    assert skipped[1] == Skipped("t.csv:4", "a quotation mark is not closed")
    assert all("cells" in item.reason for item in skipped[2:])
    parts, skipped = table(data.replace('"', "").encode("utf-16"))
    assert {"2", "105"} <= parts.keys() and skipped[0] == Skipped("t.csv:3", "longer than 0 MiB, or not a row")


def test_open_quotation_marks_in_every_row_end_the_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "LONGEST_ROW", 1_000)
    data = "name,port\n" + f"Ann,{'Oban ' * 40}\n" * 1_000 + ('Cid,"ab\n' + "x,y\n" * 600) * 12
    skipped = table(data)[1]
    assert len(skipped) <= 12 and skipped[-1].reason.endswith("what follows is not read")


def test_a_large_table_is_streamed(tmp_path: Path) -> None:
    def written() -> Iterator[bytes]:
        yield b"name,remark\n"
        for n in range(2_000):
            yield f'Ship {n},"{"a remark on her hull " * 150}"\n'.encode()

    path = tmp_path / "t.csv"
    path.write_bytes(b"".join(written()))  # 6.6 MB
    tracemalloc.start()
    try:
        with path.open("rb") as stream:
            assert sum(isinstance(item, Part) for item in read_csv(stream, "t.csv")) == 2_000
        assert tracemalloc.get_traced_memory()[1] < 6_000_000
    finally:
        tracemalloc.stop()


def test_a_row_is_known_by_what_was_made_of_it() -> None:
    before, _ = table("name,port\nAnn,Oban\n")
    quoted, _ = table('"name";"port"\r\n"Ann";"Oban"\r\n')
    renamed, _ = table("name,home\nAnn,Oban\n")
    assert before["2"].sha256 == quoted["2"].sha256 != renamed["2"].sha256


@pytest.mark.parametrize("name", ["csv-ferries.csv", "csv-articles.csv", "tsv-ferries.tsv"])
@some_and_many
def test_a_damaged_table_gives_rows_and_reasons(name: str, count: int) -> None:
    assert_bears_damage(read_tsv if name.endswith("tsv") else read_csv, sample(name), name, count)


@given(
    st.lists(st.sampled_from(["a", "bc", ",", ";", '"', "\n", "\r", "\t", "é", "\0", "1", "'", "\u2028", " ", "id"]))
)
def test_no_text_is_an_error(pieces: list[str]) -> None:
    for encoding in ("utf-8", "utf-16", "latin-1"):
        read(read_csv, "".join(pieces).encode(encoding, "replace"), "t.csv")


@pytest.mark.parametrize("piece", [",", '"', "\n", ";\n", '","\n', "a" * 50 + "\r", '"\r', "\t\t", "1,\n"])
def test_tables_of_nothing_but_marks_take_time_in_proportion(piece: str) -> None:
    for data in (piece.encode() * 3_000, (piece * 2_000).encode("utf-16")):
        list(read_csv(io.BytesIO(data), "t.csv"))


def test_a_cell_is_cited_and_a_change_of_its_row_is_noticed(tmp_path: Path, embedder: HashingEmbedder) -> None:
    path = tmp_path / "ferries.csv"
    path.write_bytes(sample("csv-ferries.csv"))
    index = synced(tmp_path, path, embedder)
    citation = cited(index, "5", "an east wind")
    assert (citation.verified, citation.line, citation.unit, citation.mark) == (True, 5, "column", "Remarks")
    assert citation.title == "Old Nan" and citation.path.endswith("ferries.csv#5") and citation.format == "csv"
    path.write_bytes(sample("csv-ferries.csv").replace(b"east wind", b"west wind"))
    assert cited(index, "5", "an east wind").problem == "it has changed since it was indexed"
    assert cited(index, "4", "Saint-Malo, France").verified
    path.write_bytes(sample("csv-ferries.csv").replace(b"\nGannet", b"\nTern,Cork,5,40,1980,\nGannet"))
    moved = cited(index, "5", "an east wind")
    assert (moved.verified, moved.line) == (True, 6)  # another row, but the same words


def test_only_changed_rows_are_embedded(tmp_path: Path, embedder: HashingEmbedder) -> None:
    path = tmp_path / "ferries.csv"
    path.write_bytes(sample("csv-ferries.csv"))
    synced(tmp_path, path, embedder)
    embedder.embedded.clear()
    path.write_bytes(sample("csv-ferries.csv").replace(b"1931", b"1932"))
    index = synced(tmp_path, path, embedder)
    assert index.report is not None and (index.report.changed, index.report.unchanged) == (1, 4)
    assert len(embedder.embedded) == 1 and "1932" in embedder.embedded[0]
    embedder.embedded.clear()
    path.write_bytes(path.read_bytes().replace(b"Solveig", b"Tern,Cork,5,40,1980,\nSolveig"))
    index = synced(tmp_path, path, embedder)
    assert len(embedder.embedded) == 1 and "Tern" in embedder.embedded[0]  # the others have other numbers only
    assert documents(index)["6"].title == "Old Nan" and len(documents(index)) == 6


def test_a_table_with_tabs_is_cited_like_any_other(tmp_path: Path, embedder: HashingEmbedder) -> None:
    path = tmp_path / "ferries.tsv"
    path.write_bytes(sample("tsv-ferries.tsv"))
    citation = cited(synced(tmp_path, path, embedder), "4", '"the bus"')
    assert (citation.verified, citation.line, citation.mark, citation.format) == (True, 4, "Remarks", "tsv")
    path.write_bytes(sample("tsv-ferries.tsv").replace(b"the bus", b"the tub"))
    index = Index.open(tmp_path / ".pincite", embedder=embedder)
    assert not cited(index, "4", '"the bus"').verified
