"""The long description: the README as a package index can show it. All else is in pyproject.toml.

An index page has no files beside it, so relative links and pictures would lead nowhere: pictures
go, and links become their text.
"""

import re
from pathlib import Path

from setuptools import setup

NOTE = "*Pages, pictures and reports that this text speaks of lie beside it in the repository.*"


def for_an_index(readme: str) -> str:
    """Return a README without relative pictures and links; absolute ones and anchors stay."""
    text = re.sub(r"^!\[[^\]]*\]\((?!https?:)[^)]*\)\n+", "", readme, flags=re.MULTILINE)
    text = re.sub(r"\[([^\]]*)\]\((?!https?:|#)[^)\s]*\)", r"\1", text)
    title, rest = text.split("\n", 1)
    return f"{title}\n\n{NOTE}\n{rest}"


if __name__ == "__main__":
    readme = (Path(__file__).parent / "README.md").read_text(encoding="utf-8")
    setup(long_description=for_an_index(readme), long_description_content_type="text/markdown")
