"""How a command is declared: groups of options are dataclasses, and errors are one message.

    @command
    def patch(what: FewPairs, machine: Machine, shown: Shown, ...) -> None: ...

Every field of a group is an option of the command, and stands in its help under the group's
`title`; the command gets the groups filled in.
"""

import inspect
from collections.abc import Callable
from copy import copy
from dataclasses import MISSING, fields, is_dataclass
from functools import wraps
from textwrap import wrap
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer
from typer.core import TyperCommand

from circuitkit.cli.terminal import reported_errors

ARGUMENTS, OPTIONS = "Arguments", "Options"
MAX_NAME = 28  # longer ones stand on a line of their own


class GroupedCommand(TyperCommand):
    """A command whose help lists its arguments, then its options group by group."""

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
        groups[OPTIONS] = groups.pop(OPTIONS)  # the last
        for title, records in groups.items():
            if records:
                formatter.write(f"\n{title}:\n{_definitions(records, formatter.width)}")


def _definitions(records: list[tuple[str, str]], width: int) -> str:
    """Return names and what they mean, side by side where the name is short."""
    column = max((len(name) for name, _ in records if len(name) <= MAX_NAME), default=MAX_NAME) + 4
    lines = []
    for name, text in records:
        left = f"  {name}"
        if len(left) > column - 2:
            lines.append(left)
            left = ""
        lines += wrap(
            text,
            width,
            initial_indent=left.ljust(column),
            subsequent_indent=" " * column,
            break_on_hyphens=False,
        ) or [left]
    return "\n".join(lines) + "\n"


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
        with reported_errors(as_json=values.get("as_json", False)):
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
