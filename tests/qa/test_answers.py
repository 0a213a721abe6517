"""One answer of many spans: the best, all its places, and nothing rather than a guess."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pincite.index import Document, Evidence, Index, Passage, Span, examine
from pincite.qa import Citation, Pipeline
from pincite.qa.answers import Alternative, Answer, compose, independent
from pincite.qa.copies import Copies
from pincite.qa.reader import ScoredSpan
from pincite.qa.retriever import Hit, retrieve
from tests.conftest import HashingEmbedder, KnowingReader

Compose = Callable[..., Answer]


@pytest.fixture
def composed(articles: Path, embedder: HashingEmbedder) -> Compose:
    """A function from (file, quote, confidence)... to the answer they add up to."""
    (articles / "copy.txt").write_text("Some more news.\n\nThe train to  Bern leaves at noon.\n")
    index = Index.sync(articles / ".pincite", [articles], embedder=embedder)

    def source(hit: Hit) -> tuple[Document, Evidence]:
        document = index.document(hit.passage.document_id)
        return document, examine(document, index.location(document))

    def compose_spans(*found: tuple[str, str, float], min_confidence: float = 0.5) -> Answer:
        hits = {Path(hit.path).name: hit for hit in retrieve(index, "x", embedder.embed_query("x"), 10)}
        spans = []
        for name, quote, confidence in found:
            start = source(hits[name])[0].text.index(quote)
            span = Span(start, start + len(quote))
            spans.append(ScoredSpan(hits[name], span, span, quote, 1.0, confidence))
        return compose("x?", spans, list(hits.values()), source, min_confidence=min_confidence, elapsed={})

    return compose_spans


def test_best_span_is_the_answer_and_others_are_alternatives(composed: Compose) -> None:
    answer = composed(
        ("garden.md", "Roses grow behind the house.", 0.6), ("train.txt", "It has six cars and a bar.", 0.9)
    )
    assert (answer.text, answer.confidence) == ("It has six cars and a bar.", 0.9)
    assert [(item.text, item.confidence) for item in answer.alternatives] == [("Roses grow behind the house.", 0.6)]


def test_equal_answers_from_several_places_become_one_with_all_citations(composed: Compose) -> None:
    answer = composed(
        ("copy.txt", "The train to  Bern leaves at noon.", 0.7),
        ("train.txt", "The train to Bern leaves at noon.", 0.8),
        ("train.txt", "The train to Bern leaves at noon.", 0.8),
    )
    assert answer.text == "The train to Bern leaves at noon."
    assert [(Path(item.path).name, item.line) for item in answer.citations] == [("train.txt", 1), ("copy.txt", 3)]
    assert all(citation.verified for citation in answer.citations)
    assert answer.alternatives == ()


def test_a_name_in_more_words_is_the_same_answer_and_the_likelier_wording_is_given(composed: Compose) -> None:
    answer = composed(("train.txt", "six cars", 0.8), ("train.txt", "six", 0.7), ("garden.md", "three", 0.6))
    assert answer.text == "six cars"
    assert [citation.quote for citation in answer.citations] == ["six cars"]
    assert [item.text for item in answer.alternatives] == ["three"]


def test_sources_that_say_otherwise_are_told_from_sources_that_agree(composed: Compose) -> None:
    answer = composed(("train.txt", "noon", 0.8), ("copy.txt", "noon", 0.75), ("board.txt", "May", 0.7))
    assert [Path(path).name for path in answer.sources] == ["train.txt", "copy.txt"]
    assert [item.text for item in answer.disagreeing] == ["May"]
    assert composed(("train.txt", "noon", 0.8), ("board.txt", "May", 0.5)).disagreeing == ()
    assert composed(("train.txt", "noon", 0.8), ("train.txt", "six", 0.8)).disagreeing == ()


def test_nothing_certain_enough_is_no_answer(composed: Compose) -> None:
    answer = composed(("train.txt", "It has six cars and a bar.", 0.4))
    assert (answer.text, answer.citations, answer.confidence) == (None, (), 0.4)
    assert len(answer.hits) == 4
    assert composed().text is None and composed().confidence == 0.0


STORY = (
    "The harbour board met on Tuesday, as it does four times a year. After two hours it named «Ida Moss» director of "
    "the port for the next five years. The first crane is to be replaced before the winter."
)
QUESTION = "Who was named director of the port?"
PAGE = "<html><head><title>Harbour news</title></head><body><article><p>{}</p></article></body></html>"


def asked(folder: Path, embedder: HashingEmbedder, answer: str = "Ida Moss") -> Answer:
    """Return the answer to the question from all files of a folder, each as it is read."""
    index = Index.sync(folder / ".pincite", [folder], embedder=embedder)
    found = Pipeline(index, reader=KnowingReader({QUESTION: answer})).ask(QUESTION, read_all=True, min_confidence=0.1)
    citations = [*found.citations, *(citation for other in found.alternatives for citation in other.citations)]
    for place in [place for citation in citations for place in (citation, *citation.also)]:
        (document,) = index.documents_of(place.path)
        assert document.text[place.span.start : place.span.end] == place.quote
        assert document.text[place.sentence_span.start : place.sentence_span.end] == place.sentence
        assert place.verified
    return found


def names(citations: tuple[Citation, ...]) -> list[list[str]]:
    return [[Path(place.path).name for place in (citation, *citation.also)] for citation in citations]


def test_the_same_article_in_two_formats_and_under_two_names_is_cited_once_with_all_places(
    tmp_path: Path, embedder: HashingEmbedder
) -> None:
    (tmp_path / "news.html").write_text(PAGE.format(STORY), encoding="utf-8")
    (tmp_path / "long-name.txt").write_text(f"Harbour news\n\nBy Jane Roe\n\n{STORY}\n", encoding="utf-8")
    (tmp_path / "news.txt").write_text("# News\n\n" + STORY.replace(" ", "\n"), encoding="utf-8")
    answer = asked(tmp_path, embedder)
    assert names(answer.citations) == [["news.txt", "long-name.txt", "news.html"]]  # plain text, then the shortest path
    assert answer.text == "Ida\nMoss"  # as the first place has it
    assert answer.sources == (str(tmp_path / "news.txt"),)
    assert [place.column for place in answer.citations[0].also] == [91, 91]


def test_twelve_reprints_and_a_report_of_its_own_are_two_sources(tmp_path: Path, embedder: HashingEmbedder) -> None:
    for day in range(1, 13):
        text = f"Paper {'abcdefghijkl'[day - 1]}\n\nHARBOUR TOWN, May {day} (ETN) - {STORY}\n"
        (tmp_path / f"reprint{day:02}.txt").write_text(text, encoding="utf-8")
    (tmp_path / "own.txt").write_text("We met the new director of the port, Ida Moss, at noon.")
    answer = asked(tmp_path, embedder)
    assert sorted(map(len, names(answer.citations))) == [1, 12]
    assert len(answer.sources) == 2
    assert answer.disagreeing == ()


def test_copies_that_are_read_in_different_sentences_are_one_source(tmp_path: Path, embedder: HashingEmbedder) -> None:
    more = "Nobody had expected that the board would choose so quickly. On Friday Ida Moss met the press of the town."
    (tmp_path / "a.txt").write_text(f"{STORY} {more}\n", encoding="utf-8")
    (tmp_path / "b.txt").write_text(f"{more}\n\nThe garden opens.\n\n{STORY}\n", encoding="utf-8")
    answer = asked(tmp_path, embedder)
    assert {name for place in names(answer.citations) for name in place} == {"a.txt", "b.txt"}
    assert len(answer.sources) == 1


def test_a_short_sentence_is_a_copy_only_with_words_beside_it(tmp_path: Path, embedder: HashingEmbedder) -> None:
    (tmp_path / "a.txt").write_text("The old one has left. Ida Moss is director now. She begins in May.")
    (tmp_path / "b.txt").write_text("The port has reopened after the fire. Ida Moss is director now.")
    assert len(asked(tmp_path, embedder).sources) == 2
    (tmp_path / "b.txt").write_text("The port is open. Ida Moss is director now. She begins in May.")
    assert len(asked(tmp_path, embedder).sources) == 1
    (tmp_path / "b.txt").write_text("Ida Moss is director now.")
    assert len(asked(tmp_path, embedder).sources) == 2
    (tmp_path / "a.txt").write_text("Ida Moss is director now!")
    assert len(asked(tmp_path, embedder).sources) == 1


def test_a_sentence_that_another_reports_or_alters_is_another_source(tmp_path: Path, embedder: HashingEmbedder) -> None:
    sentence = "After two hours the board named Ida Moss director of the port."
    (tmp_path / "a.txt").write_text(f"A long day. {sentence}")
    for other in (
        f"The mayor doubts that {sentence}",
        sentence.replace("two", "five"),
        sentence.replace("After", "In"),
    ):
        (tmp_path / "b.txt").write_text(f"Some news. {other}")
        assert len(asked(tmp_path, embedder).sources) == 2


def test_place_whose_file_has_changed_is_not_the_one_that_is_cited(tmp_path: Path, embedder: HashingEmbedder) -> None:
    for name in ("a.txt", "longer.txt"):
        (tmp_path / name).write_text(STORY, encoding="utf-8")
    index = Index.sync(tmp_path / ".pincite", [tmp_path], embedder=embedder)
    (tmp_path / "a.txt").write_text("Nothing is left of it.")
    answer = Pipeline(index, reader=KnowingReader({QUESTION: "Ida Moss"})).ask(QUESTION)
    assert names(answer.citations) == [["longer.txt", "a.txt"]]
    (copy,) = answer.citations[0].also
    assert answer.citations[0].verified
    assert not copy.verified and "changed" in copy.problem and copy.quote == "Ida Moss"


def test_weekly_reports_of_one_form_contradict_each_other(articles: Path, embedder: HashingEmbedder) -> None:
    for week, tonnes in ((12, 340), (13, 512)):
        text = f"In week {week} the port landed {tonnes} tonnes of herring. The cranes stood still because of wind."
        (articles / f"week{week}.txt").write_text(text)
    index = Index.sync(articles / ".pincite", [articles], embedder=embedder)

    def source(hit: Hit) -> tuple[Document, Evidence]:
        document = index.document(hit.passage.document_id)
        return document, examine(document, index.location(document))

    hits = Pipeline(index).search("tonnes of herring in the port", 5)
    weeks = [hit for hit in hits if "week" in Path(hit.path).name]
    assert len(weeks) == 2
    spans = []
    for hit in weeks:
        number = "340" if "week12" in hit.path else "512"
        start = hit.passage.text.index(number)
        sentence = Span(0, hit.passage.text.index(".") + 1)
        spans.append(ScoredSpan(hit, Span(start, start + 3), sentence, number, 1.0, 0.8))
    answer = compose("x?", spans, hits, source, min_confidence=0.5, elapsed={})
    assert {answer.text, *(other.text for other in answer.disagreeing)} == {"340", "512"}
    assert answer.citations[0].also == ()


def test_copy_that_is_read_with_another_quote_is_not_cited_again(articles: Path, embedder: HashingEmbedder) -> None:
    sentence = "After two hours the board named Ida Moss director of the port."
    for name in ("a.txt", "copy.txt"):
        (articles / name).write_text(sentence)
    index = Index.sync(articles / ".pincite", [articles], embedder=embedder)

    def source(hit: Hit) -> tuple[Document, Evidence]:
        document = index.document(hit.passage.document_id)
        return document, examine(document, index.location(document))

    hits = {Path(hit.path).name: hit for hit in retrieve(index, "x", embedder.embed_query("x"), 10)}
    spans = []
    for name, quote in (("a.txt", "Ida Moss"), ("copy.txt", "named Ida Moss")):
        start = sentence.index(quote)
        span = Span(start, start + len(quote))
        spans.append(
            ScoredSpan(hits[name], span, Span(0, len(sentence)), quote, 1.0, 0.9 if quote == "Ida Moss" else 0.8)
        )
    answer = compose("x?", spans, list(hits.values()), source, min_confidence=0.5, elapsed={})
    assert names(answer.citations) == [["a.txt", "copy.txt"]]
    assert {place.quote for place in (answer.citations[0], *answer.citations[0].also)} == {"Ida Moss"}


def test_sentence_of_a_folded_copy_is_found_beside_its_passage() -> None:
    sentence = "After two hours the board named Ida Moss director of the port."
    text = f"{sentence} The first crane is to be replaced before the winter."

    def hit(name: str, start: int, end: int) -> Hit:
        return Hit(Passage(name, Span(start, end), text[start:end]), name, name, 1, 0.5, 1, 1)

    copy = hit("copy", len(sentence) + 1, len(text))
    found = replace(hit("original", 0, len(text)), also=(copy,))
    copies = Copies([found], lambda hit: Document(hit.path, hit.path, "", text, ""))
    quote = Span(text.index("Ida"), text.index("Ida") + 8)
    assert list(copies.of(found, quote, Span(0, len(sentence)))) == [(copy, quote, Span(0, len(sentence)))]


def test_files_that_are_copies_of_one_another_anywhere_are_one_source() -> None:
    def cited(path: str, *also: str) -> Citation:
        copies = tuple(cited(copy) for copy in also)
        return Citation(path, "", Span(0, 1), 1, 1, 1, "x", "x", Span(0, 1), 0.9, True, also=copies)

    found = (cited("a", "b"), cited("c", "b"), cited("d"), cited("b"))
    assert independent(found) == ("a", "d")
    other = Alternative("y", 0.9, (cited("e", "b"),))
    answer = Answer("?", "x", 0.9, found, (), (other, Alternative("z", 0.9, (cited("f"),))))
    assert [alternative.text for alternative in answer.disagreeing] == ["z"]
    assert (answer.sources, other.sources) == (("a", "d"), ("e",))
