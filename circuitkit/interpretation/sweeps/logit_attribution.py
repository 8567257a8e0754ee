"""Direct logit attribution: what each component adds to the logits with no other's help.

    direct[c]  =  (w_c / s) . d         w_c: what c writes at the labelled position, clean run
    d          =  W' (mean over answers of their columns - mean over wrong answers of theirs)
    W'         =  W_U with the final norm's weight and centring folded in (model/norms.py)
    s          =  the final norm's scale in that run, held fixed

Unit: logits; positive where c raises the answers over the wrong ones. Attention output biases, the
norm's bias and the unembedding's are `bias`, so that

    value  =  bias + sum over c of direct[c]         exactly, `value` being the logit difference

The write of a head is a sum over source positions, of pattern times value times W_O, and so is its
`direct`. A pair without wrong answers is compared with the mean logit of the vocabulary. A model
that caps its logits (Gemma 2) is attributed before the cap. What a component does through later
ones is not seen here. nostalgebraist 2020 (logit lens); Elhage et al. 2021; Wang et al. 2022,
arXiv:2211.00593, section 3.

TransformerLens 4.3 has `direct_logit_attribution`. It needs weights that it has folded (by default
that also moves value biases out of the heads), a run of its own, and prompts without padding that
are all read at one position; it sees no sources. Where both apply they agree
(tests/interpretation/test_attribution.py).
"""

from dataclasses import dataclass

import torch
from einops import einsum
from jaxtyping import Float, Int
from torch import Tensor

from circuitkit.circuits.graph import READS, ComponentGraph
from circuitkit.errors import GraphError
from circuitkit.interpretation.findings import Written
from circuitkit.interpretation.section import Bars, Section
from circuitkit.interpretation.sweeps.answer_directions import (
    answer_directions,
    first_token_note,
    in_float64,
)
from circuitkit.interventions.budget import pairs_per_batch
from circuitkit.interventions.recorded import RecordedRun
from circuitkit.model import SubjectModel, hook_points
from circuitkit.model.attention import per_head
from circuitkit.model.forward import at_label
from circuitkit.model.recording import attention_bias_before, counted_from
from circuitkit.model.runs import whole_run
from circuitkit.prompts.pairs import PromptPairs
from circuitkit.statistics.bootstrap import Estimate, mean_estimate


@dataclass(frozen=True)
class Attribution:
    """Each component's direct part in each pair's logit difference, in logits, float64.

    `by_source` splits the heads' parts by the position attended to. `mean_writes` are the writes
    over the norm's scale, averaged over pairs. `notes` says what differs from the usual.
    """

    graph: ComponentGraph
    direct: Float[Tensor, "pair component"]
    by_source: Float[Tensor, "pair layer head source"]
    bias: Float[Tensor, " pair"]
    value: Float[Tensor, " pair"]
    mean_writes: Float[Tensor, "component d_model"]
    label_pos: Int[Tensor, " pair"]
    notes: tuple[str, ...]

    @property
    def components(self) -> tuple[str, ...]:
        """The names along the component axis."""
        return self.graph.senders

    def of(self, component: str) -> Float[Tensor, " pair"]:
        """Return one component's part in each pair.

        Raises:
            GraphError: nothing of that name writes.
        """
        return self.direct[:, self.index(component)]

    def estimate(self, component: str) -> Estimate:
        """Return the mean over pairs with its interval.

        Raises:
            GraphError: nothing of that name writes.
            CriterionError: too few pairs for an interval.
        """
        return mean_estimate(self.of(component).numpy())

    def by_position(self, component: str) -> Float[Tensor, "pair pos"]:
        """Return the part of a head by source position; others' all at the labelled position.

        Positions are those of the padded prompts.

        Raises:
            GraphError: nothing of that name writes.
        """
        own = self.of(component)
        if component in self.graph.head_places:
            layer, head = self.graph.place_of_head(component)
            return self.by_source[:, layer, head]
        parts = own.new_zeros(len(own), self.by_source.shape[-1])
        parts[torch.arange(len(own)), self.label_pos] = own
        return parts

    def index(self, component: str) -> int:
        """Return a component's place along the component axis.

        Raises:
            GraphError: nothing of that name writes.
        """
        if component not in self.components:
            raise GraphError(
                f"component {component!r}: must write to the residual stream, got a name that none "
                f"of {self.graph} has. Only what is written can be attributed. Components look "
                f"like {', '.join(self.components[:2])} or {self.components[-1]}."
            )
        return self.components.index(component)


