"""What notebooks draw. IPython asks an object for `_repr_html_`, and where only pictures can be
shown for `_repr_svg_`. Drawing lies above the classes that are drawn in the order of imports, and
loads slowly: so it is found by its place, when a notebook first asks.
"""

from pkgutil import resolve_name


class Drawn:
    """Base of what notebooks draw; `reporting/notebook.py` says how."""

    def _repr_svg_(self) -> str | None:
        svg: str | None = resolve_name("circuitkit.reporting.notebook:picture_of")(self)
        return svg

    def _repr_html_(self) -> str:
        return str(resolve_name("circuitkit.reporting.notebook:page_of")(self))
