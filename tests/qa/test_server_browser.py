"""The page as a reader meets it, in a real browser."""

from __future__ import annotations

import base64
import unicodedata
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import quote

import pytest
from selenium.webdriver.common.keys import Keys

from pincite.qa.live_index import LiveIndex
from pincite.qa.span_model import Window
from tests.conftest import KnowingReader
from tests.qa.chromium import Page, chromium
from tests.qa.serving import BOARD, NOTHING, TRAIN, make_live, on_a_port, write_articles

pytestmark = pytest.mark.slow

PRICE, FERRY, HOSTILE = "What does the ticket cost?", "When does the ferry leave?", "Who wrote the script?"
ANSWERS = {
    BOARD: ["Ann, Bob and Cid"],
    TRAIN: ["at noon"],
    PRICE: ["two crowns", "nine crowns"],
    FERRY: ["at ten"],
    HOSTILE: ["Mallory \u05d0\u05d1 🙂"],
}
SCRIPT = "<script>window.pwned = 1</script><img src=x onerror='window.pwned = 2'>\"'&lt;"


class ManyAnswersReader(KnowingReader):
    """A KnowingReader that knows several answers to a question."""

    def __init__(self, answers: Mapping[str, Sequence[str]]) -> None:
        super().__init__({})
        self.many = answers

    def read(self, question: str, texts: Sequence[str]) -> list[Window]:
        known = self.many.get(question, [])
        found = [next((answer for answer in known if answer in text), "") for text in texts]
        return [window for n, text in enumerate(texts) for window in self._windows(n, text, found[n])]


@dataclass(frozen=True)
class Site:
    """A server with its articles."""

    address: str
    articles: Path
    live: LiveIndex


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with chromium(tmp_path_factory.mktemp("chromium")) as page:
        yield page


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    articles = write_articles(tmp_path_factory.mktemp("site"))
    (articles / "a.txt").write_text("The price list\n\nBy Ann Lee\n\nThe ticket costs two crowns.\n")
    (articles / "b.txt").write_text("The ticket costs nine crowns.\n")
    wide = "y" * 500
    said = "The script was written by Mallory \u05d0\u05d1 🙂 and \u202eno other\x1b[31m\x07.\n"
    hostile = f"{SCRIPT}{wide}\n\n{wide} 🙂 {said}"
    (articles / "evil <b>x.txt").write_text(hostile)
    long = "\n".join(f"Line {n} of the log says nothing.\n" for n in range(2000))
    (articles / "long.txt").write_text(f"{long}\nThe ferry leaves at ten.\n\n{long}")
    live = make_live(articles)
    live._reader = ManyAnswersReader(ANSWERS)
    with on_a_port(live) as address:
        yield Site(address, articles, live)


@pytest.fixture(autouse=True)
def desk(page: Page) -> Iterator[None]:
    """Begin each test at a desk, and end it without a complaint of the browser."""
    page.emulate()
    page.complaints()
    yield
    assert page.complaints() == []


def test_a_question_is_asked_and_its_source_read_without_a_mouse(page: Page, site: Site) -> None:
    page.open(site.address)
    page.wait(lambda: page.is_shown(".intro"))
    page.js("document.activeElement.blur()")
    page.press("/", *BOARD, Keys.ENTER)
    page.wait(page.is_answered)
    assert page.text(".answer") == "Ann, Bob and Cid"
    assert "Very likely right" in page.text(".sureness") and "confidence 1.00" in page.text(".sureness")
    assert page.js("return document.title").startswith(BOARD)
    assert page.text("#live").startswith("Answer: Ann, Bob and Cid. Very likely right")
    assert page.texts(".cite mark") == ["Ann, Bob and Cid"]
    assert page.text(".cite .place").endswith("board.txt:3:18") and page.text(".cite .verified") == "as in the file"
    page.js("document.activeElement.blur()")
    page.press("j")
    focused = "return document.activeElement.className"
    assert page.js(focused) == "place"
    page.press(Keys.ENTER)
    page.wait(lambda: page.texts("#source mark") == ["Ann, Bob and Cid"])
    assert page.text("#source .around") == "On the board sit "
    assert page.js("return document.activeElement.id") == "source-title"
    assert page.text("#source-title") == "The board of the club"
    page.press(Keys.ESCAPE)
    assert not page.is_shown("#source") and page.js(focused) == "place"
    page.press("k")
    assert page.js("return document.activeElement.id") == "question"
    page.press(Keys.ARROW_DOWN, Keys.ARROW_DOWN)
    assert page.js("return document.activeElement.tagName") == "SUMMARY"
    page.press(Keys.ENTER, Keys.ARROW_DOWN, Keys.ENTER)
    page.wait(lambda: page.is_shown("#source .around") and not page.is_shown("#source mark"))
    page.press(Keys.ESCAPE)


