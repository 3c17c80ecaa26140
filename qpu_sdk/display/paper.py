"""What every matplotlib figure of this package begins and ends with. Loaded with the first figure, not before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qpu_sdk.display.colours import theme
from qpu_sdk.errors import QPUError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from qpu_sdk.display.colours import Theme


def sheet(width: float, height: float, *, dark: bool) -> tuple[Any, Any, Theme]:
    """A figure that is attached to no window, its axes, and what to draw with. Sizes in inches.

    Raises:
        QPUError: matplotlib is not installed.
    """
    try:
        from qpu_sdk.display.pictures import Picture  # noqa: PLC0415 - heavy, optional, only for pictures
    except ImportError as error:
        raise QPUError('pictures need matplotlib: pip install "qpu-sdk[plot]"') from error
    drawn = theme(dark=dark)
    figure: Any = Picture(figsize=(width, height), layout="constrained", facecolor=drawn.paper)
    axes: Any = figure.subplots()
    axes.set_facecolor(drawn.paper)
    axes.tick_params(colors=drawn.ink, which="both")
    for part in (axes.xaxis.label, axes.yaxis.label, axes.title):
        part.set_color(drawn.ink)
    for side, spine in axes.spines.items():
        spine.set_color(drawn.faint)
        spine.set_visible(side in {"left", "bottom"})
    return figure, axes, drawn


def scale(figure: Any, axes: Any, label: str, limits: tuple[float, float], stops: Sequence[str], drawn: Theme) -> None:
    """A logarithmic colour bar, with its ends written out."""
    from matplotlib.cm import ScalarMappable  # noqa: PLC0415 - as in sheet
    from matplotlib.colors import LinearSegmentedColormap, LogNorm  # noqa: PLC0415
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator  # noqa: PLC0415

    colours: Any = LinearSegmentedColormap.from_list(label, list(stops))
    bar: Any = figure.colorbar(ScalarMappable(LogNorm(*limits), colours), ax=axes, shrink=0.85, pad=0.02, aspect=28)
    low, high = limits
    middle = (low * high) ** 0.5
    bar.ax.yaxis.set_major_locator(FixedLocator([low, (low * middle) ** 0.5, middle, (middle * high) ** 0.5, high]))
    bar.ax.yaxis.set_minor_locator(NullLocator())
    bar.ax.yaxis.set_major_formatter(FuncFormatter(_tick))
    bar.ax.tick_params(colors=drawn.ink, labelsize=8)
    bar.set_label(label, color=drawn.ink)
    bar.outline.set_visible(False)


def _tick(value: float, _: int | None) -> str:
    return written(value)


def written(value: float) -> str:
    """A number on a scale."""
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.2g}" if value >= 0.1 else f"{value:.1e}".replace("e-0", "e-")


def legend(
    axes: Any, handles: Sequence[Any], drawn: Theme, *, below: bool = True, columns: int = 4, drop: float = 0.0
) -> None:
    """What marks mean; nothing where there are none."""
    if not handles:
        return
    where = {"loc": "upper center", "bbox_to_anchor": (0.5, -drop)} if below else {"loc": "best"}
    shown = axes.legend(handles=list(handles), ncols=min(columns, len(handles)), frameon=False, fontsize=9, **where)
    for mark in shown.legend_handles:
        mark.set_alpha(1.0)
    for text in shown.get_texts():
        text.set_color(drawn.ink)


def finished(figure: Any, path: Path | str | None) -> Any:
    """The figure, written to a file if one is named; its ending chooses the format."""
    if path is not None:
        figure.savefig(path, dpi=110)
    return figure
