"""Subtitles: cues become running text, and every word of it can be found again by its time."""

from __future__ import annotations

import random
from contextlib import suppress
from pathlib import Path

import pytest

from pincite.index import subtitles
from pincite.index.extracted import Extracted, Mark, UnreadableError
from pincite.index.sentences import split_sentences
from pincite.index.subtitles import read_srt, read_vtt
from tests.conftest import HashingEmbedder
from tests.index.sample_files import citation, sample, spoiled


def clock(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02},{round(seconds % 1 * 1000):03}"


def srt(*cues: tuple[float, float, str]) -> bytes:
    return "".join(
        f"{number}\n{clock(start)} --> {clock(end)}\n{text}\n\n" for number, (start, end, text) in enumerate(cues, 1)
    ).encode()


def read(*texts: str) -> str:
    """Return the text of cues that follow each other without a pause."""
    return read_srt(srt(*((2 * n, 2 * n + 2, text) for n, text in enumerate(texts)))).text


def vtt(*texts: str) -> Extracted:
    cues = "\n\n".join(f"00:{2 * n:02}.000 --> 00:{2 * n + 2:02}.000\n{text}" for n, text in enumerate(texts))
    return read_vtt(f"WEBVTT\n\n{cues}\n".encode())


def reason(data: bytes) -> str:
    with pytest.raises(UnreadableError) as error:
        read_srt(data)
    assert "\n" not in str(error.value)
    return str(error.value)


TALK = [
    "Good evening, and welcome to the town hall of Lower Wick.",
    "The bridge over the Tarn was closed by Dr. Helga Brenn on 4 March, after a crack was found in the third pier.",
    "- Who pays for it?",
    "- The county pays two thirds. No. No.",
    "The new bridge opens in <3 years & a day.",
]


def test_cues_are_running_text_with_the_time_of_each() -> None:
    found = read_srt(sample("srt-talk.srt"))
    assert found.text.split("\n\n") == TALK
    assert found.unit == "time"
    assert {mark.label: found.text[mark.start :].split()[0] for mark in found.marks} == {
        "00:00:01": "Good",
        "00:00:03": "to",
        "00:00:12": "The",
        "00:00:16": "Helga",
        "00:00:19": "in",
        "00:01:05": "-",
        "00:01:08": "No.",
        "00:01:10": "No.",
        "01:02:03": "The",
    }


def test_the_same_subtitles_converted_by_ffmpeg_say_the_same() -> None:
    one, other = read_srt(sample("srt-talk.srt")), read_vtt(sample("vtt-ffmpeg.vtt"))
    assert (one.text, one.marks) == (other.text, other.marks)


def test_a_citation_names_the_time(tmp_path: Path, embedder: HashingEmbedder) -> None:
    cited = citation(tmp_path, embedder, "vtt-speakers.vtt", "310 tonnes")
    assert (cited.quote, cited.unit, cited.mark, cited.format) == ("310 tonnes", "time", "01:00:10", "vtt")
    assert cited.sentence == "Ida Moss: In 2014 we landed 310 tonnes of herring."
    assert cited.verified and cited.title == "The harbour panel"


def test_a_quote_in_the_midst_of_a_sentence_has_the_time_of_its_own_cue(
    tmp_path: Path, embedder: HashingEmbedder
) -> None:
    cited = citation(tmp_path, embedder, "srt-talk.srt", "third pier")
    assert (cited.mark, cited.sentence) == ("00:00:19", TALK[1])


def test_speakers_that_a_file_names_begin_their_paragraphs() -> None:
    found = read_vtt(sample("vtt-speakers.vtt"))
    assert found.text.split("\n\n") == [
        "Ida Moss: We started with one boat and a borrowed net.",
        "Carl Boone: The net belonged to my aunt, & she wants it back.",
        "Ida Moss: In 2014 we landed 310 tonnes of herring.",
    ]
    assert (found.title, dict(found.metadata)) == ("The harbour panel", {"language": "en"})
    assert vtt("<v A>One</v> <v.loud B C>two.", "Three.").text == "A: One\n\nB C: two.\n\nThree."
    assert vtt("<v A>One,\ntwo.", "<v A>Three.").text == "A: One, two. Three."
    assert vtt("<v A>One,\ntwo.</v>\nThree.").text == "A: One, two.\n\nThree."


