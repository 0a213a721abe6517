"""The OpenAPI document holds, whatever is asked: schemathesis makes up requests, right and wrong ones."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.qa.serving import make_live, on_a_port, write_articles

# What a condition asks must make sense, too, which no schema says.
QUESTIONS = ["--include-path-regex", "ask|search", "--exclude-checks", "positive_data_acceptance"]
OTHERS = ["--exclude-path-regex", "ask|search"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "document"),
    [(QUESTIONS, ""), (OTHERS, ""), (OTHERS, "garden.md")],
    ids=["questions", "others", "paths"],
)
def test_every_request_is_answered_as_promised(tmp_path: Path, options: list[str], document: str) -> None:
    (tmp_path / "articles").mkdir()
    articles = write_articles(tmp_path / "articles")
    if document:
        settings = f"[parameters]\npath = {json.dumps(str(articles / document))}\n"
        (tmp_path / "schemathesis.toml").write_text(settings, encoding="utf-8")
    command = [sys.executable, "-m", "schemathesis.cli", "run", "--max-examples", "50", "--seed", "1", "--no-color"]
    with on_a_port(make_live(articles)) as address:
        done = subprocess.run(
            [*command, f"{address}openapi.json", *options], cwd=tmp_path, capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stdout + done.stderr
    counted = re.search(r"(\d+) generated, (\d+) passed", done.stdout)
    assert counted and counted[1] == counted[2] and int(counted[1]) > 100, done.stdout
    assert ("- GET /api/source" in done.stdout) == (options is OTHERS and not document), done.stdout
