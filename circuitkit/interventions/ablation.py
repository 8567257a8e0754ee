"""What a sender's output is replaced by when it is ablated. Each choice is an object.

    zero        nothing is written
    mean        the mean over reference prompts of the same template, position by position
    token-mean  the mean over all real tokens of the reference prompts: one value per sender
    resample    what the same sender writes on the pair's corrupted prompt
    noise       what it writes when the embeddings of named token spans are blurred
    supplied    values that the user gives

Values are given in the narrow form of `Activations`; a head's mean z times W_O is its mean write.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from circuitkit.circuits.circuit import layer_of
from circuitkit.errors import GraphError, MethodError, PromptError
from circuitkit.model import SubjectModel
from circuitkit.model.recording import Activations, record, record_run
from circuitkit.model.runs import Run, like, shared_positions, whole_run
from circuitkit.names import ABLATIONS as ABLATIONS
from circuitkit.prompts.pairs import PromptPairs

NOISE_FACTOR = 3.0  # of the standard deviation of the embeddings, as Meng et al. 2022


class Ablation(ABC):
    """Base of all ablations: gives the replacement values for a set of pairs."""

    name: ClassVar[str]

    @property
    def identity(self) -> str:
        """The name, and whatever else the values depend on."""
        return self.name

    def n_shared_positions(self, model: SubjectModel, pairs: PromptPairs) -> int:
        """Return at how many first positions every ablated value is the clean one."""
        return 0

    @abstractmethod
    def values(
        self, model: SubjectModel, pairs: PromptPairs, behind: Run | None = None
    ) -> Activations:
        """Return what each sender writes when ablated, aligned with the pairs' positions.

        `behind` is the clean run if its shared positions were run already; they are left out.
        """


class CorruptedRun(Ablation):
    """Base of the ablations whose values are what every sender writes in one corrupted run."""

    @abstractmethod
    def run(self, model: SubjectModel, pairs: PromptPairs, behind: Run | None = None) -> Run:
        """Return the corrupted run, behind the same positions as `behind` if that is given."""

    def values(
        self, model: SubjectModel, pairs: PromptPairs, behind: Run | None = None
    ) -> Activations:
        return record_run(model, self.run(model, pairs, behind))[0]


class ZeroAblation(Ablation):
    """Ablated senders write nothing. Far from what later layers expect: read with care."""

    name = "zero"

    def values(
        self, model: SubjectModel, pairs: PromptPairs, behind: Run | None = None
    ) -> Activations:
        rows, pos = pairs.clean.shape
        nothing = torch.zeros(1, dtype=model.dtype, device=model.device)
        wide = nothing.new_zeros(rows, pos, model.graph.d_model)
        shapes = [layer.attention.w_out.shape[:2] for layer in model.layers]
        z = {shape: nothing.new_zeros(rows, pos, *shape) for shape in shapes}
        mlps = (wide,) * len(shapes) * model.graph.has_mlps
        units = tuple(nothing.new_zeros(rows, pos, len(u.numbers)) for u in model.graph.units)
        errors = (wide,) * sum(each.has_error for each in model.graph.units)
        return Activations(wide, tuple(z[shape] for shape in shapes), mlps, units, errors)


class ResampleAblation(CorruptedRun):
    """Ablated senders write what they write on the corrupted prompt of the pair."""

    name = "resample"

    def n_shared_positions(self, model: SubjectModel, pairs: PromptPairs) -> int:
        return shared_positions(model, pairs)

    def run(self, model: SubjectModel, pairs: PromptPairs, behind: Run | None = None) -> Run:
        if behind is None:
            return whole_run(model, pairs.corrupted_batch)
        return like(behind, model, pairs.corrupted_batch)


class NoiseAblation(CorruptedRun):
    """Ablated senders write what they write when the embeddings of some roles are blurred.

    Gaussian noise of `factor` times the standard deviation of the token embeddings is added to what
    enters block 0 at those tokens of the clean prompt (causal tracing; Meng et al. 2022,
    arXiv:2202.05262, section 2.1). The noise of a prompt depends on its tokens and the seed alone.
    """

    name = "noise"

    def __init__(
        self, roles: Sequence[str], *, factor: float = NOISE_FACTOR, seed: int = 0
    ) -> None:
        self.roles, self.factor, self.seed = tuple(roles), factor, seed

    @property
    def identity(self) -> str:
        return f"{self.name} of {self.factor} at {self.roles}, seed {self.seed}"

    def run(self, model: SubjectModel, pairs: PromptPairs, behind: Run | None = None) -> Run:
        """Return the clean run with noise.

        Raises:
            PromptError: a pair has none of the roles.
        """
        clean = whole_run(model, pairs.clean_batch) if behind is None else behind
        noise = torch.zeros_like(clean.entering)
        embeddings = model.token_embeddings
        scale = self.factor * float(embeddings.double().std())
        for row, roles in enumerate(pairs.roles):
            spans = [roles[name] for name in self.roles if name in roles]
            if not spans:
                raise PromptError(
                    f"noise ablation: every pair must have one of the roles {list(self.roles)}, "
                    f"got {sorted(roles)} for {pairs.pairs[row].clean!r}. There is nothing to "
                    "blur. Name a role that every prompt has."
                )
            start = int(pairs.mask[row].long().argmax())
            tokens, n = pairs.clean[row][pairs.mask[row]], int(pairs.lengths[row])
            drawn = self._drawn(tokens[:n], noise.shape[-1])
            if n < len(tokens):  # of answers behind the prompt
                drawn = torch.cat((drawn, self._drawn(tokens, noise.shape[-1])[n:]))
            for first, end in spans:
                at = slice(max(first - clean.start, 0), max(end - clean.start, 0))
                kept = drawn[max(first, clean.start) - start : max(end, clean.start) - start]
                noise[row, at] = (kept * scale).to(noise)
        return replace(clean, entering=clean.entering + noise)

    def _drawn(self, tokens: Tensor, width: int) -> Float[Tensor, "token d_model"]:
        key = f"{self.seed} {tokens.tolist()}".encode()
        seed = int.from_bytes(hashlib.sha256(key).digest()[:8], "big") % 2**63
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(len(tokens), width, generator=generator, dtype=torch.float64)


class SuppliedAblation(Ablation):
    """Ablated senders write values that are given by name; others as another ablation says.

    A value is what the input or an MLP writes, [d_model] or [pos, d_model], or a head's z,
    [d_head] or [pos, d_head] (over the scale of the norm behind attention, where there is one).
    """

    name = "supplied"

    def __init__(self, values: Mapping[str, Tensor], otherwise: Ablation) -> None:
        self.supplied, self.otherwise = dict(values), otherwise

    @property
    def identity(self) -> str:
        hashed = hashlib.sha256()
        for name, value in sorted(self.supplied.items()):
            hashed.update(name.encode() + value.double().cpu().numpy().tobytes())
        return f"{self.name} {hashed.hexdigest()[:16]}, otherwise {self.otherwise.identity}"

    def values(
        self, model: SubjectModel, pairs: PromptPairs, behind: Run | None = None
    ) -> Activations:
        """Return the values given, repeated over prompts (and positions).

        Raises:
            GraphError: a name is no sender, or a value has another shape.
        """
        rest = self.otherwise.values(model, pairs)
        entering, zs, mlps = rest.input.clone(), list(rest.z), list(rest.mlp)
        for name, value in self.supplied.items():
            if name not in model.graph.senders:
                raise GraphError(
                    f"supplied ablation: names must be senders of this graph ({model.graph}), got "
                    f"{name!r}. It writes nothing. Check the layer and head numbers."
                )
            layer, kind = layer_of(name, model.graph), model.graph.kind_of(name)
            if kind == "input":
                entering = _filled(entering, value, name)
            elif kind == "mlp":
                mlps[layer] = _filled(mlps[layer], value, name)
            elif kind not in ("head", "mixer"):
                raise GraphError(
                    f"supplied ablation: names must be of whole components, got {name!r}, of an "
                    "MLP that is taken apart. What it leaves of the MLP would not be known. "
                    "Supply values for the model as it is."
                )
            else:
                z, head = zs[layer].clone(), model.graph.names_in(layer).index(name)
                z[:, :, head] = _filled(z[:, :, head], value, name)
                zs[layer] = z
        return replace(rest, input=entering, z=tuple(zs), mlp=tuple(mlps))


class MeanAblation(Ablation):
    """Ablated senders write their mean over the corrupted prompts of `reference`.

    Means are taken per template and position, as in Wang et al. 2022 (arXiv:2211.00593, section
    2.2), so that what a template has in common is kept and what varies within it is lost. Behind
    the prompts they are taken per answer (first, second, ...) and token.
    """

    name = "mean"

    def __init__(self, reference: PromptPairs, batch_size: int = 256) -> None:
        self.reference = reference
        self.batch_size = batch_size
        self._means: dict[tuple[str, str, str], _TemplateMean] = {}  # of this reference, by model

    @property
    def identity(self) -> str:
        return f"{self.name} of {self.reference.digest}"

    def values(
        self, model: SubjectModel, pairs: PromptPairs, behind: Run | None = None
    ) -> Activations:
        """Return the means of each pair's template, placed at the pair's real positions.

        Raises:
            PromptError: a template of `pairs` has no reference prompts, or another length there, or
                an answer is longer than all that stand in its place there.
        """
        means = {name: self._known_mean(model, name) for name in sorted(set(pairs.templates))}
        starts: list[int] = pairs.mask.long().argmax(1).tolist()
        slots, width = pairs.slots(), pairs.clean.shape[1]
        rows: list[Activations] = []
        for template, start, own in zip(pairs.templates, starts, slots, strict=True):
            mean = means[template].at(own, template)
            rows.append(mean.map(lambda x, s=start: _placed(x, s, width)))  # type: ignore[misc]
        return _stacked(rows)

    def _known_mean(self, model: SubjectModel, template: str) -> "_TemplateMean":
        key = (model.digest, f"{model.dtype} {model.device} {model.graph.units}", template)
        if key not in self._means:
            self._means[key] = self._template_mean(model, template)
        return self._means[key]

    def _template_mean(self, model: SubjectModel, template: str) -> "_TemplateMean":
        rows = [row for row, name in enumerate(self.reference.templates) if name == template]
        if not rows:
            raise PromptError(
                f"mean ablation: template {template!r} must occur among the reference prompts, "
                f"got {sorted(set(self.reference.templates))}. There is no mean for it. Supply "
                "reference prompts of that template."
            )
        reference = self.reference.select(rows)
        every = reference.slots()
        slots = sorted(set().union(*every))
        if all(own == slots for own in every):  # all rows are laid out alike: sum, then cut out
            total = self._summed(model, reference, lambda part, _: part.sum(0, keepdim=True))
            start = int(reference.mask[0].long().argmax())
            mean = total.map(lambda x: x[:, start : start + len(slots)] / len(rows))
            return _TemplateMean(slots, mean)
        number = {slot: n for n, slot in enumerate(slots)}
        counts = torch.zeros(len(slots), dtype=torch.long)
        for own in every:
            counts[[number[slot] for slot in own]] += 1

        def by_slot(part: Tensor, batch: PromptPairs) -> Tensor:
            at = torch.tensor([number[slot] for own in batch.slots() for slot in own])
            summed = part.new_zeros(len(slots), *part.shape[2:])
            real = part[batch.mask.to(part.device)]  # row by row, as the slots are
            return summed.index_add_(0, at.to(part.device), real)[None]

        def over_counts(x: Tensor) -> Tensor:
            return x / counts.to(x).reshape(1, -1, *[1] * (x.ndim - 2))

        return _TemplateMean(slots, self._summed(model, reference, by_slot).map(over_counts))

    def _summed(
        self,
        model: SubjectModel,
        reference: PromptPairs,
        sum_of: Callable[[Tensor, PromptPairs], Tensor],
    ) -> Activations:
        """Return the sum over batches of what `sum_of` makes of each tensor that is written."""
        total: Activations | None = None
        for batch in reference.batches(self.batch_size):
            part = record(model, batch.corrupted_batch)[0].map(
                lambda x, batch=batch: sum_of(x, batch)  # type: ignore[misc]
            )
            total = part if total is None else total.minus(part.map(torch.neg))
        assert total is not None
        return total


@dataclass(frozen=True)
class _TemplateMean:
    """What senders write on average in each slot of a template (`PromptPairs.slots`)."""

    slots: list[tuple[int, int]]
    mean: Activations

    def at(self, slots: list[tuple[int, int]], template: str) -> Activations:
        """Return the means of these slots, in this order.

        Raises:
            PromptError: a prompt or an answer is longer than all there, or a prompt shorter.
        """
        if slots == self.slots:
            return self.mean
        n_tokens, n_known = (sum(s[0] == 0 for s in some) for some in (slots, self.slots))
        if n_tokens != n_known:
            raise PromptError(
                f"mean ablation, template {template!r}: prompts and reference prompts must "
                f"have equally many tokens, got {n_tokens} and {n_known}. Means are "
                "taken position by position. Use one layout per template."
            )
        missing = sorted(set(slots) - set(self.slots))
        if missing:
            branch, place = missing[0]
            raise PromptError(
                f"mean ablation, template {template!r}: every answer must have one as long among "
                f"the reference pairs, got none of {place + 1} tokens for answer {branch}. Means "
                "are taken token by token. Use answers of equal length, more reference pairs, or "
                "another ablation."
            )
        at = [self.slots.index(slot) for slot in slots]
        return self.mean.map(lambda x: x[:, at])


class TokenMeanAblation(Ablation):
    """Ablated senders write their mean over all real tokens of the corrupted reference prompts.

    One value per sender, whatever the position: it needs no template, and keeps what all tokens
    have in common alone.
    """

    name = "token-mean"

    def __init__(self, reference: PromptPairs, batch_size: int = 256) -> None:
        self.reference = reference
        self.batch_size = batch_size
        self._means: dict[tuple[str, str], Activations] = {}

    @property
    def identity(self) -> str:
        return f"{self.name} of {self.reference.digest}"

    def values(
        self, model: SubjectModel, pairs: PromptPairs, behind: Run | None = None
    ) -> Activations:
        """Return the means, repeated over prompts and positions."""
        key = (model.digest, f"{model.dtype} {model.device} {model.graph.units}")
        if key not in self._means:
            self._means[key] = self._mean(model)
        shape = pairs.clean.shape
        return self._means[key].map(lambda x: x.expand(*shape, *x.shape[2:]))

    def _mean(self, model: SubjectModel) -> Activations:
        total: Activations | None = None
        for batch in self.reference.batches(self.batch_size):
            own = replace(batch.corrupted_batch, stand_ins=None)  # all tokens, each once
            mask = own.mask.to(model.device)
            part = record(model, own)[0].map(
                lambda x, mask=mask: x[mask].sum(0)[None, None]  # type: ignore[misc]
            )
            total = part if total is None else total.minus(part.map(torch.neg))
        assert total is not None
        n_tokens = int(self.reference.corrupted_batch.mask.sum())
        return total.map(lambda x: x / n_tokens)


def _filled(like: Tensor, value: Tensor, name: str) -> Tensor:
    """Return `value` in the shape of `like`, [row, pos, width]."""
    if value.shape not in (like.shape[1:], like.shape[2:]):
        raise GraphError(
            f"supplied ablation, {name!r}: a value must have the shape {tuple(like.shape[2:])}, or "
            f"{tuple(like.shape[1:])} by position, got {tuple(value.shape)}. It stands for what "
            "is written. Supply one of these."
        )
    return value.to(like).expand_as(like)


def _placed(x: Tensor, start: int, width: int) -> Tensor:
    """Return `x` ([1, length, ...]) at `start` in zeros of `width` positions."""
    out = x.new_zeros(1, width, *x.shape[2:])
    out[:, start : start + x.shape[1]] = x
    return out


def _stacked(rows: list[Activations]) -> Activations:
    return Activations(
        torch.cat([row.input for row in rows]),
        tuple(torch.cat(layer) for layer in zip(*(row.z for row in rows), strict=True)),
        tuple(torch.cat(layer) for layer in zip(*(row.mlp for row in rows), strict=True)),
        tuple(torch.cat(layer) for layer in zip(*(row.units for row in rows), strict=True)),
        tuple(torch.cat(layer) for layer in zip(*(row.errors for row in rows), strict=True)),
    )


def ablation_named(name: str, reference: PromptPairs) -> Ablation:
    """Return the ablation of this name; `reference` supplies the means.

    Raises:
        MethodError: there is none.
    """
    choices: dict[str, Ablation] = {
        "mean": MeanAblation(reference),
        "token-mean": TokenMeanAblation(reference),
        "zero": ZeroAblation(),
        "resample": ResampleAblation(),
    }
    if name not in choices:
        raise MethodError(
            f"ablation {name!r}: must be one of {', '.join(choices)}. It says what an edge "
            "outside the circuit carries. Choose one."
        )
    return choices[name]


def require_ablation(name: str, option: str = "--ablation") -> str:
    """Return the name of an ablation.

    Raises:
        MethodError: there is none of that name.
    """
    if name not in ABLATIONS:
        raise MethodError(
            f"{option}: must be one of {', '.join(ABLATIONS)}, got {name!r}. It says what an "
            "edge outside the circuit carries. Choose one."
        )
    return name