def test_what_articles_say_is_shown_and_never_run(page: Page, site: Site) -> None:
    page.ask(site.address, HOSTILE)
    assert page.text(".answer") == "Mallory \u05d0\u05d1 🙂"
    assert page.texts(".cite mark") == ["Mallory \u05d0\u05d1 🙂"]
    sentence = page.text(".cite blockquote")
    assert "no other" in sentence and not any(unicodedata.category(c) == "Cc" or c == "\u202e" for c in sentence)
    page.click(".cite .place")
    page.wait(lambda: page.texts("#source mark") == ["Mallory \u05d0\u05d1 🙂"])
    assert SCRIPT in page.text("#source-text")
    assert page.text("#source-place").endswith("evil <b>x.txt:3")
    page.click("#source-close")
    page.click("summary")
    assert any(SCRIPT in snippet for snippet in page.texts(".snippet"))
    question = "<img src=x onerror='window.pwned = 3'>"
    page.ask(site.address, question)
    assert page.js("return document.querySelectorAll('main img, main script, #source img').length") == 0
    assert page.js("return window.pwned") is None
    with pytest.raises(Exception, match="TrustedHTML"):
        page.js("document.body.innerHTML = '<b>x</b>'")
    assert all("TrustedHTML" in complaint for complaint in page.complaints())


def test_the_quote_is_in_sight_deep_in_a_long_source(page: Page, site: Site) -> None:
    page.ask(site.address, FERRY)
    page.click(".cite .place")
    page.wait(lambda: page.texts("#source mark") == ["at ten"])
    inside = """
        const [mark, box] = ["#source mark", "#source-text"].map(s => document.querySelector(s))
          .map(e => e.getBoundingClientRect());
        return mark.top >= box.top && mark.bottom <= Math.min(box.bottom, innerHeight) && !scrollY"""
    assert page.js(inside)
    number = (site.articles / "long.txt").read_text().split("\n").index("The ferry leaves at ten.") + 1
    line = "return document.querySelector('#source mark').closest('.line').dataset.n"
    assert page.js(line) == str(number)
    first = "return document.querySelector('.line').dataset.n"
    while (shown := int(page.js(first))) > 1:
        assert "before" in page.texts(".more")[0]
        top = "return document.querySelector(`[data-n='${arguments[0]}']`).getBoundingClientRect().top"
        page.js("document.querySelector('#source-text').scrollTop = 0")
        before = page.js(top, shown + 1)
        page.click(".more")
        page.wait(partial(lambda number: int(page.js(first)) < number, shown))
        assert abs(page.js(top, shown + 1) - before) < 60  # the height of the button that moved away
    assert page.texts("#source mark") == ["at ten"] and page.js(line) == str(number)


def test_a_pdf_is_cited_by_its_page_and_opened_there(page: Page, tmp_path: Path) -> None:
    pytest.importorskip("pypdfium2")
    pages = "<h1>The lighthouse</h1><p>It stands on the cape.</p><p style='break-before: page'>It was lit in 1893.</p>"
    page.driver.get("data:text/html," + quote(pages))
    printed = base64.b64decode(page.driver.execute_cdp_cmd("Page.printToPDF", {})["data"])
    (tmp_path / "light house #1.pdf").write_bytes(printed)
    question = "When was the lighthouse lit?"
    with on_a_port(make_live(tmp_path, answers={question: "1893"})) as address:
        page.ask(address, question)
        assert page.text(".cite .place").endswith("light house #1.pdf, page 2")
        page.click(".cite .place")
        page.wait(lambda: page.texts("#source mark") == ["1893"])
        assert page.texts(".pagemark") == ["page 1", "page 2"]
        assert "page 2" in page.text("#source-facts")
        link = page.js("return document.querySelector('#source-facts a').href")
        assert link.endswith("light%20house%20%231.pdf#page=2")
        with urllib.request.urlopen(link.partition("#")[0]) as file:
            assert file.read() == printed and file.headers["content-type"] == "application/pdf"


