"""Names of the glossary in a page: each a link to its line, which the page holds itself."""

import re

from markupsafe import Markup

from circuitkit.glossary import DEFINITIONS, Definition, meaning

# Columns of tables that hold names, and of which kind.
KIND_OF_COLUMN = {
    "criterion": "criterion",
    "checks": "criterion",
    "the same measurement": "criterion",
    "role": "role",
    "roles": "role",
}
NAME = re.compile(r"[\w-]+")


class Words:
    """Links names of one page, and remembers which, so that the page can define them."""

    def __init__(self) -> None:
        self._linked: set[tuple[str, str]] = set()

    def __call__(self, cell: str, column: str) -> str | Markup:
        """Return a cell with the names in it linked, if its column is one of names."""
        kind = KIND_OF_COLUMN.get(column)
        if kind is None:
            return cell
        end, parts = 0, list[Markup]()
        for match in NAME.finditer(cell):
            if line := meaning(match[0], kind):
                parts.append(Markup.escape(cell[end : match.start()]))
                parts.append(self._link(match[0], kind, line))
                end = match.end()
        return Markup("").join([*parts, Markup.escape(cell[end:])])

    def _link(self, name: str, kind: str, line: str) -> Markup:
        own = "at-ROLE" if kind == "role" and name.startswith("at-") else name
        self._linked.add((own, kind))
        return Markup('<a class="word" href="#word-{}-{}" title="{}">{}</a>').format(
            kind, own, line, name
        )

    @property
    def used(self) -> tuple[Definition, ...]:
        """The definitions of the names linked so far, in the order of the glossary."""
        return tuple(one for one in DEFINITIONS if (one.name, one.kind) in self._linked)
