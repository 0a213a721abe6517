"""One question to a sample of each format, by the real models: the answer, and a citation that a person can follow."""

from __future__ import annotations

from pathlib import Path

import pytest

from pincite.index import Index
from pincite.qa import Pipeline

SAMPLES = Path(__file__).parent / "samples"

ASKED = [
    ("pdf-columns.pdf", "How many tide clocks does the keeper climb to?", "eleven", ("page", "2")),
    ("pdf-open.pdf", "Who is the master of the ferry?", "Captain Yrsa Hallgren", ("page", "1")),
    ("docx-pandoc.docx", "Who is the ferryman?", "Olof Brandt", ("section", "The crossing")),
    ("epub-libreoffice.epub", "To whom do the six hives belong?", "Fenna Oduya", ("chapter", "Six hives and a lift")),
    ("ipynb-executed.ipynb", "Who read the gauge at Corran Steps?", "Nils Aamodt", ("cell", "1")),
    ("srt-talk.srt", "Who closed the bridge over the Tarn?", "Helga Brenn", ("time", "00:00:12")),
    ("vtt-speakers.vtt", "How much herring was landed in 2014?", "310 tonnes", ("time", "01:00:10")),
    ("csv-articles.csv", "Who is the new tenant of the café?", "Màiri Sinclair", ("column", "Body")),
    ("tsv-ferries.tsv", "What is the home port of the ferry Gannet?", "Oban", ("column", "Home port")),
    ("mail-minutes.eml", "Who is the new treasurer?", "Ingrid Moe", ("", "")),
    ("mail-harbour.mbox", "What does the repair of the crane cost?", "7,400 crowns", ("", "")),
    ("gz-harbour.mbox.gz", "What does the repair of the crane cost?", "7,400 crowns", ("", "")),
    ("zip-papers.zip", "How long has the tide mill of Eling ground flour?", "900 years", ("", "")),
    ("tar-papers.tar.gz", "How much does the fog bell weigh?", "430 kilograms", ("", "")),
]


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    return Pipeline(Index.sync(tmp_path_factory.mktemp("formats") / ".pincite", [SAMPLES]))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "question", "words", "place"), ASKED)
def test_each_format_answers_and_is_cited(
    pipeline: Pipeline, name: str, question: str, words: str, place: tuple[str, str]
) -> None:
    answer = pipeline.ask(question, where=f"path={name}", min_confidence=0)
    assert answer.text is not None and words in answer.text
    citation = answer.citations[0]
    assert citation.verified and f"/samples/{name}" in citation.path and words in citation.quote
    assert (citation.unit, citation.mark) == place
    document = next(one for one in pipeline.index.documents_of(citation.path) if one.path == citation.path)
    assert citation.span.of(document.text) == citation.quote
    assert (citation.page is not None) == (citation.unit == "page")