def test_captions_that_roll_up_say_every_word_once() -> None:
    found = read_vtt(sample("vtt-rolling.vtt"))
    assert found.text == "the ferry to Hale leaves at a quarter past six every morning\n\nand on Sundays"
    assert {mark.label: found.text[mark.start :].split()[0] for mark in found.marks} == {
        "00:00:00": "the",
        "00:00:03": "leaves",
        "00:00:06": "six",
        "00:00:20": "and",
    }
    grown = ["The tide", "The tide comes", "The tide comes in\nat", "at noon.", "at noon.\nIt goes"]
    assert read(*grown) == "The tide comes in at noon. It goes"
    assert read(*grown, "Then\nIt goes out") == "The tide comes in at noon. It goes Then It goes out"
    lines = [f"line {n}" for n in range(9)]
    windows = ["\n".join(lines[max(0, n - 2) : n + 1]) for n in range(9)]
    assert read(*windows) == " ".join(lines)


def test_what_people_say_twice_stays_twice() -> None:
    talk = ["Is it far?", "No.", "No.", "Not at all.", "It is near the pier.", "Is it?", "Yes.", "Then let us go."]
    assert read(*talk) == " ".join(talk)
    twice = srt((0, 2, "One."), (0, 2, "One."), (2, 4, "Two."), (4, 6, "Three."), (6, 8, "Four."), (8, 9, "Five."))
    assert read_srt(twice).text == "One. Two. Three. Four. Five."  # two layers at the same time


def test_a_paragraph_ends_at_a_pause_and_with_another_speaker() -> None:
    assert read_srt(srt((0, 2, "One."), (4.9, 6, "Two."), (9, 10, "Three."))).text == "One. Two.\n\nThree."
    assert read_srt(srt((0, 2, "One."), (7, 8, "Two.\nThree."))).text == "One.\n\nTwo. Three."
    assert read_srt(srt((0, 10, "One."), (2, 3, "Two."), (9, 11, "Three."))).text == "One. Two. Three."
    assert read_srt(b"00:00,0 --> 00:02,9\nOne.\n\n00:05,700 --> 00:06,0\nTwo.").text == "One. Two."
    assert read_srt(srt((0, 2, "When it"), (7, 8, "rains."), (9, 10, "It"), (18, 20, "pours."))).text == (
        "When it rains. It\n\npours."
    )
    assert (
        read("- Here?\n- There.", "It is\n- as you know - late.") == "- Here?\n\n- There. It is - as you know - late."
    )
    assert read("One.", ">> Two.", "MRS. ROWE: Three.", ">>>") == "One.\n\nTwo.\n\nMRS. ROWE: Three.\n\n>>>"


def test_tags_and_positions_are_left_out_and_other_brackets_are_not() -> None:
    assert read(r"{\an8}<i>One</i> <font color='red'>two</font>{\i1}.") == "One two."
    assert read("a <3 b &amp; c &lt;i&gt; <laughs> {x} R&D") == "a <3 b & c <i> <laughs> {x} R&D"
    assert (
        vtt("<c.yellow.bg_blue>a</c> <00:00:01.000>b <lang en>c</lang> <ruby>漢<rt>かん</rt>字</ruby>").text
        == "a b c 漢字"
    )


def test_sentences_are_whole_over_their_cues() -> None:
    found = read("Yesterday the chair", "Anna Berg told", "Mr.", "Lund that the pier", "is safe.", "He\nagreed")
    assert [sentence.of(found) for sentence in split_sentences(found)] == [
        "Yesterday the chair Anna Berg told Mr. Lund that the pier is safe.",
        "He agreed",
    ]


def test_long_speeches_have_lines_that_begin_with_a_sentence() -> None:
    cues = [
        piece
        for n in range(40)
        for piece in (f"In the year {n} the harbour of Lund", f"had {n} boats and Mr.", "Berg.")
    ]
    lines = read(*cues).split("\n")
    assert len(lines) > 5 and all(200 < len(line) < 400 for line in lines[:-1])
    assert all(line.startswith("In the year") and line.endswith("Mr. Berg.") for line in lines)
    # Where nobody set a full stop, sentences would else be thousands of characters long.
    found = read(*(f"and then in the year {n} the harbour had boats" for n in range(99)))
    assert all(len(sentence) < 400 for sentence in split_sentences(found))
    assert len(split_sentences(found)) > 9


