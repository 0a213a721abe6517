"""PDFs of pdfTeX, LibreOffice, Ghostscript and qpdf: their text as it reads, its pages, and what cannot be read."""

from __future__ import annotations

import random
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from pincite.index import Index, pdf_process
from pincite.index.extracted import Extracted, Mark, MissingExtraError, UnreadableError, mark_at
from pincite.index.pdf import read_pdf
from pincite.index.pdf_process import read_pages
from pincite.index.pdf_text import text_of
from pincite.index.sentences import split_sentences
from pincite.qa import Pipeline
from tests.conftest import HashingEmbedder, KnowingReader
from tests.index.sample_files import SAMPLES, sample

ACROSS = (
    "The service has therefore allowed him forty kilograms of herring a year, to be entered in the books as"
    " consumable optical equipment."
)


@pytest.fixture
def afresh() -> Iterator[None]:
    """Processes that are started for the test, and end with it."""
    pdf_process.close()
    yield
    pdf_process.close()


def pdf(contents: bytes, information: bytes = b"") -> bytes:
    """Return a PDF of one page with `contents` as what is drawn there; its one font is called F."""
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Resources<</Font<</F 5 0 R>>>>/Contents 4 0 R>>",
        b"<</Length %d>>stream\n%b\nendstream" % (len(contents), contents),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        b"<<%b>>" % information,
    ]
    numbered = [b"%d 0 obj\n%b\nendobj\n" % (n, one) for n, one in enumerate(objects, 1)]
    return b"%PDF-1.4\n" + b"".join(numbered) + b"trailer<</Root 1 0 R/Info 6 0 R/Size 7>>\n%%EOF"


# --- what is read ---------------------------------------------------------------------------------------------------


def test_two_columns_read_as_they_were_written() -> None:
    paper = read_pdf(sample("pdf-columns.pdf"))
    paragraphs = paper.text.split("\n\n")
    assert paragraphs[:4] == [
        "The tide clocks of Veddersund",
        "Marit Solbakken\n17 April 2031",
        "1 A clock for boats",
        "The harbour town of Veddersund has eleven public clocks, and none of them tells the hour. Their single hand"
        " goes round once in twelve hours and twenty-five minutes, which is the time from one high water to the next. A"
        " skipper who looks up at the customs house therefore sees at a glance whether the sandbar at the mouth of the"
        " fjord can be crossed, and that was the only thing that the founders of the town wished to know.",
    ]
    assert (
        "A clock that was wrong whenever the water was wrong, they said, was worth two that were right." in paper.text
    )
    assert "sufficiently difficult to explain" in paper.text
    assert "the postmaster René Lindqvist demanded" in paper.text
    assert "the horologist Ingeborg Thoresen-Vik" in paper.text
    assert (
        "• the sale of a tide almanac, of which 3,400 copies were printed in 2030;\n"
        "• a grant of the county, renewed every fifth year;\n"
        "• the fees of visitors to the well below the customs house."
    ) in paragraphs
    assert "Coastal Papers" not in paper.text
    assert not re.search(r"[\ufb00-\ufb06\ufffe\x00-\x09\xad]|\w-\s", paper.text)
    assert paper.title == "The tide clocks of Veddersund"
    assert paper.metadata == {
        "author": "Marit Solbakken",
        "date": "2031-04-17",
        "language": "en-GB",
        "subject": "A public clock that tells the water",
        "keywords": "clocks; tides; Veddersund",
    }
    assert paper.unit == "page" and paper.notes == ()
    assert paper.marks == (Mark(0, "1"), Mark(paper.text.index("3 How they are kept"), "2"))


