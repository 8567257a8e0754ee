"""Edges of an attribution graph: gradients of many targets at once, patterns and norms held.

    A[t, s]  =  what s writes . dt / d(residual stream there)

With patterns and norm scales held, and MLP outputs constants but for skips, the model is linear,
and a gradient goes back through layer l in closed form:

    g  <-  g + 1/s W_skip' g                            where the MLP reads
    g  <-  g + 1/s sum over heads of W_V' (P^T (g W_O^T / s_behind))

The targets at one position go back together, those of a layer joining when it is reached; they
depend on no later position, which is never computed.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from circuitkit.attribution.recorded import LayerRun, RecordedPrompt
from circuitkit.model.layers import Layer

ROWS = 1024  # targets that go back together


@dataclass(frozen=True)
class Targets:
    """What edges lead to: directions of the residual stream, each in front of one MLP.

    `layer` is that MLP's; the number of layers stands for the final norm. Ordered as given.
    """

    layer: Int[Tensor, " target"]
    pos: Int[Tensor, " target"]
    direction: Float[Tensor, "target d_model"]  # of the stream over the norm's scale
    constant: Float[Tensor, " target"]  # what the norm's own bias adds

    def __len__(self) -> int:
        return len(self.layer)


@dataclass(frozen=True)
class Active:
    """The active features, ordered by layer, position and number."""

    index: Int[Tensor, "feature 3"]  # layer, position, number
    values: Float[Tensor, " feature"]

    def __len__(self) -> int:
        return len(self.index)


def active_features(run: RecordedPrompt) -> Active:
    """Return every feature that is active somewhere in the prompt."""
    found, values = [], []
    for layer, each in enumerate(run.layers):
        places = each.values.nonzero()
        found.append(torch.nn.functional.pad(places, (1, 0), value=layer))
        values.append(each.values[places[:, 0], places[:, 1]])
    return Active(torch.cat(found), torch.cat(values))


@dataclass(frozen=True)
class _Written:
    """What is written at one layer's MLP output at one position: rows, and their columns."""

    rows: Float[Tensor, "source d_model"]
    columns: Int[Tensor, " source"]


@dataclass(frozen=True)
class _Joining:
    """Targets that join the `before` earlier ones in front of a layer's MLP."""

    before: int
    entering: Float[Tensor, "target d_model"]


