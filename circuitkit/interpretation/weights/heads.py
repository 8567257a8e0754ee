"""What a head could do by its weights, for its card: a summary of weights.py and composition.py."""

from collections.abc import Sequence

from circuitkit.circuits.circuit import Circuit, kind_of
from circuitkit.errors import DecompositionError, MethodError
from circuitkit.interpretation.findings import HeadWeights, WeightedPair
from circuitkit.interpretation.weights.composition import Composition, compose
from circuitkit.interpretation.weights.products import (
    TokenPair,
    VocabularyCircuit,
    ov_circuit,
    qk_circuit,
)
from circuitkit.model import SubjectModel

N_PAIRS = 5
MOST_ENTRIES = 400_000_000  # of a vocabulary's product: 20,000 tokens, a few seconds a head


def head_weights(
    model: SubjectModel, head: str, edges: Sequence[str]
) -> tuple[HeadWeights | None, str]:
    """Return what a head's weights say, and a note on what is left out; `edges` are the circuit's.

    The exact largest token pairs are found unless there are more than MOST_ENTRIES.
    """
    try:
        written, read = ov_circuit(model, head), qk_circuit(model, head)
        copying = written.positive_share
        matching = read.positive_share
    except (DecompositionError, MethodError) as error:
        return None, f"Weights: left out. {error}"
    few = max(written.n_pairs, read.n_pairs) <= MOST_ENTRIES
    found = HeadWeights(
        copying=copying,
        matching=matching,
        writes=_pairs(model, written) if few else (),
        finds=_pairs(model, read) if few else (),
        composes=_composed(model, head, edges),
    )
    note = (
        f"Weights: of the {written.n_pairs:,} token pairs of a head none are listed, only its "
        "copying and matching scores. `ov_circuit(model, head).top_pairs()` finds the largest "
        "exactly, in blocks."
    )
    return found, "" if few else note


def _pairs(model: SubjectModel, circuit: VocabularyCircuit) -> tuple[WeightedPair, ...]:
    def named(pair: TokenPair) -> WeightedPair:
        return WeightedPair(model.text_of([pair.row]), model.text_of([pair.column]), pair.value)

    return tuple(named(pair) for pair in circuit.top_pairs(N_PAIRS).largest if pair.value > 0)


def _composed(model: SubjectModel, head: str, edges: Sequence[str]) -> tuple[Composition, ...]:
    """Return the edges of the circuit from heads into this one, largest z first."""
    into = [
        edge
        for edge in edges
        if Circuit.ends(edge)[1] == head and kind_of(Circuit.ends(edge)[0]) == "head"
    ]
    return tuple(sorted(compose(model, into), key=lambda each: -each.z)) if into else ()
