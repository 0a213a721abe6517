"""The shape of the code: who imports whom, who prints, and what a start costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted([*ROOT.glob("index/*.py"), *ROOT.glob("qa/*.py")])
# fmt: off
HEAVY = {
    "torch", "transformers", "sentence_transformers", "faiss", "openvino", "trafilatura", "lxml", "watchfiles",
    "pypdfium2", "pypdfium2_raw", "starlette", "uvicorn", "mcp", "matplotlib", "langchain_core", "llama_index",
    "haystack", "pymilvus", "milvus_lite", "pandas",
}
# fmt: on


def imported(tree: ast.Module, path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} imports relatively"
            names.add(node.module or "")
    return names


def loaded_by(code: str) -> set[str]:
    program = f"import sys\n{code}\nprint(*sys.modules, file=sys.stderr)"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in result.stderr.split()}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_module_keeps_to_its_place(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = imported(tree, path)
    assert "click" not in {name.partition(".")[0] for name in names} or path.name == "cli.py"
    if path.parent.name == "index":
        assert not any(name.startswith("pincite.qa") for name in names)
    assert not {name.partition(".")[0] for name in names} & {"pickle", "index", "qa", "utils"}
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert not called & {"print", "eval", "exec"}
    assert ast.get_docstring(tree), "a module says what becomes what"


@pytest.mark.parametrize(
    "code", ["import pincite.qa", "import pincite.index", "from pincite.qa.cli import cli; cli.get_help"]
)
def test_import_loads_nothing_heavy(code: str) -> None:
    assert not loaded_by(code) & HEAVY


def test_help_loads_not_even_numpy() -> None:
    code = "from pincite.qa.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass"
    assert not loaded_by(code) & (HEAVY | {"numpy", "rich"})


def test_type_checkers_find_the_packages() -> None:
    for name in ("index", "qa"):
        link = ROOT / ".types" / "pincite" / name
        assert link.is_symlink() and link.resolve() == ROOT / name
        assert (ROOT / name / "py.typed").exists()
