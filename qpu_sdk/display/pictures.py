"""A matplotlib figure that a notebook shows. Loaded with the first figure, not before."""

from __future__ import annotations

from io import BytesIO

from matplotlib.figure import Figure


class Picture(Figure):
    """A figure that shows itself as the value of a cell, whether or not ``%matplotlib inline`` came before.

    Where matplotlib has been told how figures are shown, as by that line, this is asked first by IPython.
    """

    def _repr_png_(self) -> bytes:
        content = BytesIO()
        self.savefig(content, format="png", dpi=self.dpi)  # pyright: ignore[reportUnknownMemberType]
        return content.getvalue()