class LinearPass:
    """A prompt's run as a linear map, by which targets are taken back to all they depend on."""

    def __init__(self, run: RecordedPrompt, active: Active) -> None:
        self.run, self.active = run, active
        self.n_layers, self.n_pos = len(run.layers), run.n_pos
        self.n_sources = len(active) + self.n_layers * self.n_pos + self.n_pos
        parts = zip(run.model.layers, run.layers, strict=True)
        self._attention = [_HeldAttention(layer, each) for layer, each in parts]
        transcoders, model = run.transcoders, run.model
        self._skips = [transcoders.folded_skip(model, layer) for layer in range(self.n_layers)]
        self._scales = [
            transcoders.inverse_scale(model, layer, each.mlp_in)
            for layer, each in enumerate(run.layers)
        ]
        self._errors = [run.error(layer) for layer in range(self.n_layers)]
        self._constants = [self._constant_of_mlp(layer) for layer in range(self.n_layers)]
        self._written = [
            [self._written_at(layer, pos) for pos in range(self.n_pos)]
            for layer in range(self.n_layers)
        ]

    def feature_targets(self, chosen: Int[Tensor, " some"]) -> Targets:
        """Return active features as targets: their pre-activations."""
        index, run = self.active.index[chosen], self.run
        width = run.layers[0].mlp_out.shape[1]
        directions = run.final.new_zeros(len(chosen), width)
        constants = run.final.new_zeros(len(chosen))
        for layer in index[:, 0].unique().tolist():
            own = (index[:, 0] == layer).nonzero()[:, 0]
            features = index[own, 2]
            directions[own] = run.transcoders.folded_encoder(run.model, layer, features)
            mlp = run.model.layers[layer].mlp
            if run.transcoders.reads == "mlp" and mlp is not None:
                constants[own] = run.transcoders.layers[layer].encoder[features] @ mlp.norm.bias
        return Targets(index[:, 0], index[:, 1], directions, constants)

    def logit_targets(self, vectors: Float[Tensor, "target d_model"]) -> Targets:
        """Return directions behind the final norm as targets, at the last position."""
        norm, n = self.run.model.final_norm, len(vectors)
        layer = torch.full((n,), self.n_layers)
        constant = vectors @ norm.bias if not norm.is_identity else vectors.new_zeros(n)
        pos = torch.full((n,), self.n_pos - 1)
        return Targets(layer, pos, norm.fold_weight(vectors.T).T, constant)

    @torch.no_grad()
    def rows(self, targets: Targets) -> Float[Tensor, "target source_and_constant"]:
        """Return the edges into each target: from features, errors, tokens and the constant."""
        out = self.run.final.new_zeros(len(targets), self.n_sources + 1)
        for pos in targets.pos.unique().tolist():
            here = (targets.pos == pos).nonzero()[:, 0]
            order = here[targets.layer[here].argsort(descending=True, stable=True)]
            for chunk in order.split(ROWS):
                out[chunk] = self._swept(targets, chunk, pos)
        return out

    def _swept(self, targets: Targets, chosen: Tensor, pos: int) -> Tensor:
        """Return the rows of targets at one position, ordered from the last layer to the first."""
        layers, directions = targets.layer[chosen], targets.direction[chosen]
        out = directions.new_zeros(len(chosen), self.n_sources + 1)
        out[:, -1] = targets.constant[chosen]
        g = directions.new_zeros(len(chosen), pos + 1, directions.shape[1])
        n = int((layers == self.n_layers).sum())
        g[:n, pos] = directions[:n] * self.run.model.final_norm.inverse_scale(self.run.final)
        for layer in range(self.n_layers - 1, -1, -1):
            before, n = n, int((layers >= layer).sum())
            if not n:
                continue
            entering = directions[before:n] * self._scales[layer][pos]
            self._collect(g[:before], layer, out[:before])
            self._back(g, layer, _Joining(before, entering), out)
        return self._collected_at_input(g, out)

    def _back(self, g: Tensor, layer: int, targets: _Joining, out: Tensor) -> None:
        """Take gradients behind a layer to its front; those of its own targets join on the way."""
        before, n, pos = targets.before, targets.before + len(targets.entering), g.shape[1] - 1
        skip, scale = self._skips[layer], self._scales[layer][: pos + 1]
        attention = self._attention[layer]
        parallel = self.run.model.layers[layer].is_parallel
        behind = g[:n].clone() if parallel else g[:n]  # parallel heads do not see what MLPs read
        if skip is not None:
            g[:before] += (g[:before] @ skip) * scale
        g[before:n, pos] = targets.entering
        out[:n, -1] += attention.constant_share(behind)
        g[:n] += attention.back(behind)

    def _collect(self, g: Tensor, layer: int, out: Tensor) -> None:
        """Add what is written at a layer's MLP output."""
        for pos in range(g.shape[1]):
            written = self._written[layer][pos]
            out.index_add_(1, written.columns, g[:, pos] @ written.rows.T)

    def _collected_at_input(self, g: Tensor, out: Tensor) -> Tensor:
        n = g.shape[1]
        start = self.n_sources - self.n_pos
        embedded, entering = self.run.embedded[:n], self.run.layers[0].resid_pre[:n]
        out[:, start : start + n] = (g * embedded).sum(-1)
        out[:, -1] += (g * (entering - embedded)).sum((-1, -2))
        return out

    def _written_at(self, layer: int, pos: int) -> _Written:
        run, index = self.run, self.active.index
        rows, columns = [], []
        for source in range(layer + 1):
            decoder = run.transcoders.layers[source].decoder
            if layer - source >= decoder.shape[1]:
                continue
            here = ((index[:, 0] == source) & (index[:, 1] == pos)).nonzero()[:, 0]
            rows.append(
                decoder[index[here, 2], layer - source] * self.active.values[here].unsqueeze(1)
            )
            columns.append(here)
        error, rest = self._errors[layer][pos], self._constants[layer][pos]
        at = len(self.active) + layer * self.n_pos + pos
        rows.append(torch.stack([error, rest]))
        columns.append(torch.tensor([at, self.n_sources], device=index.device))
        return _Written(torch.cat(rows), torch.cat(columns))

    def _constant_of_mlp(self, layer: int) -> Float[Tensor, "pos d_model"]:
        """Return what is written there by no feature, error or skip: b_dec, and what is left out.

        A skip reads the stream; what the norm's bias adds to that is constant too.
        """
        each, skip = self.run.layers[layer], self._skips[layer]
        rest = each.mlp_out - self.run.written_by_features(layer) - self._errors[layer]
        return rest if skip is None else rest - (each.mlp_in * self._scales[layer]) @ skip.T


class _HeldAttention:
    """Attention of one layer as a linear map: its pattern and the scales of its norms are held."""

    def __init__(self, layer: Layer, run: LayerRun) -> None:
        attention = layer.attention
        self.heads, self.groups = attention.n_heads, attention.n_kv_heads
        self.pattern, self.behind = run.pattern, run.write_scale
        self.in_front = attention.norm.inverse_scale(run.resid_pre)
        self.w_out = attention.w_out.flatten(0, 1).T.contiguous()  # d_model, head * d_head
        folded = attention.norm.fold_weight(attention.reads[2])
        self.w_value = folded.T.contiguous()  # group * d_head, d_model
        bias = attention.bias("v").repeat_interleave(self.heads // self.groups, 0)
        weights = run.pattern.sum(-1).T.unsqueeze(-1) * bias * run.write_scale
        self.constant = weights.flatten(1) @ self.w_out.T + attention.b_out

    def constant_share(self, g: Float[Tensor, "target pos d_model"]) -> Float[Tensor, " target"]:
        """Return what its biases add to each target."""
        return (g * self.constant[: g.shape[1]]).sum((-1, -2))

    def back(self, g: Float[Tensor, "target pos d_model"]) -> Float[Tensor, "target pos d_model"]:
        """Return gradients in front of the layer through its heads alone."""
        n, pos, _ = g.shape
        behind = self.behind if self.behind.shape[0] == 1 else self.behind[:pos]
        z = (g @ self.w_out).view(n, pos, self.heads, -1) * behind
        by_head = z.permute(2, 1, 0, 3).reshape(self.heads, pos, -1)
        pattern = self.pattern[:, :pos, :pos].transpose(1, 2)
        values = (pattern @ by_head).view(self.groups, -1, pos, n, z.shape[-1]).sum(1)
        read = values.permute(2, 1, 0, 3).reshape(n, pos, -1) @ self.w_value
        return read * self.in_front[:pos]
