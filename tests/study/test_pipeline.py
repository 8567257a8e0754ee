from circuitkit.circuits.circuit import Circuit
from circuitkit.metrics import LogitDifference
from circuitkit.prompts.pairs import PromptPair
from circuitkit.prompts.splits import Splits
from circuitkit.prompts.tokenization import tokenize_pairs
from circuitkit.study.recipe import with_provenance
from circuitkit.study.settings import Settings
from circuitkit.study.subject import Subject
from tests.conftest import random_pairs


def test_dropped_discovery_pairs_are_counted_so_that_all_seen_pairs_can_be_drawn_again(toy):
    misaligned = PromptPair([1, 2, 3], [1, 2], [4], [5])
    pairs = tokenize_pairs([*random_pairs(5), misaligned], drop_misaligned=True)
    subject = Subject("t", "", LogitDifference(), toy, Splits(pairs, pairs, pairs))
    circuit = with_provenance(Circuit.empty(toy.graph), subject, Settings(seed=7), n_selected=9)
    assert len(pairs) == 5
    assert circuit.provenance.recipe.pairs.n == 6
    assert circuit.provenance.seed == 7
