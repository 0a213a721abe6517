"""Notebooks: what their cells say and what they printed, in order, cited by cell."""

from __future__ import annotations

import json
import random
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from pincite.index import notebooks
from pincite.index.extracted import Extracted, Mark, UnreadableError
from pincite.index.notebooks import read_ipynb
from tests.conftest import HashingEmbedder
from tests.index.sample_files import citation, sample, spoiled


def notebook(*cells: dict[str, Any], **metadata: Any) -> bytes:
    return json.dumps({"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}).encode()


def read(*cells: dict[str, Any], **metadata: Any) -> Extracted:
    return read_ipynb(notebook(*cells, **metadata))


def prose(source: str | list[str]) -> dict[str, Any]:
    return {"cell_type": "markdown", "metadata": {}, "source": source}


def code(source: str | list[str], *outputs: dict[str, Any]) -> dict[str, Any]:
    return {"cell_type": "code", "metadata": {}, "source": source, "outputs": outputs, "execution_count": 9}


def printed(text: str | list[str], name: str = "stdout") -> dict[str, Any]:
    return {"output_type": "stream", "name": name, "text": text}


def result(**data: str | list[str]) -> dict[str, Any]:
    values = {name.replace("__", "/"): value for name, value in data.items()}
    return {"output_type": "execute_result", "data": values, "metadata": {}, "execution_count": 9}


def reason(data: bytes) -> str:
    with pytest.raises(UnreadableError) as error:
        read_ipynb(data)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("name", ["ipynb-executed.ipynb", "ipynb-format-3.ipynb"])
def test_a_notebook_that_was_run_gives_its_cells_and_what_they_printed(name: str) -> None:
    found = read_ipynb(sample(name))
    assert found.text.startswith(
        "# Tides at Corran Steps\n\nThe gauge at Corran Steps was read by **Nils Aamodt** from"
    )
    assert '\n\n```python\nheights = {"Monday": 3.2, "Tuesday": 3.9, "Wednesday": 4.4}\nfor day' in found.text
    assert "\n```\n\n```\nMonday: 3.2 m above the chart's zero\nTuesday" in found.text
    assert "\n```\nThe highest water was 4.4 m.\n```\n" in found.text
    assert "```\n         day  height\n0     Monday     3.2\n1    Tuesday     3.9\n" in found.text
    assert "\n```\nValueError: the gauge froze on Thursday\n```\n\n## What it does not say" in found.text
    for left_out in ("\x1b", "Traceback", "<div>", "a warning that nobody needs\n"):
        assert left_out not in found.text
    assert (found.title, dict(found.metadata), found.unit) == ("Tides at Corran Steps", {"language": "python"}, "cell")
    assert [mark.label for mark in found.marks] == ["1", "2", "3", "4", "5"]
    assert found.text[found.marks[1].start :].startswith("```python\nheights")
    assert found.text[found.marks[4].start :].startswith("## What it does not say")


def test_a_citation_names_the_cell(tmp_path: Path, embedder: HashingEmbedder) -> None:
    cited = citation(tmp_path, embedder, "ipynb-executed.ipynb", "4.4 m.")
    assert (cited.quote, cited.unit, cited.mark, cited.format) == ("4.4 m.", "cell", "3", "ipynb")
    assert cited.sentence == "The highest water was 4.4 m."
    assert cited.verified and cited.title == "Tides at Corran Steps"


def test_cells_are_counted_as_they_lie_and_those_without_text_have_no_mark() -> None:
    raw = {"cell_type": "raw", "source": "\\newpage", "metadata": {}}
    found = read(prose("One."), code(""), raw, prose(["Four,\n", "in lines."]), code("", printed("five")))
    assert found.text == "One.\n\nFour,\nin lines.\n\n```\nfive\n```"
    assert found.marks == (Mark(0, "1"), Mark(6, "4"), Mark(23, "5"))


def test_outputs_are_what_a_reader_sees_as_text() -> None:
    def shown(*outputs: dict[str, Any]) -> str:
        return read(code("", *outputs)).text

    assert shown(printed("\x1b[1;31mred\x1b[0m \x1b]8;;http://x\x07link\x1b]8;;\x07\n")) == "```\nred link\n```"
    assert shown(printed(" 10%\r 90%\rdone\r\nnext\r")) == "```\ndone\nnext\n```"
    assert shown(printed("careful", name="stderr")) == ""
    assert shown(result(text__plain="'x'", text__html="<b>x</b>")) == "```\n'x'\n```"
    assert shown(result(text__plain="<Figure size 640x480>", image__png="iVBOR")) == ""
    assert shown(result(text__html="<b>x</b>")) == ""
    assert shown(result(text__markdown="**x**")) == "```\n**x**\n```"
    assert (
        shown({"output_type": "error", "ename": "E", "evalue": "\x1b[31mwhy", "traceback": ["t"]}) == "```\nE: why\n```"
    )
    assert shown({"output_type": "display_data"}, {"output_type": "stream"}, {}) == ""


def test_pictures_in_the_text_are_left_out() -> None:
    found = read(prose("Before ![a map](data:image/png;base64,iVBORw0KGgo=) after."))
    assert found.text == "Before ![a map]() after."


def test_fences_are_longer_than_those_in_the_code() -> None:
    assert read(code('"""\n```\nx\n```\n"""')).text == '````\n"""\n```\nx\n```\n"""\n````'


def test_format_3_has_headings_of_its_own() -> None:
    cells = [
        {"cell_type": "heading", "level": 2, "source": ["The\n", "harbour"]},
        {"cell_type": "heading", "level": [], "source": "Odd"},
        {"cell_type": "code", "language": "julia", "input": ["1 + 1"], "outputs": [
            {"output_type": "pyout", "text": ["2"], "prompt_number": 1},
            {"output_type": "pyout", "text": "<Plot>", "png": "iVBOR"},
            {"output_type": "stream", "stream": "stderr", "text": "no"},
            {"output_type": "pyerr", "ename": "E", "evalue": "v"},
        ]},
    ]  # fmt: skip
    found = read_ipynb(json.dumps({"worksheets": [{"cells": cells[:1]}, {"cells": cells[1:]}], "nbformat": 3}).encode())
    assert found.text == "## The harbour\n\n# Odd\n\n```julia\n1 + 1\n```\n\n```\n2\n```\n\n```\nE: v\n```"
    assert (found.title, found.metadata["language"]) == ("The harbour", "julia")


def test_title_author_and_date_are_those_that_the_notebook_gives() -> None:
    raw = {"cell_type": "raw", "source": "---\ntitle: Waves\nauthor: Jo Lund\ndate: 4 May 2020\n---"}
    found = read(raw, prose("# Another"), kernelspec={"language": "R"})
    assert (found.title, dict(found.metadata)) == (
        "Waves",
        {"author": "Jo Lund", "date": "2020-05-04", "language": "r"},
    )
    found = read(prose("Text."), prose("# Tides\n"), authors=[{"name": "A"}, {"name": "B"}, 3], date="2021-02")
    assert (found.title, dict(found.metadata)) == ("Tides", {"author": "A; B", "date": "2021-02"})
    assert read(prose("# Tides"), title="Its own").title == "Its own"


DAMAGED = {
    "nothing": (b"", "not a Jupyter notebook, or damaged: no JSON (line 1)"),
    "cut": (sample("ipynb-executed.ipynb")[:600], "not a Jupyter notebook, or damaged: no JSON (line 27)"),
    "a list": (b"[1]", "not a Jupyter notebook: it is JSON, but no object"),
    "another object": (b'{"a": 1}', "not a Jupyter notebook: it is JSON, but has no cells"),
    "deep": (b'{"cells": ' + b"[" * 200_000, "not a Jupyter notebook, or damaged: no JSON"),
    "a long number": (b'{"cells": ' + b"9" * 99_999 + b"}", "not a Jupyter notebook, or damaged: no JSON"),
    "binary": (b"\0\1\2\3" * 200, "binary"),
    "zipped": (b"PK\x03\x04" + b"\0" * 99, "binary (a zip archive or an office document)"),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_notebook_that_cannot_be_read_says_why(kind: str) -> None:
    data, expected = DAMAGED[kind]
    assert reason(data) == expected


def test_what_a_notebook_may_hold_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notebooks, "_MOST_CELLS", 3)
    assert reason(notebook(*[prose("x")] * 4)) == "more than 3 cells"
    monkeypatch.setattr(notebooks, "_MOST_VALUES", 3)
    assert reason(notebook(prose("x"))) == "more than 3 lists and objects in it, as no notebook has"


def test_values_of_wrong_types_are_no_text() -> None:
    odd: list[Any] = [None, 3, "x", [], [1], {"a": 1}, [["x"]], True]
    for value in odd:
        found = read(
            {"cell_type": value, "source": value},
            {"cell_type": "markdown", "source": value},
            {"cell_type": "code", "source": value, "outputs": value},
            code(
                "", printed(value), result(text__plain=value), {"output_type": "error", "ename": value, "data": value}
            ),
            kernelspec=value,
            language_info={"name": value},
            title=value,
            authors=value,
            date=value,
        )
        assert found.text.replace("`", "").replace("x", "").strip() == ""
    for cells in (b'{"cells": {}, "worksheets": [null, {"cells": 3}], "metadata": []}', b'{"cells": [3, null, []]}'):
        assert read_ipynb(cells) == Extracted("")
    assert read(prose("a\ud800b")).text == "a?b"


def test_no_damage_is_a_traceback() -> None:
    chance, executed = random.Random(13), sample("ipynb-executed.ipynb")
    for _ in range(150):
        with suppress(UnreadableError):
            read_ipynb(spoiled(executed, chance, [b"", b"null", b"[", b"3", b'"', b"\\n"], longest=5))
