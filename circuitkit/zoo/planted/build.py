"""Planted models by name: their weights, their tokenizer and their true edges.

planted-induction                 plain, seed 0
planted-ioi:backup                harder (difficulties.py)
planted-facts:noise:3             seed 3: heads in other slots, other decoys, other noise
planted-refusal:plain:3           seed 3: another direction (refusal.py); no task and no difficulty
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import PreTrainedTokenizerFast

from circuitkit.circuits.circuit import Circuit, Provenance
from circuitkit.circuits.graph import INPUT, LOGITS, head_name, mlp_name
from circuitkit.circuits.recipe import Recipe
from circuitkit.errors import ModelError
from circuitkit.model import SubjectModel
from circuitkit.model.state_dicts import Reading, load_state_dict
from circuitkit.zoo.planted.blueprint import Blueprint, state_dict, width_of_heads
from circuitkit.zoo.planted.comparison import comparison
from circuitkit.zoo.planted.difficulties import DIFFICULTIES, NOISE, NOISY
from circuitkit.zoo.planted.facts import facts
from circuitkit.zoo.planted.induction import START, induction, predecessor
from circuitkit.zoo.planted.ioi import ioi
from circuitkit.zoo.planted.refusal import NAME as REFUSAL
from circuitkit.zoo.planted.refusal import refusal
from circuitkit.zoo.planted.skip_trigram import skip_trigram

PREFIX = "planted-"
BLUEPRINTS: dict[str, Callable[[], Blueprint]] = {
    "planted-induction": induction,
    "planted-predecessor": predecessor,
    "planted-ioi": ioi,
    "planted-skip-trigram": skip_trigram,
    "planted-facts": facts,
    "planted-comparison": comparison,
}


@dataclass(frozen=True)
class Planted:
    """One planted model: what it is made of, and where its heads are."""

    name: str
    difficulty: str
    seed: int
    blueprint: Blueprint
    slots: dict[str, int]

    @property
    def task(self) -> str:
        """The name of the task that it does."""
        return self.blueprint.task

    @property
    def components(self) -> dict[str, str]:
        """The component of every role, decoys included."""
        heads = {h.name: head_name(h.layer, self.slots[h.name]) for h in self.blueprint.heads}
        rules = {rule.name: mlp_name(rule.layer) for rule in self.blueprint.rules}
        return {INPUT: INPUT, LOGITS: LOGITS, **heads, **rules}

    @property
    def true_edges(self) -> tuple[str, ...]:
        """The edges that are true of it, by component names."""
        names = self.components
        edges = []
        for edge in self.blueprint.truth:
            sender, _, receiver = edge.partition("->")
            role, bracket, read = receiver.partition("<")
            edges.append(f"{names[sender]}->{names[role]}{bracket}{read}")
        return tuple(edges)

    def model(
        self,
        *,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
        noise: float | None = None,
    ) -> SubjectModel:
        """Return the transformer, with a tokenizer of whole words.

        `noise` is the standard deviation of the weights' noise (None: what the difficulty has).
        """
        if noise is None:
            noise = NOISE if self.difficulty in NOISY else 0.0
        tensors = state_dict(self.blueprint, self.slots, width_of_heads(self.blueprint))
        if noise:
            generator = torch.Generator().manual_seed(self.seed)
            tensors = {
                name: x + noise * torch.randn(x.shape, generator=generator, dtype=x.dtype)
                for name, x in tensors.items()
            }
        reading = Reading(act_fn="relu", normalization="none", scale=1.0)
        model = load_state_dict(
            tensors, name=self.name, reading=reading, dtype=dtype, device=device
        )
        return replace(model, tokenizer=_tokenizer(self.blueprint.words))

    def truth(self, model: SubjectModel) -> Circuit:
        """Return the true circuit.

        Raises:
            ModelError: the blueprint names no edges.
        """
        if not self.true_edges:
            raise ModelError(
                f"model {self.name!r}: a planted circuit must have true edges, got none. Nothing "
                "could be found in it. Name them in the blueprint's `truth`."
            )
        circuit = Circuit.of_edges(model.graph, list(self.true_edges))
        origin = Provenance(
            self.task, self.name, model.digest, Recipe(method="planted", seed=self.seed)
        )
        return replace(circuit, provenance=origin)


def planted(name: str) -> Planted:
    """Return the planted model of a name: `planted-<task>[:<difficulty>[:<seed>]]`.

    Raises:
        ModelError: there is none of that name.
    """
    base, *rest = name.split(":")
    difficulty, seed = [*rest, *("plain", "0")[len(rest) :]][:2]
    difficulties = DIFFICULTIES if base in BLUEPRINTS else ("plain",)
    if (
        base not in (*BLUEPRINTS, REFUSAL)
        or difficulty not in difficulties
        or not (seed.isascii() and seed.isdigit())
        or len(rest) > 2
    ):
        raise ModelError(
            f"model {name!r}: a planted model must be one of {', '.join(BLUEPRINTS)}, with an "
            f"optional difficulty ({', '.join(DIFFICULTIES)}) and seed, as planted-ioi:backup:1, "
            f"or {REFUSAL}, as {REFUSAL}:plain:1. No such circuit was planted. Choose one."
        )
    rng = random.Random(f"{base} {difficulty} {int(seed)}")
    plain = refusal(int(seed)) if base == REFUSAL else BLUEPRINTS[base]()
    blueprint = DIFFICULTIES[difficulty](plain, rng)
    slots: dict[str, int] = {}
    for layer in range(blueprint.n_layers):
        heads = [head.name for head in blueprint.heads if head.layer == layer]
        slots |= dict(zip(heads, rng.sample(range(blueprint.n_heads), len(heads)), strict=True))
    return Planted(name, difficulty, int(seed), blueprint, slots)


def _tokenizer(words: tuple[str, ...]) -> PreTrainedTokenizerFast:
    vocabulary = {word: number for number, word in enumerate(words)}
    core = Tokenizer(WordLevel(vocabulary, unk_token=START))
    core.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=core, bos_token=START, unk_token=START)
