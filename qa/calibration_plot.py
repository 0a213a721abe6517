"""A calibration table -> a reliability diagram, as SVG or PNG: how often answers are right, by how sure they were.

matplotlib draws it, without a display; its own fonts come with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from pincite.index.errors import SourceError
from pincite.qa.metrics import with_interval

__all__ = ["plot_calibration"]


def plot_calibration(bins: Sequence[Mapping[str, float]], path: str) -> None:
    """Write the diagram of `calibration_table`'s bins, as dictionaries: shares right with 95 % intervals, and counts.

    Raises:
        SourceError: the file cannot be written.
    """
    figure = Figure(figsize=(5, 6), layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    above.plot([0, 1], [0, 1], color="0.6", linestyle="--", label="as sure as right")
    sure, right, counts = ([one[key] for one in bins] for key in ("confidence", "right", "count"))
    ends = [_ends(one["right"], int(one["count"])) for one in bins]
    errors = list(
        zip(*[(share - low, high - share) for share, (low, high) in zip(right, ends, strict=True)], strict=True)
    )
    above.errorbar(sure, right, yerr=errors or None, fmt="o", capsize=3, label="answers, 95 % interval")
    above.set(ylabel="share right", xlim=(0, 1), ylim=(-0.02, 1.02))
    above.legend(loc="lower right")
    bars = below.bar(
        [one["low"] for one in bins],
        counts,
        [one["high"] - one["low"] for one in bins],
        align="edge",
        edgecolor="white",
    )
    below.bar_label(bars, fmt="{:,.0f}", fontsize=8)
    below.margins(y=0.2)
    below.set(xlabel="confidence", ylabel="questions")
    try:
        with rc_context({"svg.hashsalt": "pincite"}):  # the same figures, the same file
            figure.savefig(path, metadata={"Date": None} if path.lower().endswith(".svg") else None)
    except OSError as error:
        raise SourceError(f"The plot cannot be written to {path}: {error.strerror}.") from error


def _ends(share: float, count: int) -> tuple[float, float]:
    right = round(share * count)
    _, low, high = with_interval([1.0] * right + [0.0] * (count - right)) or (0.0, 0.0, 1.0)
    return low, high