def test_subtitles_are_cited_by_their_time(page: Page, tmp_path: Path) -> None:
    cues = ["The harbour master is called", "Nora Quint. She has held", "the post since 2011."]
    times = [f"00:00:0{n},000 --> 00:00:0{n},900" for n in range(3)]
    blocks = [f"{n}\n{time}\n{cue}\n" for n, (time, cue) in enumerate(zip(times, cues, strict=True), 1)]
    (tmp_path / "talk.srt").write_text("\n".join(blocks))
    question = "Who is the harbour master?"
    with on_a_port(make_live(tmp_path, answers={question: "Nora Quint"})) as address:
        page.ask(address, question)
        assert page.text(".cite .place").endswith("talk.srt, at 00:00:01")
        page.click(".cite .place")
        page.wait(lambda: page.texts("#source mark") == ["Nora Quint"])
        beside = "return [...document.querySelectorAll('.line')].map(line => [line.dataset.n, line.innerText.trim()])"
        assert page.js(beside) == [[time[:8], cue] for time, cue in zip(times, cues, strict=True)]


def test_silence_of_the_articles_is_said_and_the_best_guess_is_one_click_away(page: Page, site: Site) -> None:
    page.ask(site.address, NOTHING)
    assert page.text(".silent .answer") == "The articles do not say." == page.text("#live")
    assert "too little for an answer" in page.text(".silent")
    assert page.texts(".snippet")
    page.click(".silent button")
    page.wait(lambda: page.is_shown(".cite"))
    assert "Unsure" in page.text(".sureness") and "min=0" in page.js("return location.hash")


def test_sources_that_disagree_are_shown_beside_each_other(page: Page, site: Site) -> None:
    page.ask(site.address, PRICE)
    assert "disagree" in page.text(".notice h2")
    assert {page.text(".answer"), *page.texts(".notice .what")} == {"two crowns", "nine crowns"}
    page.click(".notice .place")
    page.wait(lambda: page.texts("#source mark") == page.texts(".notice .what"))


def test_copies_are_cited_once_with_the_places_of_all(page: Page, tmp_path: Path) -> None:
    article = "The mayor of Stein is Vera Holm. She was elected in May.\n"
    for name in ("agency.txt", "morning paper.txt", "evening paper.txt"):
        (tmp_path / name).write_text(article)
    question = "Who is the mayor of Stein?"
    with on_a_port(make_live(tmp_path, answers={question: "Vera Holm"})) as address:
        page.ask(address, question)
        assert len(page.texts(".cite")) == 1 and page.text(".cite .also").startswith("also in")
        copies = page.texts(".cite .also .place")
        assert [copy.rpartition("/")[2] for copy in copies] == ["evening paper.txt:1:23", "morning paper.txt:1:23"]
        page.click(".cite .also .place")
        page.wait(lambda: page.texts("#source mark") == ["Vera Holm"])
        assert "evening paper.txt" in page.text("#source-place")


def test_filters_narrow_the_answer_and_are_told_when_they_say_nothing(page: Page, site: Site) -> None:
    page.ask(site.address, PRICE)
    page.click("#filters-button")
    page.wait(lambda: "author" in page.text("#filter-help"))
    page.press("path=b.txt", Keys.ENTER)
    page.wait(lambda: page.text(".answer") == "nine crowns" and page.is_answered())
    assert not page.is_shown(".notice") and "where=path%3Db.txt" in page.js("return location.hash")
    assert page.texts("#filter-list button") == ["path=b.txt"]
    page.click("#filter-list button")
    page.wait(lambda: page.is_shown(".notice"))
    page.open(f"{site.address}#q={quote(PRICE)}&where=author%3DNobody")
    page.wait(page.is_answered)
    assert "No document fits these filters" in page.text(".silent")
    page.open(f"{site.address}#q={quote(PRICE)}&where=nonsense")
    page.wait(page.is_answered)
    assert "Cannot read the condition" in page.text(".failed")
    assert all("400" in complaint for complaint in page.complaints())


