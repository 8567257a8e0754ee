"""The command `attribute`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import typer

from circuitkit.cli.command import command
from circuitkit.cli.loading import loading
from circuitkit.cli.options import Shown


@dataclass(frozen=True)
class Explained:
    """What is explained, and by which dictionaries."""

    title: ClassVar[str] = "What is explained"

    prompt: Annotated[str, typer.Argument(help="The text that is explained.", metavar="PROMPT")]
    dictionaries: Annotated[
        str,
        typer.Option(
            "--dictionaries",
            help="Folder of the model's transcoders: circuit-tracer's, or one folder a layer "
            "(default: those that ship for the model).",
            metavar="FOLDER",
        ),
    ] = ""
    model: Annotated[
        str,
        typer.Option(
            "--model", help="Zoo name, local directory or Hugging Face name.", metavar="MODEL"
        ),
    ] = "pico"
    features: Annotated[
        int,
        typer.Option("--features", help="Active features at most; 0: all.", metavar="N", min=0),
    ] = 0


@command
def attribute(
    explained: Explained,
    shown: Shown,
    checked: Annotated[
        bool,
        typer.Option(
            "--check", help="Take drawn features away in the real model, and compare controls."
        ),
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Write Neuronpedia's JSON here.", metavar="FILE"),
    ] = None,
) -> None:
    """Draw the attribution graph of one prompt, from transcoder features to the next token.

    Example: `circuitkit attribute "The cat sat on the" --model gpt2 --dictionaries transcoders`
    """
    with loading():
        from circuitkit.cli.actions.attribute import attribute_prompt
    given = (explained.model, explained.prompt, explained.dictionaries)
    attribute_prompt(given, explained.features, checked, output, shown)
