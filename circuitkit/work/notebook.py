"""How results show themselves: as a table, in a notebook, as a data frame.

IPython asks an object for `_repr_html_`, and where only pictures can be shown for `_repr_svg_`.
What draws and tabulates lies above the classes that are shown in the order of imports, and loads
slowly: so it is found by its place, when it is first asked for.
"""

from pkgutil import resolve_name
from typing import Any


class Shown:
    """Base of results that are tables: `reporting/frames.py` says which columns each has."""

    def to_frame(self) -> Any:
        """Return the numbers as a pandas DataFrame; `attrs["columns"]` says what each column is.

        Raises:
            DependencyError: pandas is not installed.
        """
        return resolve_name("circuitkit.reporting.frames:frame_of")(self)

    def _repr_html_(self) -> str:
        return str(resolve_name("circuitkit.reporting.notebook:page_of")(self))


class Drawn(Shown):
    """Base of results that are also pictures; `reporting/notebook.py` says how each is drawn."""

    def _repr_svg_(self) -> str | None:
        svg: str | None = resolve_name("circuitkit.reporting.notebook:picture_of")(self)
        return svg
