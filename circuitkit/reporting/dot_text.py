"""A graph written in DOT, Graphviz's language: rows of nodes, edges, and their attributes.

Text is quoted, so it is shown as it is; only what is marked as `Html` is a label in Graphviz's own
HTML-like markup. The same calls give the same text.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

_BARE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|-?(\.[0-9]+|[0-9]+(\.[0-9]*)?)")
_KEYWORDS = {"node", "edge", "graph", "digraph", "subgraph", "strict"}


class Html(str):
    """A label in Graphviz's HTML-like markup; text inside it is already escaped."""


class Digraph:
    """A directed graph that grows by a line a call."""

    def __init__(
        self,
        name: str,
        *,
        graph: Mapping[str, str],
        node: Mapping[str, str],
        edge: Mapping[str, str],
    ) -> None:
        self._lines = [f"digraph {quoted(name)} {{"]
        self._indent = "\t"
        for kind, attributes in (("graph", graph), ("node", node), ("edge", edge)):
            if attributes:
                self._write(f"{kind}{_list(attributes)}")

    @property
    def source(self) -> str:
        """The graph as DOT text."""
        return "\n".join([*self._lines, "}"]) + "\n"

    def set(self, name: str, value: str) -> None:
        """Set an attribute of the graph, or of the row that is open."""
        self._write(f"{quoted(name)}={quoted(value)}")

    def node(self, name: str, label: str, **attributes: str) -> None:
        """Add a node."""
        self._write(f"{quoted(name)}{_list(attributes, label)}")

    def edge(self, tail: str, head: str, *, label: str | None = None, **attributes: str) -> None:
        """Add an edge; its ends are `node` or `node:port:side`, as Graphviz names them."""
        self._write(f"{_end(tail)} -> {_end(head)}{_list(attributes, label)}")

    @contextmanager
    def row(self, name: str) -> Iterator[None]:
        """Let what is added meanwhile share a rank."""
        self._write(f"subgraph {quoted(name)} {{")
        self._indent += "\t"
        self.set("rank", "same")
        yield
        self._indent = self._indent[:-1]
        self._write("}")

    def _write(self, line: str) -> None:
        self._lines.append(self._indent + line)


def quoted(text: str) -> str:
    """Return text as a DOT identifier: bare where it may be, else in quotes."""
    if isinstance(text, Html) or (_BARE.fullmatch(text) and text.lower() not in _KEYWORDS):
        return str(text)
    shown = "".join(letter for letter in text if letter.isprintable())
    escaped = shown.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _end(name: str) -> str:
    node, colon, port = name.partition(":")
    return f"{quoted(node)}{colon}{port}"


def _list(attributes: Mapping[str, str], label: str | None = None) -> str:
    first = [] if label is None else [f"label={_value(label)}"]
    rest = [f"{quoted(name)}={_value(value)}" for name, value in sorted(attributes.items())]
    return f" [{' '.join([*first, *rest])}]" if first or rest else ""


def _value(text: str) -> str:
    """Return what an attribute says: Graphviz reads `&lt;` and the like in plain text too."""
    return text if isinstance(text, Html) else quoted(text.replace("&", "&amp;"))