@dataclass(frozen=True)
class Promoted:
    """The tokens whose logits a component raises and lowers most, strongest first."""

    promotes: tuple[Written, ...]
    demotes: tuple[Written, ...]


def attribute(model: SubjectModel, pairs: PromptPairs, *, memory: int | None = None) -> Attribution:
    """Return what every component adds directly to each pair's logit difference, clean run.

    Of answers of several tokens, to that of their first tokens.

    Raises:
        ActivationError: an activation is NaN or infinite.
        MemoryBudgetError: not even one pair fits.
        DecompositionError: the unembedding is not a matrix.
    """
    notes = _notes(model, pairs)
    pairs = pairs.prompts_alone()
    size = pairs_per_batch(model, pairs, memory)
    parts = []
    for start in range(0, len(pairs), size):
        with counted_from(start):
            batch = pairs.select(range(start, min(start + size, len(pairs))))
            parts.append(_attribute_batch(model, batch))
    shares = [len(part.value) / len(pairs) for part in parts]
    means = [part.mean_writes * share for part, share in zip(parts, shares, strict=True)]
    return Attribution(
        model.graph,
        direct=torch.cat([part.direct for part in parts]),
        by_source=torch.cat([part.by_source for part in parts]),
        bias=torch.cat([part.bias for part in parts]),
        value=torch.cat([part.value for part in parts]),
        mean_writes=torch.stack(means).sum(0),
        label_pos=pairs.label_pos,
        notes=notes,
    )


def promoted(model: SubjectModel, attribution: Attribution, component: str, k: int = 5) -> Promoted:
    """Return the `k` tokens whose direct logits a component raises, and lowers, most.

    Logits are means over the pairs, centred over the vocabulary. A component that writes nothing
    raises nothing: fewer than `k` tokens may be named.

    Raises:
        GraphError: nothing of that name writes.
    """
    norm, (weight, _) = model.final_norm, model.unembedding
    write = attribution.mean_writes[attribution.index(component)].to(weight.device)
    write = (write - write.mean() if norm.is_centred else write) * norm.weight
    logits = (write.to(weight.dtype) @ weight).double().cpu()
    logits = logits - logits.mean()
    high, low = (logits.topk(min(k, len(logits)), largest=up) for up in (True, False))
    return Promoted(
        tuple(
            Written(model.text_of([int(i)]), float(x)) for x, i in zip(*high, strict=True) if x > 0
        ),
        tuple(
            Written(model.text_of([int(i)]), float(x)) for x, i in zip(*low, strict=True) if x < 0
        ),
    )


def section(attribution: Attribution, n: int = 20) -> Section:
    """Return the `n` components with the largest direct parts as a section, largest first.

    Raises:
        CriterionError: too few pairs for an interval.
    """
    found = {name: attribution.estimate(name) for name in attribution.components}
    largest = sorted(found, key=lambda name: -abs(found[name].value))[:n]
    bars = Bars(
        "logit-attribution",
        "what each component adds to the logits of the answers over the wrong ones, directly",
        "logits",
        tuple(largest),
        tuple(found[name] for name in largest),
    )
    reading = (
        "One part of the logit difference for each component, with the final norm's scale held as "
        "it was; what it does through later components is not in it."
    )
    whole, bias = (mean_estimate(each.numpy()) for each in (attribution.value, attribution.bias))
    says = f"The logit difference is {whole}, of which biases are {bias}."
    return Section(
        "logit-attribution",
        "Direct logit attribution",
        reading,
        (says,),
        pictures=(bars,),
        notes=attribution.notes,
    )


