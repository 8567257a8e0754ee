"""What is trained, and how: a plan says everything that the weights depend on."""

from collections.abc import Iterable
from dataclasses import dataclass

from circuitkit import names
from circuitkit.errors import MethodError

MAX_RATE = 1.0  # of Adam: weights would leave all numbers


@dataclass(frozen=True)
class Plan:
    """What the weights of a dictionary depend on, beside the model and the prompts.

    `positions` says which tokens are trained on. The first of a prompt sees only itself, and is in
    most models a place apart with a norm many times that of others.

    A feature that was not active on the last `dead_after` tokens is dead. The `aux_k` largest dead
    ones of each token are drawn to what the others leave over ("auxk", Gao et al. 2024,
    arXiv:2406.04093, A.2), with a weight of `aux_weight` in the loss. 0 leaves dead ones alone.
    """

    kind: str = "batchtopk"
    n_features: int = 512
    k: int = 16
    steps: int = 1000
    prompts_per_step: int = 32
    learning_rate: float = 2e-3
    warmup: int = 50
    dead_after: int = 50_000
    aux_k: int = 32
    aux_weight: float = 1 / 32
    sparsity_weight: float = 0.3  # of (L0 / k - 1)^2, jumprelu alone
    bandwidth: float = 1.0  # of the steps that jumprelu is smoothed over, jumprelu alone
    positions: str = "content"
    seed: int = 0

    def __post_init__(self) -> None:
        _require_one_of("--kind", self.kind, names.DICTIONARY_KINDS, "It is what the features are.")
        why = "It says which tokens are trained on."
        _require_one_of("--positions", self.positions, names.TRAINED_POSITIONS, why)
        smallest = {"n_features": 1, "k": 1, "steps": 1, "prompts_per_step": 1, "dead_after": 1}
        for name, least in smallest.items():
            if getattr(self, name) < least:
                raise MethodError(
                    f"training, {name}: must be at least {least}, got {getattr(self, name)}. "
                    "Nothing would be trained. Choose a larger number."
                )
        if self.k > self.n_features:
            raise MethodError(
                f"training, k: must be at most the number of features, {self.n_features}, got "
                f"{self.k}. It is how many are active at once. Lower --k, or raise --features."
            )
        if not 0 < self.learning_rate <= MAX_RATE:
            raise MethodError(
                f"training, learning_rate: must be above 0 and at most {MAX_RATE:g}, got "
                f"{self.learning_rate}. It is the size of a step. Choose a number as 0.002."
            )

    @property
    def reads_mlp_input(self) -> bool:
        """Whether features are read where an MLP reads, and not where they are written."""
        return self.kind == "transcoder"

    def learning_rate_at(self, step: int) -> float:
        """Return the learning rate of a step: a linear rise, level, then a linear fall to 0."""
        fall = max(1, self.steps // 3)
        rise = min(1.0, (step + 1) / max(1, self.warmup))
        return self.learning_rate * rise * min(1.0, (self.steps - step) / fall)


def _require_one_of(option: str, value: str, known: Iterable[str], why: str) -> None:
    if value not in known:
        raise MethodError(
            f"{option}: must be one of {', '.join(known)}, got {value!r}. {why} Choose one."
        )