def test_a_report_reads_on_over_its_pages_without_their_heads_and_feet() -> None:
    report = read_pdf(sample("pdf-report.pdf"))
    assert "Annual report 2030" not in report.text and "Page 1" not in report.text
    assert ACROSS in report.text
    assert (
        "Light | Built | Range (miles) | Hours failed\nOuter Knoll | 1869 | 21 | 10\nSparre Point | 1902 | 14 | 6\n"
    ) in report.text
    assert (
        "since the present one has been eaten by salt to the thickness of a pencil;\n"
        "• the survey of the channel between Gannet Skerry and the mainland, which was last sounded in 1974;\n"
    ) in report.text
    assert [mark.label for mark in report.marks] == ["1", "2", "3"]
    assert [report.text[mark.start :].split(" ", 1)[0] for mark in report.marks] == ["Annual", "therefore", "has"]
    assert report.metadata["author"] == "Edda Maurstad"


def test_a_title_that_a_program_put_there_gives_way_to_the_largest_line() -> None:
    assert read_pages(sample("pdf-report.pdf")).information["Title"] == "Microsoft Word - report_final2.doc"
    assert read_pdf(sample("pdf-report.pdf")).title == "Annual report of the Lindhavn lighthouse service"
    assert read_pages(sample("pdf-open.pdf")).information["Title"] == "untitled"
    assert read_pdf(sample("pdf-open.pdf")).title == "Night ferry to Skarholm"
    scaled = b"BT /F 1 Tf 20 0 0 20 50 700 Tm (Large) Tj 10 0 0 10 50 600 Tm (And many small words.) Tj ET"
    assert read_pdf(pdf(scaled)).title == "Large"


@pytest.mark.parametrize(
    ("information", "title", "metadata"),
    [
        (b"/Title(Of lamps)/Author(Ada Byron)/Subject(Oil)", "Of lamps", {"author": "Ada Byron", "subject": "Oil"}),
        (b"/Title(C:\\\\lamps_2.qxd)/Author(Administrator)", "", {}),
        (b"/Title(Document1)/Author()", "", {}),
        (b"/Title(Of lamps.docx)/Author( user 2 )", "", {}),
        (b"/Author(Ren\xc3\xa9 Roe)/Keywords(a, b)", "", {"author": "René Roe", "keywords": "a, b"}),
        (b"/Author(Ren\xe9\nRoe)", "", {"author": "René Roe"}),
        (b"/Title<FEFF004F006600206C347070>", "Of 水灰", {}),
        (b"/CreationDate(D:20310417093000+02'00')/ModDate(D:2032)", "", {"date": "2031-04-17"}),
        (b"/CreationDate(yesterday)/ModDate(203204)", "", {"date": "2032-04"}),
        (b"/CreationDate(D:20311317)", "", {}),
    ],
)
def test_what_a_file_says_of_itself_is_kept_if_somebody_meant_it(
    information: bytes, title: str, metadata: dict[str, str]
) -> None:
    found = read_pdf(pdf(b"BT /F 12 Tf 50 700 Td (Words.) Tj ET", information))
    assert (found.title, found.metadata) == (title, metadata)


def test_a_sentence_that_crosses_a_page_is_one() -> None:
    report = read_pdf(sample("pdf-report.pdf"))
    (sentence,) = (span for span in split_sentences(report.text) if span.of(report.text).startswith("The service has"))
    assert sentence.of(report.text) == ACROSS
    assert mark_at(report.marks, sentence.start) == Mark(0, "1")
    assert mark_at(report.marks, report.text.index("forty kilograms")) == report.marks[1]


def test_heads_and_feet_are_found_where_no_tags_name_them() -> None:
    pages = read_pages(sample("pdf-report.pdf")).lines
    assert any(line.artifact for lines in pages.values() for line in lines)
    untagged = {number: [replace(line, artifact=False) for line in lines] for number, lines in pages.items()}
    assert text_of(untagged) == text_of(pages)


