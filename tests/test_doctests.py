"""The examples in docstrings are true, under the names that users import."""

from __future__ import annotations

import doctest
import importlib
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.test_public_api import modules


def has_examples(name: str) -> bool:
    found = find_spec(name)
    return found is not None and ">>> " in Path(str(found.origin)).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [name for name in modules() if has_examples(name)])
def test_examples_in_docstrings(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert result.attempted and not result.failed
