"""Question -> Answer with Citations: what other tools import.

Names are loaded when they are first used, so that `pincite --help` does not wait for numpy.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pincite.qa.answers import Alternative, Answer
    from pincite.qa.citations import Citation
    from pincite.qa.pipeline import Pipeline
    from pincite.qa.retriever import Hit

__all__ = ["Alternative", "Answer", "Citation", "Hit", "Pipeline"]

_HOMES = {
    "Alternative": "answers",
    "Answer": "answers",
    "Citation": "citations",
    "Hit": "retriever",
    "Pipeline": "pipeline",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
