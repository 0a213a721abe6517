"""--help and completion: examples that the commands really take."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys

import click
import pytest

from pincite.qa.cli import cli, main
from pincite.qa.terminal import style


@pytest.mark.parametrize("name", cli.commands)
def test_every_command_has_examples_that_it_takes(name: str) -> None:
    command = cli.commands[name]
    with click.Context(command) as context:
        shown = command.get_help(context)
    examples = re.findall(r"^    (?:eval \"\$\()?(pincite .*)", shown, re.MULTILINE)
    assert examples
    for example in examples:
        program, called, *arguments = shlex.split(re.split(r"\s{3,}| > |\)\"", example)[0])
        assert (program, called) == ("pincite", name)
        command.make_context(name, arguments)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_what_the_shell_reads(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["completion", shell])
    assert stop.value.code == 0
    assert f"_PINCITE_COMPLETE={shell}_complete" in capsys.readouterr().out


def test_a_shell_is_told_how_a_word_can_go_on() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "pincite.qa"],
        env={"COMP_WORDS": "pincite search --mo", "COMP_CWORD": "2", "_PINCITE_COMPLETE": "bash_complete"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.split() == ["plain,--mode"]


@pytest.mark.parametrize(
    ("is_terminal", "environment", "colour"),
    [
        (True, {}, True),
        (True, {"NO_COLOR": ""}, True),
        (True, {"NO_COLOR": "1"}, False),
        (True, {"TERM": "dumb"}, False),
        (False, {}, False),
    ],
)
def test_colour_is_for_terminals_unless_the_user_wants_none(
    is_terminal: bool, environment: dict[str, str], colour: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: is_terminal, raising=False)
    assert style().colour is colour
