"""The options that commands share, and what they stand for: a subject of study and its settings."""

import re
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import typer

from circuitkit.circuits.circuit import kind_of
from circuitkit.circuits.graph import ComponentGraph
from circuitkit.discovery.methods import METHODS
from circuitkit.errors import MethodError, OutputError
from circuitkit.interventions.ablation import ABLATIONS
from circuitkit.interventions.path_patching import PatchedPath, inputs_of
from circuitkit.metrics import METRICS
from circuitkit.study.subject import Request
from circuitkit.work.files import require_writable_directory

PictureFormat = Literal["svg", "png", "pdf"]

TaskArgument = Annotated[str, typer.Argument(help="A task name or my_task.py:MyTask.")]
ModelOption = Annotated[
    str, typer.Option("--model", help="Zoo name, local directory or Hugging Face name.")
]
PromptsOption = Annotated[
    Path | None,
    typer.Option("--prompts", help="JSON Lines file of prompt pairs, instead of TASK."),
]
MetricOption = Annotated[
    str,
    typer.Option(
        "--metric",
        help="Overrides the task's metric: " + ", ".join(m.name for m in METRICS) + ".",
    ),
]
NOption = Annotated[int, typer.Option("--n", help="Pairs in each of discovery and validation.")]
SeedOption = Annotated[int, typer.Option("--seed", help="Seed of all sampling.")]
DeviceOption = Annotated[str, typer.Option("--device", help="cpu, cuda, cuda:1, ...")]
DtypeOption = Annotated[str, typer.Option("--dtype", help="float32, float64, bfloat16, float16.")]
BatchOption = Annotated[
    str, typer.Option("--batch-size", help="Pairs a pass: auto (what fits) or a number.")
]
MemoryOption = Annotated[
    str,
    typer.Option("--memory", help="Budget, as 4GB or 500MB (default: a share of what is free)."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
QuietOption = Annotated[bool, typer.Option("-q", "--quiet", help="No progress bars.")]
AblationOption = Annotated[
    str,
    typer.Option("--ablation", help=f"What is not in the circuit becomes: {', '.join(ABLATIONS)}."),
]
EdgesOption = Annotated[
    int,
    typer.Option(
        "--edges",
        min=0,
        help="Edges to select; 0: the method's own circuit, or the fewest that are faithful.",
    ),
]
SignedOption = Annotated[
    bool, typer.Option("--signed", help="Rank by signed instead of absolute score.")
]
MethodOption = Annotated[
    str, typer.Option("--method", help=f"How edges are scored: {', '.join(METHODS)}.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="A setting of the method, as steps=10; may be given again."),
]
ScoringAblationOption = Annotated[
    str,
    typer.Option(
        "--scoring-ablation",
        help=f"What methods replace values by while they score: {', '.join(ABLATIONS)}.",
    ),
]
MinimalOption = Annotated[
    bool,
    typer.Option(
        "--minimal/--as-selected",
        help="Drop edges whose removal does no more than a random edge's, on discovery pairs.",
    ),
]
AnywayOption = Annotated[
    bool, typer.Option("--anyway", help="Go on although the model cannot do the task.")
]


def asked(*words: Any, **options: Any) -> Request:
    """Return the request of these options, with what was typed."""
    return replace(Request(*words, **options), command=typed_command())


def typed_command() -> str:
    """Return what was typed, to get the same again; less what only changes the terminal."""
    words = [word for word in sys.argv[1:] if word not in ("-q", "--quiet", "--json")]
    return shlex.join(["circuitkit", *words])


def parse_settings(texts: list[str] | None) -> dict[str, str]:
    """Return the settings of a method given as key=value.

    Raises:
        MethodError: a text has another form.
    """
    settings = {}
    for text in texts or []:
        key, equals, value = text.partition("=")
        if not (key.strip() and equals and value.strip()):
            raise MethodError(
                f"--set: must be a setting and its value as steps=10, got {text!r}. It changes "
                "how the method works. See docs/methods/ for the settings."
            )
        settings[key.strip()] = value.strip()
    return settings


def parse_batch_size(text: str) -> int | None:
    """Return a number of pairs; None for auto.

    Raises:
        MethodError: neither.
    """
    if text == "auto":
        return None
    if not (text.isdigit() and int(text) > 0):
        raise MethodError(
            f"--batch-size: must be auto or a positive number, got {text!r}. It is in pairs. "
            "Leave it out for what fits."
        )
    return int(text)


def parse_bytes(text: str) -> int | None:
    """Return the bytes of a budget as 4GB or 500MB; None for the default.

    Raises:
        MethodError: not a size.
    """
    if not text:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kKMGT])B", text.strip())
    if match is None:
        raise MethodError(
            f"--memory: must be a size as 4GB or 500MB, got {text!r}. It bounds the batches. "
            "Leave it out for a share of what is free."
        )
    power = "KMGT".index(match[2].upper()) + 1
    return int(float(match[1]) * 1000**power)


def parse_paths(graph: ComponentGraph, senders: str, receivers: str) -> list[PatchedPath]:
    """Return one path for each sender (or senders joined by +) to all receivers.

    `heads`, `mlps` and `all` stand for every such sender that comes before a receiver.

    Raises:
        GraphError: a receiver does not exist.
    """
    to = tuple(name.strip() for name in receivers.split(","))
    kinds = {"heads": ("head",), "mlps": ("mlp",), "all": ("input", "head", "mlp")}
    if senders not in kinds:
        groups = [group.split("+") for group in senders.split(",")]
        return [PatchedPath(tuple(name.strip() for name in group), to) for group in groups]
    reached = graph.edge_mask[:, [graph.receivers.index(name) for name in inputs_of(graph, to)]]
    return [
        PatchedPath((sender,), to)
        for sender, feeds in zip(graph.senders, reached.all(1).tolist(), strict=True)
        if feeds and kind_of(sender) in kinds[senders]
    ]


def run_name(request: Request, method: str) -> str:
    """Return <task>--<model>--<method>, safe as a directory name."""
    if request.prompts is not None:
        what = request.prompts.stem
    else:
        path, _, class_name = request.task.partition(":")
        what = class_name or Path(path).stem
    parts = (what, Path(request.model).name, method)
    return "--".join(re.sub(r"[^\w.-]+", "-", part) or "unnamed" for part in parts)


def picture_format(output: Path) -> PictureFormat:
    """Return the format that a suffix asks for, if the file can be written.

    Raises:
        OutputError: it is no such format, or cannot be written.
    """
    if output.is_dir():
        raise OutputError(
            f"output {str(output)!r}: must be a file, got a directory. The picture is one file. "
            "Name it, as circuits.svg."
        )
    require_writable_directory(output.parent)
    suffix = output.suffix.removeprefix(".").lower()
    for format in get_args(PictureFormat):
        if suffix == format:
            return format  # type: ignore[no-any-return]
    raise OutputError(
        f"output {str(output)!r}: must end in one of {', '.join(get_args(PictureFormat))}, got "
        f"{output.suffix or 'no suffix'!r}. It says how the picture is drawn. Name another file."
    )
