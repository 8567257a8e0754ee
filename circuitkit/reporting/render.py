"""Pictures from DOT text: Graphviz lays out and draws SVG, Matplotlib draws its layout on a page.

Graphviz is a program without any library of the system, in the package graphviz-pure; where that
is missing, the machine's own `dot`. Nothing of it is loaded into Python. Text is measured by
Graphviz's own table for FONT, so the same DOT text gives the same bytes whatever fonts there are.
"""

import importlib.metadata
import shutil
import subprocess
from typing import Literal

from circuitkit.errors import PictureError
from circuitkit.reporting.dot import FONT
from circuitkit.reporting.figures import loading_failed

LIMIT = 120  # seconds; a picture of MAX_DRAWN edges takes one
PACKAGE, SYSTEM = "graphviz-pure", "dot"
PROGRAMS = (PACKAGE, f"{PACKAGE}.exe")
READERS_FONTS = f"Helvetica,Arial,{FONT},sans-serif"


def render_dot(dot: str, format: Literal["svg", "png", "pdf"]) -> bytes:
    """Return DOT text laid out and drawn.

    Raises:
        PictureError: there is no Graphviz, it cannot read or draw the text, or Matplotlib, which
            draws PNG and PDF, cannot load.
    """
    if format == "svg":
        drawn = _laid_out(dot, "svg", format)
        return drawn.replace(b'font-family="%s"' % FONT.encode(), _font_family())
    layout = _laid_out(dot, "json", format)
    try:
        from circuitkit.reporting.page import page_of

        return page_of(layout, format)
    except Exception as error:  # what a library says that cannot load is anyone's guess
        raise PictureError(format, loading_failed(error), "matplotlib") from error


def graphviz_program() -> str | None:
    """Return the Graphviz that is asked: that of the package, else the machine's, else none."""
    try:
        files = importlib.metadata.files(PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    packaged = [str(each.locate()) for each in files if each.name in PROGRAMS]
    for program in (*packaged, PACKAGE, SYSTEM):
        found = shutil.which(program)
        if found:
            return found
    return None


def _font_family() -> bytes:
    return b'font-family="%s"' % READERS_FONTS.encode()


def _laid_out(dot: str, output: str, format: str) -> bytes:
    program = graphviz_program()
    if program is None:
        raise PictureError(format, "there is no Graphviz", PACKAGE)
    try:
        done = subprocess.run(
            [program, f"-T{output}"], input=dot.encode(), capture_output=True, timeout=LIMIT
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PictureError(format, f"Graphviz failed: {error}", PACKAGE) from error
    if done.returncode != 0 or not done.stdout:
        said = done.stderr.decode(errors="replace").strip() or f"exit code {done.returncode}"
        raise PictureError(format, f"Graphviz failed: {said.splitlines()[0]}", PACKAGE)
    return done.stdout