def test_a_turned_page_reads_like_an_upright_one() -> None:
    lines = b"(The ferry leaves at noon and) Tj 0 -14 Td (comes back at night.) Tj 0 -40 Td (Dogs pay.) Tj"
    for place in (b"1 0 0 1 50 700", b"0 1 -1 0 300 100", b"0 -1 1 0 300 600", b"-1 0 0 -1 500 600"):
        for turn in (0, 90, 180, 270):
            page = pdf(b"BT /F 12 Tf %b Tm %b ET" % (place, lines)).replace(
                b"/Type/Page/", b"/Type/Page/Rotate %d/" % turn
            )
            assert read_pdf(page).text == "The ferry leaves at noon and comes back at night.\n\nDogs pay."


def test_text_behind_a_scan_is_read() -> None:
    assert read_pdf(pdf(b"BT 3 Tr /F 12 Tf 50 700 Td (Recognised words.) Tj ET")).text == "Recognised words."


def test_the_library_stays_out_of_this_process() -> None:
    read_pdf(sample("pdf-open.pdf"))
    assert "pypdfium2_raw" not in sys.modules


# --- what is not ----------------------------------------------------------------------------------------------------


def reason(data: bytes) -> str:
    with pytest.raises(UnreadableError) as caught:
        read_pdf(data)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_password_is_asked_for_and_an_empty_one_needs_none() -> None:
    assert reason(sample("pdf-password.pdf")) == (
        "it needs a password; save a copy without one: qpdf --decrypt --password=... in.pdf out.pdf"
    )
    assert b"/Encrypt" in sample("pdf-open.pdf")
    assert "Captain Yrsa Hallgren" in read_pdf(sample("pdf-open.pdf")).text


def test_scanned_pages_are_named() -> None:
    assert reason(sample("pdf-scan.pdf")) == "no text; its pages may be scanned, and pincite does not read images"
    mixed = read_pdf(sample("pdf-mixed.pdf"))
    assert mixed.notes == ("pages 2-3 have no text; they may be scanned",)
    assert mixed.marks == (Mark(0, "1"),)
    image = b"q 300 0 0 300 50 50 cm BI /W 1 /H 1 /BPC 8 /CS /G ID x EI Q "
    assert read_pdf(pdf(image + b"BT /F 12 Tf 50 700 Td (Words.) Tj ET")).notes == ()
    assert "scanned" in reason(pdf(image))
    assert reason(pdf(b"")) == "no text"


def test_a_damaged_page_leaves_the_others() -> None:
    data = sample("pdf-mixed.pdf")
    kids = re.search(rb"/Kids \[ (\d+ 0 R) (\d+ 0 R) (\d+ 0 R) \]", data)
    assert kids
    broken = read_pdf(data.replace(kids[2], b"99 0 R"))
    assert "Yrsa Hallgren" in broken.text
    assert broken.notes == (
        "page 3 has no text; it may be scanned",
        "page 2 cannot be read: damaged",
    )


@pytest.mark.parametrize("data", [b"", b"%PDF-1.7\n", b"%PDF-1.7\n" * 1000, b"\0" * 5000, b"Dear reader, no PDF."])
def test_what_is_no_pdf_is_refused(data: bytes) -> None:
    assert reason(data) in {"empty", "damaged beyond reading, or no PDF"}