def _notes(model: SubjectModel, pairs: PromptPairs) -> tuple[str, ...]:
    notes = [*first_token_note(pairs)]
    n_alone = int((pairs.labels.wrong_answers >= 0).sum(1).eq(0).sum())
    if n_alone:
        notes.append(
            f"{n_alone} of {len(pairs)} pairs have no wrong answers: their answers are compared "
            "with the mean logit of the vocabulary."
        )
    if model.logit_softcap:
        notes.append(f"Logits are those before the model's soft cap of {model.logit_softcap:g}.")
    return tuple(notes)


def _attribute_batch(model: SubjectModel, pairs: PromptPairs) -> Attribution:
    layers = range(model.graph.n_layers)
    points = [hook_points.FINAL_NORM_IN]
    for layer in layers:
        points += [hook_points.z(layer), hook_points.projection(layer, READS[0])]
        points += [hook_points.pattern(layer)] * (layer not in model.graph.mixers)
    run = RecordedRun(model, whole_run(model, pairs.clean_batch), points)
    label = run.run.context.labelled
    final, norm = run.kept[hook_points.FINAL_NORM_IN].double(), in_float64(model.final_norm)
    directions = answer_directions(model, pairs.labels)
    scale = norm.inverse_scale(final)
    pulled = directions.vectors * scale
    direct, sources, writes = [], [], []

    def add(write: Float[Tensor, "pair d_model"]) -> None:
        direct.append((write * pulled).sum(1, keepdim=True))
        writes.append((write * scale).mean(0, keepdim=True))

    add(at_label(run.activations.input, label)[:, 0].double())
    for layer in layers:
        w_out = model.layers[layer].attention.w_out.double()
        z = at_label(run.activations.z[layer], label)[:, 0].double()
        readout = einsum(pulled, w_out, "pair d, head d_head d -> pair head d_head")
        direct.append((z * readout).sum(-1))
        mean_z = (z * scale.unsqueeze(-1)).mean(0)
        writes.append(einsum(mean_z, w_out, "head d_head, head d_head d -> head d"))
        sources.append(_by_source(model, run, layer, label, readout))
        for mlp in run.activations.mlp[layer : layer + 1]:
            add(at_label(mlp, label)[:, 0].double())
    attention_bias = attention_bias_before(model, layers[-1], own_layer=True).double()
    return Attribution(
        model.graph,
        direct=torch.cat(direct, 1).cpu(),
        by_source=torch.stack(sources, 1).cpu(),
        bias=(pulled @ attention_bias + directions.constants).cpu(),
        value=directions.read(norm.x_hat(final).unsqueeze(1))[:, 0].cpu(),
        mean_writes=torch.cat(writes).cpu(),
        label_pos=pairs.label_pos,
        notes=(),
    )


def _by_source(
    model: SubjectModel,
    run: RecordedRun,
    layer: int,
    label: Int[Tensor, "pair 1"],
    readout: Float[Tensor, "pair head d_head"],
) -> Float[Tensor, "pair graph_head source"]:
    """Return pattern times the readout of each value, over the scale of a norm behind it."""
    attention = model.layers[layer].attention
    if attention.is_opaque:  # it does not say what it writes of which place
        n_pairs, n_pos = run.run.entering.shape[:2]
        return readout.new_zeros(n_pairs, model.graph.n_heads, n_pos)
    values = run.sources.fresh[layer].values.transpose(1, 2)
    gate = at_label(attention.gate_of(run.kept[hook_points.projection(layer, READS[0])]), label)
    of_value = einsum(
        per_head(values, attention.n_heads).double(),
        readout * gate[:, 0].double(),
        "pair source head d_head, pair head d_head -> pair head source",
    )
    pattern = run.kept[hook_points.pattern(layer)].transpose(1, 2)
    at_labels = at_label(pattern, label)[:, 0].double()
    z = at_label(run.kept[hook_points.z(layer)], label)
    return of_value * at_labels * attention.write_scale(z)[:, 0].double()
