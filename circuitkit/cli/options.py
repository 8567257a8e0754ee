"""The options that commands share, in groups: what is studied, on which machine, what is shown.

A group that differs for a command is a subclass with other defaults and help.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import typer

from circuitkit import names
from circuitkit.cli.values import (
    choice,
    parse_batch_size,
    parse_bytes,
    require_run_name,
    require_seed,
)
from circuitkit.errors import MethodError

DeviceOption = Annotated[
    str,
    typer.Option(
        "--device", help="cpu, cuda, cuda:1, ...; auto: a GPU if there is one.", metavar="DEVICE"
    ),
]
MemoryOption = Annotated[
    str,
    typer.Option(
        "--memory",
        help="Memory to use at most: 4GB, 4GiB, 500MB, or bytes (default: a share of what is "
        "free).",
        metavar="SIZE",
    ),
]
PromptsOption = Annotated[
    Path | None,
    typer.Option(
        "--prompts",
        help="File of prompt pairs, instead of TASK: JSON Lines, CSV, parquet, or what `datasets` "
        "saved.",
        metavar="FILE",
    ),
]
FormatOption = Annotated[
    str,
    choice(
        "--format",
        names=names.PROMPT_FORMATS,
        help="Format of the prompt file (default: known by its columns); mib:NAME, eap-ig:NAME and "
        "acdc:NAME choose the corrupted prompt",
        kind="format",
    ),
]
ColumnsOption = Annotated[
    str,
    typer.Option(
        "--columns",
        help="What the columns of the prompt file are, as clean=prompt,answer=target; corrupted, "
        "wrong, template, cluster and split may be named too.",
        metavar="NAMES",
    ),
]
MetricOption = Annotated[
    str,
    choice(
        "--metric", names=names.METRICS, help="Metric, instead of the task's own", kind="metric"
    ),
]
NOption = Annotated[
    int, typer.Option("--n", help="Pairs in each of discovery and validation.", metavar="N")
]
PictureFile = Annotated[
    Path,
    typer.Option("-o", "--output", help="The picture, as .svg, .png or .pdf.", metavar="FILE"),
]
SeedOption = Annotated[int, typer.Option("--seed", help="Seed of all sampling.", metavar="N")]
BosOption = Annotated[
    str,
    choice(
        "--bos",
        names=names.BOS,
        help="Whether text begins with the tokenizer's BOS token",
        kind="choice",
    ),
]
AblationOption = Annotated[
    str,
    choice(
        "--ablation",
        names=names.ABLATIONS,
        help="Value given to edges outside the circuit",
        kind="ablation",
    ),
]
OutputDirectory = Annotated[
    Path | None, typer.Option("-o", "--output", help="Run directory to write.", metavar="DIR")
]
HeatMapFile = Annotated[
    Path | None,
    typer.Option("-o", "--output", help="Write the heat map here as SVG.", metavar="FILE"),
]
DirectionOption = Annotated[
    names.Direction, typer.Option(help="noising: is it needed? denoising: is it enough?")
]


RevisionOption = Annotated[
    str,
    typer.Option(
        "--revision", help="Branch, tag or commit of a Hugging Face name.", metavar="REVISION"
    ),
]
SubfolderOption = Annotated[
    str,
    typer.Option("--subfolder", help="Directory of the weights within the model.", metavar="DIR"),
]
AdapterOption = Annotated[
    str,
    typer.Option(
        "--adapter", help="Directory of a LoRA adapter, merged into the weights.", metavar="DIR"
    ),
]
ReadingOption = Annotated[
    str,
    typer.Option(
        "--reading",
        help="TOML file of what a file of weights alone does not tell: layout, heads, norm.",
        metavar="FILE",
    ),
]

AllowTaskCode = Annotated[
    bool,
    typer.Option(
        "--allow-task-code",
        help="Run the Python file that the circuit or run file names as its task, if it is still "
        "the one that was recorded; what it imports is not compared. Without it, no file can make "
        "Python run.",
    ),
]
TrustRemoteCode = Annotated[
    bool,
    typer.Option(
        "--trust-remote-code",
        help="Run the Python files that come with the model. Only for models whose code you have "
        "read.",
    ),
]


class AsksForPrompts:
    """What groups of options that say which prompts are drawn or read have in common."""

    seed: int | None
    bos: str
    format: str
    columns: str

    def __post_init__(self) -> None:
        """Require a seed that every generator takes."""
        require_seed(self.seed)
        require_bos(self.bos)
        prompt_format(self.format, self.columns)

    @property
    def prompt_format(self) -> str:
        """How the prompt file is read."""
        return prompt_format(self.format, self.columns)


@dataclass(frozen=True)
class What(AsksForPrompts):
    """What is studied."""

    title: ClassVar[str] = "What is studied"

    task: Annotated[
        str, typer.Argument(help="A task name or my_task.py:MyTask.", metavar="TASK")
    ] = ""
    model: Annotated[
        str,
        typer.Option(
            "--model",
            help="Zoo name, local directory or Hugging Face name; a .gguf file, or a file of "
            "weights with --reading.",
            metavar="MODEL",
        ),
    ] = "pico"
    prompts: PromptsOption = None
    metric: MetricOption = ""
    n: NOption = 100
    seed: SeedOption = 0
    bos: BosOption = "auto"
    format: FormatOption = ""
    columns: ColumnsOption = ""
    revision: RevisionOption = ""
    subfolder: SubfolderOption = ""
    adapter: AdapterOption = ""
    reading: ReadingOption = ""


@dataclass(frozen=True)
class OneModel:
    """A model alone."""

    title: ClassVar[str] = "What is studied"

    model: Annotated[
        str,
        typer.Option(
            "--model", help="Zoo name, local directory or Hugging Face name.", metavar="MODEL"
        ),
    ] = "pico"
    seed: SeedOption = 0
    revision: RevisionOption = ""
    subfolder: SubfolderOption = ""
    adapter: AdapterOption = ""
    reading: ReadingOption = ""

    def __post_init__(self) -> None:
        """Require a seed that every generator takes."""
        require_seed(self.seed)


@dataclass(frozen=True)
class AnyModel:
    """A model alone, and how many pairs would be run on it."""

    title: ClassVar[str] = "What is asked about"

    model: Annotated[
        str,
        typer.Option(
            "--model",
            help="The model whose cost is shown: any that --model takes elsewhere.",
            metavar="MODEL",
        ),
    ] = ""
    n: Annotated[int, typer.Option("--n", help="Pairs of prompts.", metavar="N")] = 100
    seed: SeedOption = 0
    revision: RevisionOption = ""
    subfolder: SubfolderOption = ""
    adapter: AdapterOption = ""
    reading: ReadingOption = ""

    def __post_init__(self) -> None:
        """Require a seed that every generator takes."""
        require_seed(self.seed)


@dataclass(frozen=True)
class WhatOrRun(What):
    """What is studied, perhaps as a run.toml says."""

    allow_task_code: AllowTaskCode = False


@dataclass(frozen=True)
class FewPairs(What):
    """What is studied, where a sweep of patches runs on every pair."""

    n: Annotated[int, typer.Option("--n", help="Pairs to patch.", metavar="N")] = 32


@dataclass(frozen=True)
class Ground(AsksForPrompts):
    """What a circuit is looked at on: what the circuit says itself, unless told otherwise."""

    title: ClassVar[str] = "What it is looked at on"

    task: Annotated[
        str, typer.Option("--task", help="Task (default: the circuit's own).", metavar="TASK")
    ] = ""
    model: Annotated[
        str, typer.Option("--model", help="Model (default: the circuit's own).", metavar="MODEL")
    ] = ""
    prompts: PromptsOption = None
    metric: MetricOption = ""
    n: Annotated[
        int,
        typer.Option("--n", help="Validation pairs: none of them found the circuit.", metavar="N"),
    ] = 100
    seed: Annotated[
        int | None,
        typer.Option("--seed", help="Seed of sampling (default: the circuit's own).", metavar="N"),
    ] = None
    bos: BosOption = "auto"
    ablation: AblationOption = "mean"
    allow_task_code: AllowTaskCode = False
    format: FormatOption = ""
    columns: ColumnsOption = ""
    revision: RevisionOption = ""
    subfolder: SubfolderOption = ""
    adapter: AdapterOption = ""
    reading: ReadingOption = ""


@dataclass(frozen=True)
class CircuitGround(Ground):
    """What one circuit is looked at on."""

    anyway: Annotated[
        bool, typer.Option("--anyway", help="Go on although the model has other weights.")
    ] = False


@dataclass(frozen=True)
class CommonGround(Ground):
    """What two circuits are run on."""

    title: ClassVar[str] = "What both are run on"

    task: Annotated[
        str, typer.Option("--task", help="Task (default: the circuits' own).", metavar="TASK")
    ] = ""
    model: Annotated[
        str,
        typer.Option(
            "--model",
            help="Run both in this model alone (default: each circuit's own model).",
            metavar="MODEL",
        ),
    ] = ""
    n: Annotated[int, typer.Option("--n", help="Validation pairs.", metavar="N")] = 100
    seed: Annotated[
        int | None,
        typer.Option("--seed", help="Seed of sampling (default: that of circuit A).", metavar="N"),
    ] = None


@dataclass(frozen=True)
class Pairs:
    """What circuits are interpreted on, where that is still to do, and what chance is drawn by."""

    title: ClassVar[str] = "What they are interpreted on"

    n: Annotated[
        int,
        typer.Option("--n", help="Pairs to interpret on, where that is still to do.", metavar="N"),
    ] = 100
    seed: Annotated[
        int, typer.Option("--seed", help="Seed of the comparison with chance.", metavar="N")
    ] = 0
    bos: BosOption = "auto"
    ablation: AblationOption = "mean"
    allow_task_code: AllowTaskCode = False

    def __post_init__(self) -> None:
        """Require a seed that every generator takes."""
        require_seed(self.seed)
        require_bos(self.bos)


@dataclass(frozen=True)
class Machine:
    """Where it runs, and in how much memory."""

    title: ClassVar[str] = "Machine"

    device: DeviceOption = "cpu"
    dtype: Annotated[
        str,
        choice(
            "--dtype",
            names=names.DTYPES,
            help="Number type of the weights; auto: that of their files, or the one in which "
            "the circuit was found.",
        ),
    ] = "auto"
    memory: MemoryOption = ""
    trust_remote_code: TrustRemoteCode = False

    def __post_init__(self) -> None:
        """Require a size."""
        parse_bytes(self.memory)

    @property
    def budget(self) -> int | None:
        """The memory in bytes; None for the default."""
        return parse_bytes(self.memory)


@dataclass(frozen=True)
class BatchedMachine(Machine):
    """Where it runs, and in batches of which size."""

    batch_size: Annotated[
        str,
        typer.Option(
            "--batch-size",
            help="Prompt pairs per forward pass: a number, or auto for what fits.",
            metavar="[auto|N]",
        ),
    ] = "auto"

    def __post_init__(self) -> None:
        """Require a size and a number."""
        super().__post_init__()
        parse_batch_size(self.batch_size)

    @property
    def rows(self) -> int | None:
        """The pairs of a batch; None for what fits."""
        return parse_batch_size(self.batch_size)


@dataclass(frozen=True)
class SharedMachine(BatchedMachine):
    """Where it runs, and by how many processes."""

    workers: Annotated[
        str,
        typer.Option(
            "--workers",
            help="Share a search whose work divides (exact, exact-nodes, exact-joint) among N "
            "processes of this machine, one per GPU with --device cuda; or on Ray: ray, ray:N, "
            "ray:HOST:PORT (default: one process).",
            metavar="[N|ray]",
        ),
    ] = ""


@dataclass(frozen=True)
class Shown:
    """What is shown."""

    title: ClassVar[str] = "What is shown"

    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress bars.")] = False
    verbose: Annotated[
        bool,
        typer.Option(
            "-v", "--verbose", help="Checks without a bound too, and where a bug was raised."
        ),
    ] = False

    @property
    def has_bars(self) -> bool:
        """Whether progress is shown."""
        return not (self.quiet or self.as_json)


@dataclass(frozen=True)
class Plannable(Shown):
    """What is shown, by a command that may take long."""

    plan: Annotated[
        bool,
        typer.Option(
            "--plan", help="Say what it would take in memory and time on this device, and stop."
        ),
    ] = False


@dataclass(frozen=True)
class ShownAtOnce:
    """What is shown by a command that has no progress to show."""

    title: ClassVar[str] = "What is shown"

    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False


@dataclass(frozen=True)
class RunPlace:
    """Where a run is written, and whether another run may go for it."""

    title: ClassVar[str] = "Where it is written"

    output: OutputDirectory = None
    name: Annotated[
        str,
        typer.Option(
            "--name",
            help="Name of the run directory in reports/ (default: <task>--<model>--<method>, and "
            "a digest behind it where another run has that name).",
            metavar="NAME",
        ),
    ] = ""
    force: Annotated[
        bool, typer.Option("--force", help="Replace a run of another recipe in that directory.")
    ] = False

    def __post_init__(self) -> None:
        """Require one place."""
        require_run_name(self.name, self.output)


def require_bos(bos: str) -> None:
    """Require a policy for the BOS token.

    Raises:
        MethodError: there is no such policy.
    """
    if bos not in names.BOS:
        raise MethodError(
            f"--bos: must be one of {', '.join(names.BOS)}, got {bos!r}. It says whether prompts "
            "begin with the tokenizer's BOS token. Choose one."
        )


def prompt_format(format: str, columns: str) -> str:
    """Return how a prompt file is read: by the name of a format, or by its columns.

    Raises:
        MethodError: both are given, or columns in the place of a format.
    """
    if "=" in format or (format and columns):
        raise MethodError(
            f"--format: must be a name, without --columns beside it, got {format!r} with --columns "
            f"{columns!r}. Each says what the columns mean. Leave one out."
        )
    if columns and "=" not in columns:
        raise MethodError(
            f"--columns: must name columns as clean=prompt,answer=target, got {columns!r}. It says "
            "what the columns mean. Write name=column."
        )
    return format or columns
