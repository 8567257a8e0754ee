"""Options in groups: how a circuit is found, and what it must reach."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import typer

from circuitkit import names
from circuitkit.cli.options import AblationOption
from circuitkit.cli.values import (
    choice,
    parse_seconds,
    parse_settings,
    require_bound,
    require_finite,
)
from circuitkit.errors import MethodError

ALL = "all"  # methods, beside each other


MethodOption = Annotated[
    str,
    choice(
        "--method",
        names=tuple(names.METHODS),
        help="How edges are scored",
        kind="method",
        word="METHOD",
    ),
]


@dataclass(frozen=True)
class Search:
    """How the circuit is found."""

    title: ClassVar[str] = "How the circuit is found"

    method: MethodOption = names.DEFAULT_METHOD
    options: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="A setting of the method, as steps=10; may be given again. "
            "`--method METHOD --help` lists them.",
            metavar="KEY=VALUE",
        ),
    ] = None
    edges: Annotated[
        int,
        typer.Option(
            "--edges",
            min=0,
            help="Edges to select; 0: the method's own circuit, or the fewest that are faithful.",
            metavar="N",
        ),
    ] = 0
    signed: Annotated[
        bool, typer.Option("--signed", help="Rank by signed instead of absolute score.")
    ] = False
    minimal: Annotated[
        bool | None,
        typer.Option(
            "--minimal/--as-selected",
            help="Trim: drop the edges that are not needed, as measured on discovery pairs.",
        ),
    ] = False
    ablation: AblationOption = "mean"
    scoring_ablation: Annotated[
        str,
        choice(
            "--scoring-ablation",
            names=names.ABLATIONS,
            help="Value that the method replaces others by while it scores: as for --ablation",
        ),
    ] = "resample"
    edges_at: Annotated[
        str,
        choice(
            "--edges-at",
            names=names.EDGE_COLUMNS,
            help="Let edges live at these: `a0.h1->a1.h2<k>@S1` (default: at all positions)",
        ),
    ] = ""
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Go on although the model cannot do the task.")
    ] = False
    units: Annotated[
        str,
        choice(
            "--units",
            names=names.UNITS,
            help="Take MLPs apart (default: they stay whole) into",
            kind="units",
        ),
    ] = ""
    n_units: Annotated[
        int,
        typer.Option(
            "--n-units",
            min=1,
            help="With --units: how many become components of their own, by attribution; the "
            "others of an MLP are one.",
            metavar="N",
        ),
    ] = 32
    dictionaries: Annotated[
        str,
        typer.Option(
            "--dictionaries",
            help="With --units features or transcoder: a folder of dictionaries (default: those "
            "that ship for the model).",
            metavar="FOLDER",
        ),
    ] = ""

    def __post_init__(self) -> None:
        """Require settings that can be read, and columns that there are."""
        parse_settings(self.options)
        if self.edges_at not in ("", *names.EDGE_COLUMNS):
            raise MethodError(
                f"--edges-at: must be one of {', '.join(names.EDGE_COLUMNS)}, got "
                f"{self.edges_at!r}. It says at what the edges of a circuit live. Choose one."
            )
        if self.edges_at and self.minimal:
            raise MethodError(
                "--minimal: must go without --edges-at, got both. Trimming measures whole edges "
                "only. Leave one of them out; --select and --edges make a circuit smaller."
            )

    @property
    def method_settings(self) -> dict[str, str]:
        """The settings of the method, by name."""
        return parse_settings(self.options)


@dataclass(frozen=True)
class SearchOrAuto(Search):
    """How the circuit is found: as told, or as suits the task, the model and the time."""

    method: Annotated[
        str,
        choice(
            "--method",
            names=(names.AUTO, *names.METHODS),
            help="How edges are scored",
            kind="method",
            word="METHOD",
        ),
    ] = names.AUTO
    budget: Annotated[
        str,
        typer.Option(
            "--budget",
            help="Time that finding a circuit may take with --method auto, as 90s or 5min "
            "(default: 60s on a CPU, 3min on a GPU). Judging it comes on top.",
            metavar="TIME",
        ),
    ] = ""
    edges: Annotated[
        int,
        typer.Option(
            "--edges",
            min=0,
            help="Edges to select; 0: with auto, where trimming starts is chosen; else the "
            "method's own circuit, or the fewest that are faithful.",
            metavar="N",
        ),
    ] = 0
    minimal: Annotated[
        bool | None,
        typer.Option(
            "--minimal/--as-selected",
            help="Trim: drop the edges that are not needed, as measured on discovery pairs "
            "(default: with auto only).",
        ),
    ] = None
    scoring_ablation: Annotated[
        str,
        choice(
            "--scoring-ablation",
            names=names.ABLATIONS,
            help="Value that the method replaces others by while it scores (default: that of "
            "--ablation with auto, else resample).",
        ),
    ] = ""

    def __post_init__(self) -> None:
        """Require a time, and options that belong together."""
        super().__post_init__()
        parse_seconds(self.budget)
        if self.budget and self.method != names.AUTO:
            raise MethodError(
                f"--budget: must go with --method auto, got --method {self.method}. A method that "
                "is named takes the time that it takes. Leave one of them out."
            )
        if self.options and self.method == names.AUTO:
            raise MethodError(
                f"--set: must go with a method, got {', '.join(self.options)} with --method auto. "
                "Settings belong to one method. Name it, as --method eap-ig."
            )


@dataclass(frozen=True)
class SearchOrAll(Search):
    """How the circuit is found, with all that one search can be told; or all methods."""

    method: Annotated[
        str,
        choice(
            "--method",
            names=(*names.METHODS, ALL),
            help="How edges are scored",
            kind="method",
            word="METHOD",
        ),
    ] = names.DEFAULT_METHOD
    threshold: Annotated[
        float,
        typer.Option(help="Keep the edges that score at least this; 0: use --edges.", metavar="X"),
    ] = 0.0
    select: Annotated[
        str,
        choice(
            "--select",
            names=names.SELECTIONS,
            help="Which edges are taken",
            kind="choice",
        ),
    ] = "top"
    by: Annotated[
        str,
        choice(
            "--by",
            names=("role", "position"),
            help="Also what the edges carry at each, a circuit file for each (needs --edges)",
        ),
    ] = ""

    def __post_init__(self) -> None:
        """Require rules that can be followed together."""
        super().__post_init__()
        require_finite("--threshold", self.threshold, MethodError)
        if self.select not in names.SELECTIONS:
            raise MethodError(
                f"--select: must be one of {', '.join(names.SELECTIONS)}, got {self.select!r}. It "
                "says which edges make the circuit. Choose one."
            )
        has_other_rule = self.edges > 0 or self.select != "top"
        if self.threshold < 0 or (self.threshold > 0 and has_other_rule):
            raise MethodError(
                "--threshold: must be at least 0, and the only rule of selection, got "
                f"{self.threshold} with --edges {self.edges} and --select {self.select}. Each "
                "gives a circuit of its own. Use one."
            )

    @property
    def compares(self) -> bool:
        """Whether all methods are compared, instead of one circuit found."""
        return self.method == ALL


@dataclass(frozen=True)
class Bounds:
    """What a circuit is held against."""

    title: ClassVar[str] = "What the circuit must reach"

    thresholds: Annotated[
        Path | None,
        typer.Option(
            help="TOML file of bounds, as `faithfulness = { min = 0.85 }`.", metavar="FILE"
        ),
    ] = None
    criteria: Annotated[
        str,
        typer.Option(
            help=f"Comma-separated (default: all): {', '.join(names.CRITERIA)}. `circuitkit "
            "explain NAME` says what one measures.",
            metavar="NAMES",
        ),
    ] = ""
    min_faithfulness: Annotated[
        float | None,
        typer.Option(
            help="Require the whole 95 % interval of faithfulness above this.", metavar="X"
        ),
    ] = None
    max_edge_share: Annotated[
        float | None, typer.Option(help="Require at most this share of all edges.", metavar="X")
    ] = None

    def __post_init__(self) -> None:
        """Require numbers that can be compared with."""
        require_bound("--min-faithfulness", self.min_faithfulness)
        require_bound("--max-edge-share", self.max_edge_share)