def test_the_address_holds_the_question_and_goes_back(page: Page, site: Site) -> None:
    page.ask(site.address, BOARD)
    page.js("document.querySelector('#question').value = arguments[0]", TRAIN)
    page.click("#ask-button")
    page.wait(lambda: page.text(".answer") == "at noon")
    page.js("history.back()")
    page.wait(lambda: page.text(".answer") == "Ann, Bob and Cid")
    assert page.js("return document.querySelector('#question').value") == BOARD
    page.click(".brand")
    page.wait(lambda: page.is_shown(".intro"))


def test_the_index_is_updated_from_the_page(page: Page, site: Site) -> None:
    (site.articles / "new.txt").write_text("The boat to Thun leaves at dusk.\n")
    (site.articles / "broken.txt").write_bytes(b"\0\1\2\3" * 100)
    site.live._changes = None  # as of some seconds ago
    page.ask(site.address, BOARD)
    page.wait(lambda: page.text("#index-short") == "2 files to update")
    page.click("#index-button")
    assert "Generation" in page.text("#index-facts") and "hashing" in page.text("#index-facts")
    page.click("#sync-button")
    page.wait(lambda: page.text("#sync-outcome") == "Updated: 1 added, 1 skipped.")
    page.wait(lambda: "binary" in page.text("#index-facts"))
    page.wait(lambda: page.text("#index-short").endswith("documents"))
    page.press(Keys.ESCAPE)
    assert not page.is_shown("#index-card")
    page.click("#again button")
    page.wait(lambda: page.is_answered() and not page.is_shown("#again"))


def test_progress_of_a_sync_is_shown_while_it_runs(page: Page, tmp_path: Path) -> None:
    articles = write_articles(tmp_path)
    with on_a_port(make_live(articles)) as address:
        page.open(address)
        status = """
            const real = window.fetch;
            window.fetch = async (path, options) => {
              const answer = await real(path, options);
              if (!String(path).startsWith("/api/status") || window.isOver) return answer;
              const body = await answer.json();
              Object.assign(body.sync, {state: "running", bytes_read: 42, bytes_total: 100, passages_done: 1234,
                                        passages_expected: 9876, passages_per_second: 168, seconds: 7});
              return new Response(JSON.stringify(body), {status: 200});
            };"""
        page.js(status)
        page.click("#index-button")
        page.wait(lambda: page.text("#index-short") == "updating, 42 %")
        assert page.text("#sync-text") == "1,234 of about 9,876 passages, 168/s, 51 s left"
        assert page.js("return document.querySelector('#sync-button').disabled")
        assert page.js("return document.querySelector('.progress .bar').getAttribute('aria-valuenow')") == "42"
        page.js("window.isOver = true")
        page.wait(lambda: page.text("#index-short") == "3 documents")
        assert not page.is_shown("#sync-progress")


def test_a_server_that_is_gone_is_told(page: Page, tmp_path: Path) -> None:
    with on_a_port(make_live(write_articles(tmp_path))) as address:
        page.ask(address, BOARD)
    page.js("document.querySelector('#ask').requestSubmit()")
    page.wait(lambda: page.is_shown(".failed"))
    assert "still running" in page.text(".failed")
    assert all("ERR_CONNECTION_REFUSED" in complaint for complaint in page.complaints())


# Layout


