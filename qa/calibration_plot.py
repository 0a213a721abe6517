"""A calibration table -> a reliability diagram, as SVG or PNG: how often answers are right, by how sure they were.

matplotlib draws it, without a display; its own fonts come with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec

from pincite.index.errors import PinciteError, SourceError
from pincite.qa.metrics import with_interval

__all__ = ["plotter"]

Bins = Sequence[Mapping[str, float]]


def plotter(path: str) -> Callable[[Bins], None]:
    """Return what draws the bins of `calibration_table`, as dictionaries: shares right with 95 % intervals, and counts.

    Raises:
        PinciteError: at the call, if it could not draw into such a file; SourceError later, if that cannot be written.
    """
    if not path.lower().endswith((".svg", ".png")):
        raise PinciteError("--plot takes a name that ends in .svg or .png.")
    if find_spec("matplotlib") is None:
        raise PinciteError('--plot needs matplotlib: pip install "pincite[plot]"')
    return partial(_plot, path)


def _plot(path: str, bins: Bins) -> None:
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="0.6", linestyle="--", label="as sure as right")
    sure, right, counts = ([one[key] for one in bins] for key in ("confidence", "right", "count"))
    errors = [_error(*one) for one in zip(right, counts, strict=True)]
    label = "answers, how many, and the 95 % interval"
    axes.errorbar(sure, right, yerr=list(zip(*errors, strict=True)) or None, fmt="o", capsize=3, label=label)
    for x, y, number in zip(sure, right, counts, strict=True):
        axes.annotate(f"{number:,.0f}", (x, y), xytext=(6, 4), textcoords="offset points", fontsize=8)
    axes.set(xlabel="confidence", ylabel="share right", xlim=(-0.02, 1.12), ylim=(-0.02, 1.06))
    axes.legend(loc="upper left")
    try:
        with rc_context({"svg.hashsalt": "pincite"}):  # the same figures, the same file
            figure.savefig(path, metadata={"Date": None} if path.lower().endswith(".svg") else None)
    except OSError as error:
        raise SourceError(f"The plot cannot be written to {path}: {error.strerror}.") from error


def _error(share: float, count: float) -> tuple[float, float]:
    """Return how far the interval of a share reaches below and above it."""
    right = round(share * count)
    _, low, high = with_interval([True] * right + [False] * (round(count) - right)) or (0.0, 0.0, 1.0)
    return max(share - low, 0.0), max(high - share, 0.0)
