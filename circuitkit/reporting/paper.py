"""The report on paper: report.pdf, printed from report.html by a headless Chromium of the machine.

The page's own style for print decides what is on paper: the first screen, every question with its
checks, the circuit and its parts. What is folded stays out. No other program is asked: without one
of BROWSERS, report.pdf is left out and a sentence says so.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from circuitkit.errors import PictureError

BROWSERS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "msedge",
)
LIMIT = 120  # seconds


def printed(html: str) -> bytes:
    """Return a page printed as PDF, on A4.

    Raises:
        PictureError: there is no Chromium, or it prints nothing.
    """
    browser = browser_program()
    if browser is None:
        raise PictureError("pdf", "there is no Chromium to print report.pdf with", "chromium")
    with tempfile.TemporaryDirectory(prefix="circuitkit-print-") as folder:
        page, paper = Path(folder) / "report.html", Path(folder) / "report.pdf"
        page.write_text(html, encoding="utf-8")
        try:
            done = subprocess.run(
                _command(browser, page, paper), capture_output=True, timeout=LIMIT, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise PictureError("pdf", f"Chromium failed: {error}", "chromium") from error
        if not paper.exists():
            said = f"exit code {done.returncode}"
            raise PictureError("pdf", f"Chromium printed nothing: {said}", "chromium")
        return paper.read_bytes()


def browser_program() -> str | None:
    """Return the browser that prints, None where there is none."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def _command(browser: str, page: Path, paper: Path) -> list[str]:
    # a superuser's Chromium has no sandbox; the page's policy lets no script run but our own
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    return [
        browser,
        "--headless",
        "--disable-gpu",
        *(["--no-sandbox"] if is_root else []),
        "--no-first-run",
        "--no-pdf-header-footer",
        f"--user-data-dir={page.parent / 'profile'}",
        f"--print-to-pdf={paper}",
        page.as_uri(),
    ]
