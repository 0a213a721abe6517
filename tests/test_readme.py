"""The README does what it says: its commands run as written, and print what it shows."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sysconfig
from collections.abc import Callable
from contextlib import chdir, redirect_stderr, redirect_stdout, suppress
from io import StringIO
from pathlib import Path

import pytest

from pincite.qa.cli import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[str]:
    return [body for found, body in BLOCKS if found == language]


def environment() -> dict[str, str]:
    """Return the environment of a user who has this installation on the path."""
    scripts = sysconfig.get_path("scripts")
    return {key: value for key, value in os.environ.items() if key != "PINCITE_INDEX"} | {
        "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"
    }


def without_figures(text: str) -> str:
    """Return `text` without what differs between machines: times, and the last digits of a confidence."""
    return re.sub(r"\d+\.\d+ s\b|(?<=confidence )0\.\d\d|(?<=threshold: )0\.\d\d", "N", text).strip()


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like a fresh clone: what git tracks, and nothing else."""
    folder = tmp_path_factory.mktemp("clone") / "pincite"
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True)
    for name in filter(None, tracked.stdout.split("\0")):
        if (ROOT / name).exists() or (ROOT / name).is_symlink():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name, follow_symlinks=False)
    return folder


def in_a_shell(command: str, folder: Path, given: str | None = None) -> str:
    """Return what a command prints to either stream, given some input."""
    result = subprocess.run(
        command,
        shell=True,
        cwd=folder,
        env=environment(),
        input=given,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
    )
    return result.stdout


def in_this_process(command: str, folder: Path) -> str:
    """Return the same, sooner: a command of pincite, be it the first of a pipe, needs no process of its own."""
    own, pipe, others = command.partition(" | ")
    name, *arguments = shlex.split(own)
    if name != "pincite":
        return in_a_shell(command, folder)
    with chdir(folder), redirect_stdout(StringIO()) as printed, redirect_stderr(printed), suppress(SystemExit):
        main(arguments)
    return in_a_shell(others, folder, printed.getvalue()) if pipe else printed.getvalue()


@pytest.mark.parametrize("run", [in_this_process, pytest.param(in_a_shell, marks=pytest.mark.slow)])
def test_console_blocks_print_what_they_show(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, run: Callable[[str, Path], str]
) -> None:
    monkeypatch.delenv("PINCITE_INDEX", raising=False)
    shutil.rmtree(checkout / ".pincite", ignore_errors=True)
    shown = 0
    for block in blocks("console"):
        for entry in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, expected = entry.partition("\n")
            assert without_figures(run(command, checkout)) == without_figures(expected), command
            shown += 1
    assert shown >= 4


def test_python_blocks_run(checkout: Path) -> None:
    for block in blocks("python"):
        with chdir(checkout), redirect_stdout(StringIO()) as printed:
            exec(block, {})
        assert "Nvidia" in printed.getvalue()
    assert blocks("python")


def test_ci_ends_with_the_readmes_second_command() -> None:
    commands = [line for block in blocks("sh") for line in block.splitlines() if line]
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert script[-1] == commands[1]
    assert not [line for line in script[:-1] if "pip install" in line or "pytest" in line], "all else is the system's"


def test_every_figure_names_its_command() -> None:
    for script in re.findall(r"scripts/[\w./]+", README):
        assert (ROOT / script).exists(), script
    for section in re.split(r"^## ", README, flags=re.MULTILINE):
        if re.search(r"\d\.\d+ \||times as fast|\bp50\b", section):
            assert "scripts/" in section, section[:60]


@pytest.mark.slow
def test_first_command_sets_everything_up_and_answers(checkout: Path, tmp_path: Path) -> None:
    """In an empty virtual environment: the wheel is built, installed with all it needs, and asked a question."""
    command = blocks("sh")[0].splitlines()[0]
    result = subprocess.run(
        ["bash", "-c", command],
        cwd=checkout,
        env=environment() | {"PINCITE_CACHE": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert result.returncode == 0, result.stderr[-2000:]
    assert "Nvidia" in result.stdout and "seeds/" in result.stdout
    python = checkout / ".venv" / "bin" / "python"
    where = subprocess.run(
        [python, "-c", "import pincite.qa.cli as c; print(c.__file__)"], cwd=tmp_path, capture_output=True, text=True
    )
    assert "site-packages" in where.stdout
    for package in ("index", "qa"):
        installed = {path.name for path in Path(where.stdout.strip()).parents[1].joinpath(package).iterdir()}
        data = {path.name for path in (ROOT / package).glob("reader.*")}
        assert {path.name for path in (ROOT / package).glob("*.py")} | {"py.typed"} | data <= installed
    (tmp_path / "note.txt").write_text("The ferry to Stein is steered by Vera Holm.", encoding="utf-8")
    for arguments in (["index", "note.txt"], ["ask", "Who steers the ferry to Stein?"]):
        done = subprocess.run(
            [python, "-m", "pincite.qa", *arguments],
            cwd=tmp_path,
            env=environment() | {"PINCITE_CACHE": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1"},
            capture_output=True,
            text=True,
            encoding="utf-8",
        )
        assert done.returncode == 0, done.stderr
    assert "Vera Holm" in done.stdout