def test_files_that_are_not_quite_right_are_read() -> None:
    whole = read_srt(sample("srt-talk.srt"))
    text = sample("srt-talk.srt").decode()
    for changed in (
        text.replace("\n", "\r\n"),
        "\ufeff" + text,
        text.replace(",", ".", 1).replace("00:00:01.000 --> 00:00:03,400", "0:00:01.0   -->  00:00:03,4 X1:40 X2:600"),
        text.replace("\n\n", "\n"),
        text.replace("\n\n", "\n \n\n\n"),
        text.replace("\n00:", "\n\n00:"),
    ):
        found = read_srt(changed.encode())
        assert (found.text, found.marks) == (whole.text, whole.marks)
    assert read_srt(text.encode("utf-16")).text == whole.text
    assert read_srt("1\n00:00:01,000 --> 00:00:02,000\nÜber die Brücke nach Zürich.\n".encode("cp1252")).text == (
        "Über die Brücke nach Zürich."
    )
    assert read_srt(b"00:01,5 --> 00:02\n42\n00:03 --> 00:04\nboats\n").text == "42 boats"  # without numbers
    assert read_srt(b"1\n00:00:05,0 --> 00:00:06,0\ntwo\n\n2\n00:00:01,0 --> 00:00:02,0\none\n").marks == (
        Mark(0, "00:00:01"),
        Mark(4, "00:00:05"),
    )
    assert read_srt(b"1\n120:00:01,0 --> 120:00:02,0\nLate.\n").marks == (Mark(0, "120:00:01"),)
    assert read_vtt(b"WEBVTT\n\n1\n00:01.0 --> 00:02.0\n42\n\n2\n00:02.0 --> 00:03.0\nboats").text == "42 boats"
    assert read_srt(b"WEBVTT\n\nNOTE no\n\n00:01.000 --> 00:02.000\nYes.\n\nNOTE no").text == "Yes."
    assert read_srt(srt((0, 1, "{\\an8}"), (1, 2, "x"))).marks == (Mark(0, "00:00:01"),)


DAMAGED = {
    "nothing": (b"", "no subtitles: it has no line such as 00:01:02,000 --> 00:01:04,000"),
    "text": (b"The harbour --> the town.", "no subtitles: it has no line such as 00:01:02,000 --> 00:01:04,000"),
    "binary": (bytes(range(256)) * 9, "binary"),
    "zipped": (b"PK\x03\x04" + b"\0" * 99, "binary (a zip archive or an office document)"),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_subtitles_that_cannot_be_read_say_why(kind: str) -> None:
    data, expected = DAMAGED[kind]
    assert reason(data) == expected


def test_how_many_lines_subtitles_may_have_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subtitles, "_MOST_LINES", 20)
    assert reason(sample("srt-talk.srt")) == "more than 20 lines"


HOSTILE = {
    "one line": "x " * 200_000,
    "opened tags": "<" * 200_000,
    "opened voices": "<v " * 100_000,
    "opened overrides": "{\\" * 200_000,
    "entities": "&amp" * 200_000 + "&#x110000;&#0;",
    "clocks": "1:" * 200_000 + "-->",
    "lines in a cue": "a\n" * 15_000 + "a",
    "stops": ".'" * 200_000,
    "names": "A" * 200_000,
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_cues_take_no_time(kind: str) -> None:
    for reader, head in ((read_srt, "1\n"), (read_vtt, "WEBVTT\n\n")):
        found = reader(f"{head}00:00:01,000 --> 00:00:02,000\n{HOSTILE[kind]}\nlast\n".encode())
        assert found.text.endswith("last")


def test_no_damage_is_a_traceback() -> None:
    chance = random.Random(17)
    for _ in range(200):
        name = chance.choice(["vtt-rolling.vtt", "vtt-speakers.vtt", "srt-talk.srt"])
        content = spoiled(sample(name), chance, [b"", b"<", b"\n", b"-->", b"&", b"<v x>"])
        with suppress(UnreadableError):
            found = read_vtt(content) if name.startswith("vtt") else read_srt(content)
            assert all(found.text[mark.start : mark.start + 1].strip() for mark in found.marks)
