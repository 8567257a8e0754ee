"""The command `attribute`."""

from pathlib import Path
from typing import Annotated

import typer

from circuitkit.cli.command import command
from circuitkit.cli.loading import loading
from circuitkit.cli.options import Shown


@command
def attribute(
    prompt: Annotated[str, typer.Argument(help="The text that is explained.", metavar="PROMPT")],
    dictionaries: Annotated[
        Path,
        typer.Option(
            "--dictionaries",
            help="Folder of the model's transcoders, in circuit-tracer's layout.",
            metavar="DIR",
        ),
    ],
    shown: Shown,
    model: Annotated[
        str,
        typer.Option(
            "--model", help="Zoo name, local directory or Hugging Face name.", metavar="MODEL"
        ),
    ] = "pico",
    features: Annotated[
        int,
        typer.Option(
            "--features", help="Active features at most (default: 0, all).", metavar="N", min=0
        ),
    ] = 0,
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
    attribute_prompt((model, prompt, dictionaries), features, checked, output, shown)