@pytest.mark.parametrize("width", [360, 768])
def test_nothing_is_cut_off_on_a_small_screen(page: Page, site: Site, width: int) -> None:
    page.emulate(width=width, height=740)
    fits = f"return document.scrollingElement.scrollWidth <= {width}"
    for question in (BOARD, HOSTILE, NOTHING, PRICE):
        page.ask(site.address, question)
        assert page.js(fits), question
    page.click("#index-button")
    assert page.js(fits)
    page.press(Keys.ESCAPE)
    page.click(".cite .place")
    page.wait(lambda: page.is_shown("#source mark"))
    assert page.js(fits)
    box = page.js("return document.querySelector('#source').getBoundingClientRect().toJSON()")
    assert (box["left"], box["top"], box["width"], box["height"]) == (0, 0, width, 740)
    assert page.js("return document.querySelector('main').inert && document.querySelector('.top').inert")
    page.click("#source-close")
    assert not page.js("return document.querySelector('main').inert")
    small = """
        return [...document.querySelectorAll("button, input, summary")].filter(e => e.checkVisibility())
          .filter(e => e.getBoundingClientRect().height < 20).map(e => e.outerHTML)"""
    assert page.js(small) == []


CONTRAST = """
    const parse = text => (text.match(/[\\d.]+/g) ?? [0, 0, 0, 0]).map(Number);
    const light = ([r, g, b]) => [r / 255, g / 255, b / 255]
      .map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
      .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
    const behind = node => {
      for (let e = node; e; e = e.parentElement) {
        const colour = parse(getComputedStyle(e).backgroundColor);
        if (colour.length < 4 || colour[3] > .99) return colour;
      }
      return parse(getComputedStyle(document.documentElement).backgroundColor);
    };
    const poor = [];
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
      const node = texts.currentNode.parentElement;
      const isRead = texts.currentNode.data.trim() && node.checkVisibility();
      if (!isRead || node.closest(".unseen, .skip, noscript")) continue;
      const [a, b] = [parse(getComputedStyle(node).color), behind(node)].map(light);
      const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
      if (ratio < 4.5) poor.push(`${ratio.toFixed(2)} ${node.tagName}.${node.className}: ${texts.currentNode.data}`);
    }
    return poor"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_stands_out_from_what_is_behind_it(page: Page, site: Site, scheme: str) -> None:
    page.emulate(prefers_color_scheme=scheme)
    for question in (BOARD, PRICE, NOTHING):
        page.ask(site.address, question)
        assert page.js(CONTRAST) == []
    page.ask(site.address, BOARD)
    page.click(".cite .place")
    page.wait(lambda: page.is_shown("#source mark"))
    page.click("#index-button")
    page.wait(lambda: page.is_shown("#index-facts dd"))
    assert page.js(CONTRAST) == []
    background = page.js("return getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, background[4:-1].split(","))) > 384) == (scheme == "light")


def test_nothing_moves_for_who_does_not_want_it(page: Page, site: Site) -> None:
    moving = """
        return [...document.querySelectorAll("*")].map(e => getComputedStyle(e))
          .some(s => s.animationName !== "none" || s.transitionProperty !== "none" && s.transitionDuration !== "0s")"""
    page.ask(site.address, BOARD)
    assert page.js(moving)
    page.emulate(prefers_reduced_motion="reduce")
    assert not page.js(moving)


def test_every_control_has_a_name_and_every_field_a_label(page: Page, site: Site) -> None:
    page.ask(site.address, PRICE)
    page.click("#filters-button")
    page.click(".cite .place")
    page.wait(lambda: page.is_shown("#source mark"))
    tree = page.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    named = {"button", "textbox", "searchbox", "link", "dialog", "DisclosureTriangle", "region", "list"}
    nameless = [
        node
        for node in tree
        if not node.get("ignored")
        and node["role"]["value"] in named - {"list"}
        and not node.get("name", {}).get("value", "").strip()
    ]
    assert nameless == []
    assert page.js("return [...document.querySelectorAll('input')].every(input => input.labels.length === 1)")
    roles = {node["role"]["value"] for node in tree if not node.get("ignored")}
    assert {"search", "status", "dialog", "main", "banner", "searchbox", "mark", "blockquote"} <= roles


def test_the_page_asks_nobody_else(page: Page, site: Site) -> None:
    page.ask(site.address, BOARD)
    page.click(".cite .place")
    page.wait(lambda: page.is_shown("#source mark"))
    loaded = page.js("return performance.getEntriesByType('resource').map(entry => entry.name)")
    assert len(loaded) > 5 and all(name.startswith(site.address) for name in loaded)
    assert page.js("return document.cookie + localStorage.length + sessionStorage.length") == "00"