def test_fonts_that_hide_their_letters_are_reported() -> None:
    font = (
        b"<</Type/Font/Subtype/Type0/BaseFont/X/Encoding/Identity-H/DescendantFonts[<</Type/Font/Subtype/CIDFontType2"
    )
    font += b"/BaseFont/X/CIDSystemInfo<</Registry(Adobe)/Ordering(Identity)/Supplement 0>>>>]>>"
    data = pdf(b"BT /F 12 Tf 50 700 Td <0013001400150016> Tj ET")
    data = data.replace(b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>", font)
    assert reason(data) == "page 1 cannot be read: the fonts do not say which letters they show"


def mangled(seed: int) -> bytes:
    """Return a sample with some of its bytes exchanged, or its end cut off, or a number in it made absurd."""
    chance = random.Random(seed)
    data = bytearray(sample(chance.choice(["pdf-columns.pdf", "pdf-report.pdf", "pdf-mixed.pdf", "pdf-open.pdf"])))
    kind = seed % 4
    if kind == 0:
        for place in range(chance.randrange(100), len(data), 100):
            data[place] ^= 1 << chance.randrange(8)
    elif kind == 1:
        for _ in range(chance.randint(1, 20)):
            data[chance.randrange(len(data))] = chance.randrange(256)
    elif kind == 2:
        del data[chance.randrange(len(data)) :]
    else:
        number = chance.choice(list(re.finditer(rb"\d+", bytes(data))))
        data[number.start() : number.end()] = chance.choice([b"0", b"-1", b"99999999", b"2147483648", b"1e9"])
    return bytes(data)


def check_mangled(seed: int) -> None:
    try:
        found = read_pdf(mangled(seed))
    except UnreadableError as error:
        assert str(error) and "\n" not in str(error), seed
    else:
        check(found)


def check(found: Extracted) -> None:
    assert found.text.strip()
    starts = [mark.start for mark in found.marks]
    assert starts == sorted(set(starts)) and starts[0] == 0 and starts[-1] < len(found.text)
    assert not any("\n" in note for note in (found.title, *found.notes, *found.metadata.values()))


def test_mangled_files_give_their_text_or_one_reason() -> None:
    for seed in range(20):
        check_mangled(seed)


@pytest.mark.slow
def test_many_mangled_files_give_their_text_or_one_reason() -> None:
    for seed in range(20, 6000):
        check_mangled(seed)


# --- the process ----------------------------------------------------------------------------------------------------


def use_program(path: Path, monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    path.write_text(program)
    monkeypatch.setattr(pdf_process, "_PROGRAM", path)


WORKER_WITH = """
import importlib.util, os, sys, time
spec = importlib.util.spec_from_file_location("worker", {worker!r})
worker = importlib.util.module_from_spec(spec)
spec.loader.exec_module(worker)
read = worker._page
served = []
def page(raw, document, number):
    served.append(number)
    if {when}:
        {what}
    return read(raw, document, number)
worker._page = page
worker.main()
"""


def make_worker(path: Path, monkeypatch: pytest.MonkeyPatch, when: str, what: str) -> None:
    worker = str(Path(pdf_process.__file__).with_name("pdf_worker.py"))
    use_program(path, monkeypatch, WORKER_WITH.format(worker=worker, when=when, what=what))


@pytest.mark.usefixtures("afresh")
@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("import time; time.sleep(600)", "reading the file takes longer than 1 s"),
        ("import os; os.abort()", "damaged, or made to harm: pdfium stops (SIGABRT), perhaps for want of memory"),
        (
            "import os; print('{\"pages\": 1}', flush=True); os.abort()",
            "page 1 cannot be read: pdfium stops (SIGABRT), perhaps for want of memory",
        ),
        pytest.param(
            "import sys; sys.exit(7)", "damaged, or made to harm: pdfium stops (status 7)", marks=pytest.mark.slow
        ),
        ("print('{', flush=True)", "damaged, or made to harm: pdfium answers nonsense"),
        pytest.param(
            "print('[1, 2]', flush=True)", "damaged, or made to harm: pdfium answers nonsense", marks=pytest.mark.slow
        ),
        ('print(\'{"lines": [[1, 2, 3, 4, 5, 6]], "page": 0}\', flush=True)', "pdfium answers nonsense"),
        pytest.param(
            "while True: print('{}' * 9, end='')",
            "damaged, or made to harm: pdfium answers nonsense",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_process_that_hangs_dies_or_talks_nonsense_costs_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, expected: str
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(pdf_process, "_SECONDS", 0.6 if "sleep" in program else 60.0)
        patch.setattr(pdf_process, "_MOST_ANSWERED", 1 << 16)
        use_program(tmp_path / "stub.py", patch, program)
        assert expected in reason(sample("pdf-open.pdf"))
        assert not pdf_process._idle
    assert "Yrsa Hallgren" in read_pdf(sample("pdf-open.pdf")).text


@pytest.mark.usefixtures("afresh")
@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("os.abort()", "pdfium stops (SIGABRT), perhaps for want of memory"),
        pytest.param("while True: pass", "more than 1 s needed", marks=pytest.mark.slow),
        ("raise MemoryError", "more than 1 GiB of memory needed"),
    ],
)
def test_a_page_that_breaks_the_process_leaves_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, why: str
) -> None:
    monkeypatch.setattr(pdf_process, "_PAGE_SECONDS", 0.51)
    make_worker(tmp_path / "worker.py", monkeypatch, "number == 1", what)
    report = read_pdf(sample("pdf-report.pdf"))
    assert report.notes == (f"page 2 cannot be read: {why}",)
    assert [mark.label for mark in report.marks] == ["1", "3"]
    assert "Outer Knoll is the oldest" in report.text and "5. Thanks" in report.text
    assert "light-emitting" not in report.text


