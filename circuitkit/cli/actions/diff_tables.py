"""What the command line shows of two circuits: as tables, or everything as JSON."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cattrs

from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.diff import CircuitDiff, origin_of
from circuitkit.cli.terminal import OUT, show_table
from circuitkit.model.digests import is_legacy
from circuitkit.study.difference import FaithfulnessDifference


@dataclass(frozen=True)
class Side:
    """One of the two circuits: the letter it goes by, its file, and what is in it."""

    letter: str
    path: Path
    circuit: Circuit

    @property
    def label(self) -> str:
        """What the file says of the circuit, for a legend."""
        return f"{origin_of(self.circuit)}, {self.circuit.n_edges} edges ({self.path.name})"

    @cached_property
    def scores(self) -> dict[str, float]:
        """The score that the file gives each edge, in the circuit or not."""
        scores: list[float] = self.circuit.scores.by_edge().tolist()
        return dict(zip(self.circuit.graph.edge_names, scores, strict=True))

    def is_of(self, swap: FaithfulnessDifference) -> bool:
        """Whether the circuit says that it was found in the model of a swap."""
        origin = self.circuit.provenance
        if origin.model_digest and is_legacy(origin.model_digest) == is_legacy(swap.model_digest):
            return origin.model_digest == swap.model_digest
        return origin.model == swap.model


def facts_of(
    a: Side, b: Side, diff: CircuitDiff, swaps: Sequence[FaithfulnessDifference]
) -> dict[str, Any]:
    """Return everything, for --json."""
    sides = {
        side.letter.lower(): {
            "path": str(side.path),
            "task": side.circuit.provenance.task,
            "method": side.circuit.provenance.method,
            "seed": side.circuit.provenance.seed,
            "model": side.circuit.provenance.model,
            "edges": side.circuit.n_edges,
            "components": list(side.circuit.components),
        }
        for side in (a, b)
    }
    parts = {"both": diff.both, "only_a": diff.only_a, "only_b": diff.only_b}
    edges = {
        part: [{"edge": e, "score_a": a.scores[e], "score_b": b.scores[e]} for e in names]
        for part, names in parts.items()
    }
    return {**sides, "jaccard": diff.jaccard, **edges, "swaps": cattrs.unstructure(swaps)}


def show_edges(a: Side, b: Side, diff: CircuitDiff, *, limit: int | None) -> None:
    """Print how many edges are in both and in one alone, and the strongest of the latter."""
    for side in (a, b):
        OUT.print(f"{side.letter}: {side.label}", soft_wrap=True)
    show_table(
        "Edges",
        ("in both", "only in A", "only in B", "Jaccard overlap"),
        [
            (
                str(len(diff.both)),
                str(len(diff.only_a)),
                str(len(diff.only_b)),
                f"{diff.jaccard:.3f}",
            )
        ],
    )
    for side, names in ((a, diff.only_a), (b, diff.only_b)):
        if names:
            _show_only(side, names, (a, b), limit)


def _show_only(
    side: Side, names: Sequence[str], both: tuple[Side, Side], limit: int | None
) -> None:
    ranked = sorted(names, key=lambda edge: -abs(side.scores[edge]))[:limit]
    shown = "" if len(ranked) == len(names) else f"; {len(ranked)} of {len(names)}, --all shows all"
    scored = [each for each in both if any(each.scores.values())]  # circuits of papers have none
    order = "by |score| there" if side in scored else "in edge order"
    show_table(
        f"Only in {side.letter}, {order}{shown}",
        ("edge", *(f"score in {each.letter}" for each in scored)),
        [(edge, *(f"{each.scores[edge]:+.3g}" for each in scored)) for edge in ranked],
    )


def show_swaps(swaps: Sequence[FaithfulnessDifference], a: Side, b: Side) -> None:
    """Print the faithfulness of both circuits and its difference, a column for each model."""
    first = swaps[0]
    show_table(
        f"Faithfulness f by {first.metric} under {first.ablation} ablation",
        ("[95 % interval]", *(_column(swap, a, b) for swap in swaps)),
        [
            ("f(A)", *(str(swap.a) for swap in swaps)),
            ("f(B)", *(str(swap.b) for swap in swaps)),
            ("f(B) - f(A)", *(str(swap.difference) for swap in swaps)),
            (f"m(M) - m(0), {first.unit}", *(str(swap.gap) for swap in swaps)),
            ("validation pairs", *(str(swap.a.n) for swap in swaps)),
        ],
    )
    for swap in swaps:
        if swap.n_left_out:
            OUT.print(
                f"{swap.model}: {swap.n_left_out} more pairs were drawn and left out, as "
                "they share a prompt with those that found a circuit.",
                soft_wrap=True,
            )


def _column(swap: FaithfulnessDifference, a: Side, b: Side) -> str:
    """Return whose model it is; a name may be a long path, and stands above with the circuit."""
    homes = " and ".join(side.letter for side in (a, b) if side.is_of(swap))
    return f"in the model of {homes}" if homes else f"in {swap.model}"
