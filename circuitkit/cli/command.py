"""How a command is declared: groups of options are dataclasses, and errors are one message.

    @command
    def patch(what: FewPairs, machine: Machine, shown: Shown, ...) -> None: ...

Every field of a group is an option of the command, and stands in its help under the group's
`title`; the command gets the groups filled in.
"""

import inspect
import re
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import MISSING, fields, is_dataclass
from functools import wraps
from itertools import pairwise
from textwrap import wrap
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer
from typer.core import TyperCommand

from circuitkit import names
from circuitkit.cli.terminal import reported_errors

ARGUMENTS, OPTIONS = "Arguments", "Options"
MAX_NAME = 28  # longer ones stand on a line of their own
DEFAULT = re.compile(r"\s*(\[default: [^\n]*\])$")  # what click adds to a help text


class GroupedCommand(TyperCommand):
    """A command whose help lists its arguments, then its options group by group."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Remember what was typed: the help of a method's settings depends on it."""
        ctx.meta["typed"] = tuple(args)
        return super().parse_args(ctx, args)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the help of every parameter; no name is cut, and none is broken at a hyphen."""
        groups: dict[str, list[tuple[str, str]]] = {ARGUMENTS: []}
        for parameter in self.get_params(ctx):
            name, text = parameter.get_help_record(ctx) or ("", "")
            if parameter.param_type_name == "argument":
                groups[ARGUMENTS].append((parameter.metavar or name, text))
            elif name:
                title = getattr(parameter, "rich_help_panel", None) or OPTIONS
                groups.setdefault(title, []).append((name, text))
        groups |= _settings(ctx.meta.get("typed", ()))
        groups[OPTIONS] = groups.pop(OPTIONS)  # the last
        for title, records in groups.items():
            if records:
                formatter.write(f"\n{title}:\n{_definitions(records, formatter.width)}")


def _settings(typed: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
    """Return the settings of the method that was named, under their title."""
    words = [part for word in typed for part in word.split("=", 1)]
    method = dict(pairwise(words)).get("--method", "")
    if method not in names.METHODS:
        return {}
    records = [
        (f"{key}={default}", f"{line[0].upper()}{line[1:]}.")
        for key, (default, line) in names.SETTINGS.get(method, {}).items()
    ]
    return {f"Settings of {method} (--set KEY=VALUE)": records or [("none", "It has none.")]}


def _definitions(records: list[tuple[str, str]], width: int) -> str:
    """Return names and what they mean, side by side where the name is short.

    Lines of a text after the first are choices, each with its own line.
    """
    longest = min(MAX_NAME, width // 3)
    column = max((len(name) for name, _ in records if len(name) <= longest), default=longest) + 4
    lines = []
    for name, text in records:
        left = f"  {name}"
        if len(left) > column - 2:
            lines.append(left)
            left = ""
        default = DEFAULT.search(text)
        first, *choices = DEFAULT.sub("", text).split("\n")
        head = f"{first} {default[1]}" if default else first
        lines += _filled(head, width, left.ljust(column), " " * column) or [left]
        for choice in choices:
            lines += _filled(choice.strip(), width, " " * column, " " * (column + 2))
    return "\n".join(lines) + "\n"


def _filled(text: str, width: int, first: str, rest: str) -> list[str]:
    return wrap(text, width, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False)


def command(function: Callable[..., int | None]) -> Callable[..., None]:
    """Return a command whose options are the fields of the function's groups, and its others.

    What the function returns is the exit code. An exit that is raised inside is none that was
    meant: a task's code may raise one.
    """
    hints = get_type_hints(function, include_extras=True)
    groups: dict[str, Any] = {name: kind for name, kind in hints.items() if is_dataclass(kind)}
    parameters = []
    for parameter in inspect.signature(function).parameters.values():
        group = groups.get(parameter.name)
        found = [parameter] if group is None else _options_of(group)
        parameters += [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in found]

    @wraps(function)
    def called(**values: Any) -> None:
        as_json, verbose = values.get("as_json", False), values.get("verbose", False)
        with reported_errors(as_json=as_json, verbose=verbose):
            given = {
                name: kind(**{field.name: values.pop(field.name) for field in fields(kind)})
                for name, kind in groups.items()
            }
            code = function(**given, **values)
        if code:
            raise typer.Exit(code)

    called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    called.__annotations__ = {each.name: each.annotation for each in parameters}
    return called


def _options_of(group: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.default is MISSING else field.default,
            annotation=_under(group.title, hints[field.name]),
        )
        for field in fields(group)
    ]


def _under(title: str, annotation: Any) -> Any:
    """Return the annotation with its option listed under a title."""
    assert get_origin(annotation) is Annotated, annotation
    kind, option = get_args(annotation)
    option = copy(option)
    if isinstance(option, typer.models.OptionInfo):
        option.rich_help_panel = title
    return Annotated[kind, option]