@pytest.mark.usefixtures("afresh")
def test_what_a_file_did_to_the_process_is_not_the_fault_of_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_worker(tmp_path / "worker.py", monkeypatch, "len(served) > 3", "os.abort()")
    for _ in range(3):
        report = read_pdf(sample("pdf-report.pdf"))
        assert report.notes == () and len(report.marks) == 3


@pytest.mark.slow
@pytest.mark.usefixtures("afresh")
def test_a_file_that_takes_too_long_is_read_up_to_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf_process, "_SECONDS", 1.5)
    make_worker(tmp_path / "worker.py", monkeypatch, "number == 2", "time.sleep(600)")
    report = read_pdf(sample("pdf-report.pdf"))
    assert report.notes == ("page 3 left out: reading the file takes longer than 2 s",)
    assert [mark.label for mark in report.marks] == ["1", "2"]


@pytest.mark.usefixtures("afresh")
def test_more_text_than_memory_should_hold_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf_process, "_MOST_ANSWERED", 4000)
    report = read_pdf(sample("pdf-report.pdf"))
    assert [mark.label for mark in report.marks] == ["1", "2"]
    assert report.notes[0].startswith("page 3 left out: the file has more text than")


@pytest.mark.slow
@pytest.mark.usefixtures("afresh")
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems do not bound the memory of a process")
def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf_process, "_MEMORY", 150 << 20)
    page = pdf(b"BT /F 12 Tf 50 700 Td (Words.) Tj ET " + b" " * (60 << 20))
    assert "memory" in reason(page)
    assert "Yrsa Hallgren" in read_pdf(sample("pdf-open.pdf")).text


@pytest.mark.usefixtures("afresh")
def test_a_process_serves_many_files_and_is_replaced_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    read_pdf(sample("pdf-open.pdf"))
    (process,) = pdf_process._idle
    for _ in range(5):
        reason(sample("pdf-password.pdf"))
        read_pdf(sample("pdf-open.pdf"))
    assert pdf_process._idle == [process]
    monkeypatch.setattr(pdf_process, "_FILES", 12)
    read_pdf(sample("pdf-open.pdf"))
    assert pdf_process._idle == []


@pytest.mark.usefixtures("afresh")
def test_an_interrupt_from_the_terminal_is_left_to_the_user_s_process() -> None:
    read_pdf(sample("pdf-open.pdf"))
    (process,) = pdf_process._idle
    process._child.send_signal(signal.SIGINT)
    assert read_pdf(sample("pdf-open.pdf")).text
    assert pdf_process._idle == [process]


@pytest.mark.usefixtures("afresh")
def test_threads_read_at_the_same_time() -> None:
    names = ["pdf-columns.pdf", "pdf-report.pdf", "pdf-open.pdf", "pdf-mixed.pdf"] * 6
    with ThreadPoolExecutor(4) as pool:
        texts = list(pool.map(lambda name: read_pdf(sample(name)).text, names))
    assert texts[:4] * 6 == texts and len(set(texts[:3])) == 3
    assert 1 <= len(pdf_process._idle) <= 2


