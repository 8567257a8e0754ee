"""Write docs/glossary.md from the table in circuitkit/glossary.py: `python docs/glossary.py`."""

from pathlib import Path

from circuitkit.glossary import DEFINITIONS, KINDS

PAGE = Path(__file__).with_suffix(".md")
HEAD = """# Glossary

Every name that commands, reports and files use, in a line. `circuitkit explain NAME` prints it, the
help of options and the report show it, and all take it from one table, `circuitkit/glossary.py`.
"""


def page() -> str:
    """Return the page as Markdown."""
    parts = [HEAD]
    for kind, title in KINDS.items():
        parts.append(f"\n## {title}\n\n| name | meaning | more |\n|---|---|---|\n")
        for one in DEFINITIONS:
            if one.kind == kind:
                line = one.line.replace("|", "\\|")
                where = one.more.partition("#")[0]
                parts.append(f"| `{one.name}` | {line} | [{where}]({one.more}) |\n")
    return "".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
