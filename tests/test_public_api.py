"""What other tools import: exactly the listed names, each documented."""

from __future__ import annotations

import importlib
import pkgutil
from types import FunctionType, ModuleType

import pytest

import pincite.index
import pincite.qa

PACKAGES = [pincite.index, pincite.qa]


def modules() -> list[str]:
    found = []
    for package in PACKAGES:
        found += [f"{package.__name__}.{info.name}" for info in pkgutil.iter_modules(package.__path__)]
    return [name for name in found if not name.endswith("__main__")]


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_package_exports_exactly_its_public_names(package: ModuleType) -> None:
    for name in package.__all__:
        assert getattr(package, name) is not None
    modules = {name for name, value in vars(package).items() if isinstance(value, ModuleType)}
    public = {name for name in vars(package) if not name.startswith("_")} - modules
    assert public - {"TYPE_CHECKING", "import_module"} <= set(package.__all__)
    assert list(package.__all__) == sorted(package.__all__)


FRAMEWORKS = ("haystack", "langchain", "llamaindex")  # their imports take seconds


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * name.endswith(FRAMEWORKS)) for name in modules()]
)
def test_every_listed_name_exists_and_says_what_it_is(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__
    for listed in module.__all__:
        value = getattr(module, listed)
        if isinstance(value, type | FunctionType):
            assert value.__doc__, f"{name}.{listed}"
            for attribute, member in vars(value).items() if isinstance(value, type) else ():
                if not attribute.startswith("_") and callable(member):
                    assert member.__doc__, f"{name}.{listed}.{attribute}"
