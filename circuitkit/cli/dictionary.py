"""The command `dictionary`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import typer

from circuitkit import names
from circuitkit.cli.command import command
from circuitkit.cli.loading import loading
from circuitkit.cli.options import (
    AdapterOption,
    AsksForPrompts,
    BosOption,
    ColumnsOption,
    FormatOption,
    Machine,
    PromptsOption,
    ReadingOption,
    RevisionOption,
    SeedOption,
    ShownAtOnce,
    SubfolderOption,
)
from circuitkit.cli.values import choice

SITES = tuple(site.replace(" ", "-") for site in names.DICTIONARY_SITES)


@dataclass(frozen=True)
class TriedOn(AsksForPrompts):
    """What a dictionary is tried on."""

    title: ClassVar[str] = "What it is tried on"
    metric: ClassVar[str] = ""

    task: Annotated[
        str,
        typer.Argument(
            help="A task name or my_task.py:MyTask, on whose clean prompts it is tried.",
            metavar="TASK",
        ),
    ] = ""
    model: Annotated[
        str,
        typer.Option("--model", help="The model that it was trained on.", metavar="MODEL"),
    ] = "pico"
    prompts: PromptsOption = None
    n: Annotated[int, typer.Option("--n", help="Prompts to try it on.", metavar="N")] = 32
    seed: SeedOption = 0
    bos: BosOption = "auto"
    format: FormatOption = ""
    columns: ColumnsOption = ""
    revision: RevisionOption = ""
    subfolder: SubfolderOption = ""
    adapter: AdapterOption = ""
    reading: ReadingOption = ""


@dataclass(frozen=True)
class Where:
    """Where a dictionary stands, and which tokens count."""

    title: ClassVar[str] = "Where it stands"

    layer: Annotated[
        int | None,
        typer.Option("--layer", help="Its layer (default: its file's).", metavar="N"),
    ] = None
    site: Annotated[
        str, choice("--site", names=SITES, help="What it reads (default: what its file says)")
    ] = ""
    with_bos: Annotated[
        bool, typer.Option("--with-bos", help="Let a token that begins a sequence count too.")
    ] = False


@command
def dictionary(
    path: Annotated[
        Path,
        typer.Argument(
            help="A file or folder of an SAE or a transcoder, or a folder of several.",
            metavar="PATH",
        ),
    ],
    on: TriedOn,
    where: Where,
    machine: Machine,
    shown: ShownAtOnce,
) -> int:
    """Say what a sparse dictionary is; with TASK, how well it does on a model.

    Example: `circuitkit dictionary my-sae ioi --model pico`
    """
    with loading():
        from circuitkit.cli.actions.dictionary import show_dictionaries
    return show_dictionaries(path, on, where, machine, shown)
