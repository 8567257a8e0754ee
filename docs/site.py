"""Make the site from the pages of docs/: `python docs/site.py` writes build/site/html/index.html.

1. Every page and picture of docs/ is copied to build/site/docs. A link to a file of the repository
   that is no page (`../examples/tutorial.ipynb`) leads to a copy of that file in the site; reports
   of the gallery lead to their HTML. A link to a file that does not exist is refused.
2. A page is written for every package: its modules, their formulas, and what they offer.
3. Zensical makes the site in strict mode: a link or a name that leads nowhere is an error.

Nothing is fetched, neither to make the site nor to read it. The pages are plain Markdown and the
settings (docs/site.yml) are those of MkDocs, so another tool can read build/site as it is.
"""

import os
import posixpath
import re
import shutil
import subprocess
import sys
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build" / "site"
LINK = re.compile(r"(?<=\]\()(?!#|[a-z]+:)([^)#\s]+)")  # the target of a relative link
REPORTS = {"index.md": "index.html", "report.md": "report.html"}  # the same, made for a browser


def packages() -> list[str]:
    """Return the dotted names of circuitkit's packages, in order."""
    folders = sorted(path.parent for path in (ROOT / "circuitkit").rglob("__init__.py"))
    return [".".join(path.relative_to(ROOT).parts) for path in folders[1:]]


def package_page(package: str) -> str:
    """Return the source of a package's page: its modules, with their formulas on top."""
    files = sorted(ROOT.joinpath(*package.split(".")).glob("[!_]*.py"))
    modules = [package, *(f"{package}.{path.stem}" for path in files)]
    options = "    options:\n      show_submodules: false\n      heading_level: 2\n"
    return f"# {package}\n\n" + "\n".join(f"::: {name}\n{options}" for name in modules)


def outside(uri: str, link: str) -> Path | None:
    """Return the file outside docs/ to which the page `uri` links; None if it stays inside.

    Raises:
        SystemExit: there is no such file.
    """
    target = posixpath.normpath(posixpath.join("docs", posixpath.dirname(uri), link))
    if target.startswith("docs/"):
        return None
    path = ROOT / target
    if path.is_relative_to(ROOT / "reports"):
        path = path.with_name(REPORTS.get(path.name, path.name))
    if not path.is_file():
        sys.exit(f"docs/{uri}: links must lead to files of the repository, got {link!r}.")
    return path


def copied_to(path: Path) -> str:
    """Return where a file outside docs/ goes in the site; as text where it is Markdown, no page."""
    place = f"repository/{path.relative_to(ROOT).as_posix()}"
    return f"{place}.txt" if path.suffix == ".md" else place


def follow_links(uri: str, text: str) -> tuple[str, set[Path]]:
    """Return a page whose links out of docs/ lead to copies, and the files to copy."""
    wanted: set[Path] = set()
    to_top = "../" * (len(PurePosixPath(uri).parts) - 1)

    def follow(match: re.Match[str]) -> str:
        path = outside(uri, match[1])
        if path is None:
            return match[1]
        wanted.add(path)
        return to_top + copied_to(path)

    return LINK.sub(follow, text), wanted


def write_pages(docs: Path) -> None:
    """Write the pages, the pictures and the copies that the site is made of."""
    wanted = {*ROOT.glob("reports/*.html"), *ROOT.glob("reports/*/report.html")}
    for source in sorted((ROOT / "docs").rglob("*.*")):
        uri = source.relative_to(ROOT / "docs").as_posix()
        target = docs / uri
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.suffix == ".md":
            text, linked = follow_links(uri, source.read_text())
            target.write_text(text)
            wanted |= linked
        elif source.suffix not in {".py", ".yml"}:
            shutil.copy(source, target)
    for path in wanted:
        target = docs / copied_to(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    for package in packages():
        (docs / "reference" / f"{package}.md").write_text(package_page(package))


def settings() -> dict[str, Any]:
    """Return the settings with the lists that the tree itself says: packages and decisions."""
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "docs" / "site.yml").read_text())
    decisions = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
    lists = {
        "Packages": [{name: f"reference/{name}.md"} for name in packages()],
        "Decisions": [f"decisions/{path.name}" for path in decisions],
    }

    def fill(entries: list[Any]) -> None:
        for entry in entries:
            for title, inner in entry.items() if isinstance(entry, dict) else ():
                entry[title] = lists.get(title, inner)
                if isinstance(inner, list):
                    fill(inner)

    fill(loaded["nav"])
    return loaded


def main() -> int:
    """Make the site, and return the exit code of the tool that does."""
    shutil.rmtree(BUILD, ignore_errors=True)
    write_pages(BUILD / "docs")
    (BUILD / "site.yml").write_text(yaml.safe_dump(settings(), sort_keys=False))
    tool = [sys.executable, "-m", "zensical", "build", "--strict", "-f", str(BUILD / "site.yml")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(tool, cwd=BUILD, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
