"""Controls: circuits that should fail, run beside the one on trial.

    random, random-profile, random-connected   f(C) - f(best of N_RANDOM random circuits)
    shuffled   f(C) - f(best of N_SHUFFLED circuits found on pairs with exchanged answers)
    complement f of every edge that is not in the circuit

A circuit that does not beat them was not found, it was guessed. The interval is that of the paired
difference to the best control, which being the best of many is too good: the check errs against the
circuit. Answers are exchanged among the discovery pairs, so the method sees the same prompts and a
metric that means nothing.
"""

import random
from collections.abc import Sequence
from dataclasses import replace

import torch

from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.random_circuits import random_connected, random_like, random_of_profile
from circuitkit.errors import CriterionError
from circuitkit.glossary import CRITERIA
from circuitkit.prompts.batch import Labels
from circuitkit.prompts.pairs import PromptPairs
from circuitkit.prompts.tokenization import with_answers_of
from circuitkit.statistics.bound import Bound
from circuitkit.validation.case import Case
from circuitkit.validation.criterion import Criterion
from circuitkit.validation.questions import ALL, LUCK
from circuitkit.validation.verdict import Finding

N_RANDOM = 19
N_SHUFFLED = 3


class RandomControl(Criterion):
    """How much more faithful the circuit is than the best of N_RANDOM random ones."""

    name = "random"
    question = LUCK
    measures = CRITERIA["random"]
    summary = f"f(C) minus that of the best of {N_RANDOM} random circuits of the same size"
    default = Bound(min=0.0)

    def measure(self, case: Case) -> Finding:
        randoms = [self.draw(case.circuit, seed) for seed in case.seeds(N_RANDOM)]
        return margin_over(case, randoms)

    def draw(self, circuit: Circuit, seed: int) -> Circuit:
        """Return a control of the circuit."""
        return random_like(circuit, seed)


class ProfileControl(RandomControl):
    """The same with as many edges of each kind between the same layers."""

    name = "random-profile"
    question = LUCK
    measures = CRITERIA["random-profile"]
    default = Bound()
    summary = f"f(C) minus that of the best of {N_RANDOM} with the same layer profile"

    def draw(self, circuit: Circuit, seed: int) -> Circuit:
        """Return a control of the circuit."""
        return random_of_profile(circuit, seed)


class ConnectedControl(RandomControl):
    """The same with random paths from the input to the logits."""

    name = "random-connected"
    question = LUCK
    measures = CRITERIA["random-connected"]
    default = Bound()
    summary = f"f(C) minus that of the best of {N_RANDOM} made of random whole paths"

    def draw(self, circuit: Circuit, seed: int) -> Circuit:
        """Return a control of the circuit."""
        return random_connected(circuit, seed)


class ShuffledControl(Criterion):
    """How much more faithful the circuit is than those found where the answers mean nothing."""

    name = "shuffled"
    question = LUCK
    measures = CRITERIA["shuffled"]
    summary = f"f(C) minus that of the best of {N_SHUFFLED} found on pairs with exchanged answers"

    def measure(self, case: Case) -> Finding:
        if case.metric.needs_clean_logits:
            raise CriterionError(
                f"{self.name}: the metric must read the answers, got {case.metric.name!r}. It "
                "means as much when they are exchanged. Judge by another control."
            )
        samples = [shuffled(case.discovery, seed) for seed in case.seeds(N_SHUFFLED)]
        return margin_over(case, case.found_on(samples))


class Complement(Criterion):
    """What the model still does without any edge of the circuit."""

    name = "complement"
    question = ALL
    measures = CRITERIA["complement"]
    summary = "f of the edges that are not in the circuit: what works without it"

    def measure(self, case: Case) -> Finding:
        _, empty = case.ends()
        [values] = case.values([case.circuit.complement])
        return Finding(case.share_of_gap(values - empty))


def margin_over(case: Case, controls: Sequence[Circuit]) -> Finding:
    """Return how much more faithful the circuit is than the best of the controls."""
    f = case.faithfulness(controls)
    best = int(f.argmax())
    own, other = case.values([case.circuit, controls[best]])
    note = f"theirs: mean {f.mean():.2g}, best {f[best]:.2g}"
    margin = case.share_of_gap(own - other)
    if not (own != other).any():  # a circuit that is one of its controls
        raise CriterionError(
            f"control: the circuit must be more faithful on some pairs, got a margin of {margin} "
            f"({note}). No margin does not beat a control. Judge more pairs, or by another metric."
        )
    return Finding(margin, note)


def shuffled(pairs: PromptPairs, seed: int) -> PromptPairs:
    """Return the pairs with answers and wrong answers exchanged among them."""
    order = list(range(len(pairs)))
    random.Random(seed).shuffle(order)
    at = torch.tensor(order)
    if pairs.labels.spelled is not None:
        return with_answers_of(pairs, order)
    labels = Labels(pairs.labels.answers[at], pairs.labels.wrong_answers[at])
    return replace(pairs, labels=labels)
