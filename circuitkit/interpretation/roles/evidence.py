"""What roles are read from: effects of edges, attention, writes to the logits. Made once."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from circuitkit.circuits.circuit import kind_of
from circuitkit.interpretation.roles.attention import role_sources, shuffled_prompts
from circuitkit.interpretation.roles.copying import EndWrites, end_writes
from circuitkit.interpretation.sweeps.logit_attribution import Attribution, attribute
from circuitkit.interpretation.sweeps.patterns import attention_patterns
from circuitkit.interventions.edges import measure_edges
from circuitkit.interventions.patching import patch_activations
from circuitkit.interventions.sites import site_named
from circuitkit.prompts.columns import by_role
from circuitkit.prompts.pairs import PromptPairs
from circuitkit.statistics.bootstrap import Values
from circuitkit.validation.case import Case
from circuitkit.validation.knock_outs import inner_components

Patterns = tuple[Float[Tensor, "pair head destination source"], ...]


@dataclass(eq=False)
class Evidence:
    """What is measured of a case's circuit on its validation pairs. All of it is kept."""

    case: Case

    @property
    def components(self) -> tuple[str, ...]:
        """The heads and MLPs of the circuit."""
        return inner_components(self.case.circuit)

    @cached_property
    def edge_effects(self) -> Mapping[str, Values]:
        """The exact effect of noising each edge of the circuit alone, [pair], as a gain."""
        case = self.case
        effects = measure_edges(
            case.model,
            case.validation,
            case.circuit.edges,
            case.metric,
            ablation=case.ablations[case.ablation],
            memory=case.memory,
            progress=case.progress,
        ).effects.numpy()
        return dict(zip(case.circuit.edges, effects, strict=True))

    @cached_property
    def prompts(self) -> PromptPairs:
        """The validation pairs without the answers behind them: what heads look at."""
        return self.case.validation.prompts_alone()

    @cached_property
    def sources(self) -> Mapping[str, Bool[Tensor, "pair destination source"]]:
        """Which sources each role names, for every destination."""
        return role_sources(self.prompts)

    @cached_property
    def patterns(self) -> Patterns:
        """Every layer's attention on the clean prompts, placed as the padded prompts are."""
        return self._attention(self.prompts)

    @cached_property
    def shuffled(self) -> Patterns:
        """The same on the clean prompts with their tokens shuffled among the places."""
        return self._attention(shuffled_prompts(self.prompts, self.case.seed))

    @cached_property
    def attribution(self) -> Attribution:
        """What every component adds directly to the answers' logits."""
        return attribute(self.case.model, self.case.validation, memory=self.case.memory)

    @cached_property
    def ends(self) -> EndWrites:
        """What every component writes where the answer is read."""
        return end_writes(self.case.model, self.prompts, self.case.memory)

    def pattern_of(
        self, head: str, *, shuffled: bool = False
    ) -> Float[Tensor, "pair destination source"]:
        """Return a head's attention."""
        layer, number = self.case.model.graph.place_of_head(head)
        return (self.shuffled if shuffled else self.patterns)[layer][:, number]

    def end_attention(self, head: str) -> Float[Tensor, "pair source"]:
        """Return a head's attention where the answer is read."""
        pattern = self.pattern_of(head)
        return pattern[torch.arange(len(pattern)), self.prompts.label_pos]

    def direct_logits_of_others(self, head: str, n: int) -> Iterator[Float[Tensor, "pair vocab"]]:
        """Yield the direct logits of `n` other heads of the model, evenly spread over it."""
        graph = self.case.model.graph
        heads = [name for name in graph.senders if kind_of(name) == "head" and name != head]
        for at in range(min(n, len(heads))):
            yield self.ends.direct_logits(heads[at * len(heads) // min(n, len(heads))])

    def acts_at(self, head: str) -> tuple[str, Bool[Tensor, "pair pos"]]:
        """Return the token role, empty for none, where noising a head matters most; its places."""
        names, masks, effects = self._places
        column = int(np.abs(effects[head]).argmax())
        return names[column] if column < len(names) - 1 else "", masks[column]

    @cached_property
    def _places(self) -> tuple[tuple[str, ...], Tensor, Mapping[str, Values]]:
        case = self.case
        columns, places = by_role(case.validation), by_role(self.prompts)
        effects = patch_activations(
            case.model,
            case.validation,
            site_named("heads"),
            columns,
            metric=case.metric,
            memory=case.memory,
        )
        kept = [columns.names.index(name) for name in places.names]  # not the answers behind
        means = effects.effects.mean(-1).numpy()[:, kept]
        return places.names, places.masks, dict(zip(effects.rows, means, strict=True))

    def _attention(self, pairs: PromptPairs) -> Patterns:
        found = attention_patterns(self.case.model, pairs, memory=self.case.memory)
        n_pos = pairs.clean.shape[1]
        layers = []
        for short in found.layers:
            whole = short.new_zeros(*short.shape[:2], n_pos, n_pos, dtype=torch.float64)
            for row, real in enumerate(pairs.mask):
                at = real.nonzero()[:, 0]
                whole[row][:, at[:, None], at] = short[row, :, : len(at), : len(at)].double()
            layers.append(whole)
        return tuple(layers)