FORKING = """
import os, sys
from pathlib import Path
from pincite.index import pdf_process
from pincite.index.pdf import read_pdf
data = Path(sys.argv[1]).read_bytes()
text = read_pdf(data).text
(process,) = pdf_process._idle
child = os.fork()
assert read_pdf(data).text == text
if child == 0:
    assert process not in pdf_process._idle
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
assert read_pdf(data).text == text
assert pdf_process._idle == [process]
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
def test_a_forked_process_has_its_own() -> None:
    subprocess.run([sys.executable, "-c", FORKING, str(SAMPLES / "pdf-open.pdf")], check=True, timeout=60)


LEAVING = """
import atexit, os, sys
from pathlib import Path
atexit.register(lambda: print(len(pdf_process._idle)))  # what is registered first is called last
from pincite.index import pdf_process
from pincite.index.pdf import read_pdf
read_pdf(Path(sys.argv[1]).read_bytes())
print(pdf_process._idle[0]._child.pid, flush=True)
if sys.argv[2] == "killed":
    os.kill(os.getpid(), 9)
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
@pytest.mark.parametrize("end", [pytest.param("done", marks=pytest.mark.slow), "killed"])
def test_the_process_ends_with_the_one_that_started_it(end: str) -> None:
    command = [sys.executable, "-c", LEAVING, str(SAMPLES / "pdf-open.pdf"), end]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.stderr == ""
    pid, *left = done.stdout.split()
    assert left == (["0"] if end == "done" else [])
    status = Path(f"/proc/{int(pid)}/stat")
    for _ in range(1000):
        try:
            if status.read_text().rpartition(")")[2].split()[0] == "Z":
                return
        except OSError:
            return
        subprocess.run(["sleep", "0.01"], check=True)
    pytest.fail("it still runs")


def test_a_missing_library_is_named_with_the_extra_that_brings_it(
    monkeypatch: pytest.MonkeyPatch, afresh: None
) -> None:
    monkeypatch.setattr(pdf_process, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r'pypdfium2: pip install "pincite\[pdf\]"'):
        read_pdf(sample("pdf-open.pdf"))


# --- from file to citation ------------------------------------------------------------------------------------------


def test_an_answer_from_a_pdf_cites_its_page(tmp_path: Path, embedder: HashingEmbedder) -> None:
    for path in SAMPLES.glob("pdf-*.pdf"):
        shutil.copy(path, tmp_path)
    index = Index.sync(tmp_path / ".pincite", [tmp_path], embedder=embedder)
    assert index.report is not None and index.report.added == 4
    assert {(Path(skipped.path).name, skipped.reason) for skipped in index.report.skipped} == {
        ("pdf-mixed.pdf", "pages 2-3 have no text; they may be scanned"),
        ("pdf-password.pdf", reason(sample("pdf-password.pdf"))),
        ("pdf-scan.pdf", reason(sample("pdf-scan.pdf"))),
    }
    asked = {
        "How much herring may the keeper have each year?": ("forty kilograms", "pdf-report.pdf", 2),
        "Who retired in September?": ("Halvard Quist", "pdf-report.pdf", 1),
        "Who put up a clock in the window of the post office?": ("Lindqvist", "pdf-columns.pdf", 1),
        "How many copies of the tide almanac were printed?": ("3,400", "pdf-columns.pdf", 2),
    }
    pipeline = Pipeline(index, reader=KnowingReader({question: asked[question][0] for question in asked}))
    for question, (quote, name, page) in asked.items():
        citation = pipeline.ask(question).citations[0]
        assert (citation.quote, Path(citation.path).name, citation.page) == (quote, name, page)
        assert (citation.unit, citation.mark, citation.verified) == ("page", str(page), True)
        assert "\n" not in citation.sentence
