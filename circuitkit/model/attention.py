"""One layer's attention, from what its heads read to what they write.

    q, k, v  =  (x_hat w) W + c'                    (model/norms.py; w: the weight of the norm)
    pattern  =  softmax(scale * rotated(q) . rotated(k), soft-capped, biased, masked)
    z        =  pattern v
    write    =  z / s W_O                           s: scale of the norm behind attention, or 1

With a norm behind attention (Gemma 2 and 3, OLMo 2) a head's write is its share of the normalised
sum, under that run's own scale; the norm's weight is folded into W_O. With grouped queries k and v
come one per group, or one per query head where heads must differ; both are taken. A QK norm over
all heads at once (OLMo 2) joins the heads behind their projections: each head is scaled by all.
With a sink (gpt-oss) a score of the head's own takes part in the softmax and is then left out, so
that a pattern sums to less than one.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import pad

from circuitkit.circuits.graph import READS
from circuitkit.errors import DecompositionError
from circuitkit.model.norms import HALF, Norm

PatternHook = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Rotary:
    """Rotation of queries and keys by position (Su et al. 2021, arXiv:2104.09864).

    `interleaved`: pairs are neighbours (0, 1), (2, 3), ...; else halves (i, i + rotated / 2).
    """

    cos: Float[Tensor, "row_or_one pos rotated"]
    sin: Float[Tensor, "row_or_one pos rotated"]
    interleaved: bool

    def __call__(self, x: Float[Tensor, "row head pos d_head"]) -> Tensor:
        """Return `x` rotated in its first dimensions."""
        n = self.cos.shape[-1]
        part, rest = x[..., :n], x[..., n:]
        if self.interleaved:
            turned = torch.stack((-part[..., 1::2], part[..., ::2]), dim=-1).flatten(-2)
        else:
            turned = torch.cat((-part[..., n // 2 :], part[..., : n // 2]), dim=-1)
        rotated = part * self.cos.unsqueeze(1) + turned * self.sin.unsqueeze(1)
        return torch.cat((rotated, rest), dim=-1) if rest.shape[-1] else rotated


@dataclass(frozen=True)
class LayerContext:
    """What one layer's attention needs to know of the prompts: who sees whom, and where each is.

    `mask` is added to the scores: zero where a destination sees a source. So is `bias`, by which
    heads prefer near sources (ALiBi). Queries are multiplied with `query_scale`, which depends on
    where they are (Llama 4, Ministral 3). `real` is true at tokens; layers alone are given it that
    mix positions without heads.
    """

    mask: Float[Tensor, "row_or_one 1 destination source"]
    rotary: Rotary | None
    query_scale: Float[Tensor, "row_or_one pos"] | None = None
    real: Bool[Tensor, "row_or_one pos"] | None = None
    bias: Float[Tensor, "row_or_one head 1 source"] | None = None


@dataclass(frozen=True)
class KeysValues:
    """Keys and values of some positions, as they enter the scores."""

    keys: Float[Tensor, "row k_head pos d_head"]
    values: Float[Tensor, "row v_head pos d_value"]

    def before(self, pos: int) -> "KeysValues":
        """Return those of the positions before `pos`."""
        return KeysValues(self.keys[:, :, :pos], self.values[:, :, :pos])

    def repeated(self, n: int) -> "KeysValues":
        """Return them for the same rows `n` times over."""
        return KeysValues(self.keys.repeat(n, 1, 1, 1), self.values.repeat(n, 1, 1, 1))


@dataclass(frozen=True)
class HeadNorm:
    """A norm of queries or keys: over each head, or over all heads at once (`is_joint`).

    Heads share a weight of their width, or have one each, one after the other in the norm's.
    """

    norm: Norm
    is_joint: bool

    def __call__(self, x: Float[Tensor, "row pos head d_head"]) -> Tensor:
        """Return the normalised heads; heads may be repeated within their groups."""
        d_head = x.shape[-1]
        if self.norm.weight.numel() == d_head and not self.is_joint:
            return self.norm(x)
        # repeating every head equally often leaves the joint scale as it is
        weight, bias = (w.reshape(-1, d_head) for w in (self.norm.weight, self.norm.bias))
        times = x.shape[2] // weight.shape[0]
        hat = self.norm.x_hat(x.flatten(2)).view_as(x) if self.is_joint else self.norm.x_hat(x)
        return hat * weight.repeat_interleave(times, 0) + bias.repeat_interleave(times, 0)


@dataclass(frozen=True)
class Attention:
    """The weights of one layer's attention and the rules of its scores."""

    norm: Norm
    reads: tuple[Float[Tensor, "d_model _"], ...]  # W_Q, W_K, W_V: the model's own, not copied
    b: Float[Tensor, " out"]  # q of every head, then k, then v of every group; c', folded
    w_out: Float[Tensor, "head d_head d_model"]  # the weight of a norm behind it folded in
    b_out: Float[Tensor, " d_model"]
    n_kv_heads: int
    scale: float
    softcap: float | None = None
    q_norm: HeadNorm | None = None
    k_norm: HeadNorm | None = None
    v_norm: HeadNorm | None = None
    post_norm: Norm | None = None
    w_out_plain: Float[Tensor, "all_heads d_model"] | None = None  # given with post_norm
    softmax_share: float = 1.0  # pattern = share * softmax + (1 - share)
    sinks: Float[Tensor, " head"] | None = None  # scores of nothing, in every softmax
    clip: float | None = None  # q, k and v are kept within this of zero
    rotates_before_norm: bool = False  # of queries and keys
    holds_pattern: bool = False  # patterns are constants to gradients
    n_other: int = 0  # last rows of each head's w_out through which it never writes itself

    @property
    def n_heads(self) -> int:
        """The number of query heads."""
        return self.w_out.shape[0]

    @property
    def d_head(self) -> int:
        """The width of what one head writes, in front of its output projection."""
        return self.w_out.shape[1] - self.n_other

    @property
    def d_read(self) -> int:
        """The width of one head's q, k or v, as `project` gives them."""
        return self.reads[0].shape[1] // self.n_read_heads(READS[0])

    @property
    def is_plain(self) -> bool:
        """Whether a head is four matrices and no more: of its q, k and v, and of its write."""
        return self.v_norm is None

    @property
    def is_opaque(self) -> bool:
        """Whether all of it is one component, without heads."""
        return False

    def with_norms(self, function: Callable[[Norm], Norm]) -> "Attention":
        """Return the same with `function` of every norm."""
        q_norm, k_norm, v_norm = self.q_norm, self.k_norm, self.v_norm
        return replace(
            self,
            norm=function(self.norm),
            q_norm=q_norm and replace(q_norm, norm=function(q_norm.norm)),
            k_norm=k_norm and replace(k_norm, norm=function(k_norm.norm)),
            v_norm=v_norm and replace(v_norm, norm=function(v_norm.norm)),
            post_norm=self.post_norm and function(self.post_norm),
        )

    def in_unit(self, unit: float) -> "Attention":
        """Return the same for a residual stream that is this many times smaller.

        Raises:
            DecompositionError: no norm in front takes the unit out.
        """
        if self.norm.is_identity:
            raise DecompositionError(
                f"attention: a scaled residual stream must be read through a norm, got none. What "
                f"is read would be {unit:g} times too small. This architecture is not supported."
            )
        return replace(
            self,
            norm=replace(self.norm, eps=self.norm.eps / unit**2),
            w_out=self.w_out / unit,
            b_out=self.b_out / unit,
        )

    def n_read_heads(self, read: str) -> int:
        """Return how many different projections a read has: one per group for k and v."""
        return self.n_heads if read == "q" else self.n_kv_heads

    def weight(self, read: str) -> Float[Tensor, "read_head d_model d_head"]:
        """Return W' of a read: the norm in front is folded in here, and nothing kept."""
        folded = self.norm.fold_weight(self.reads[READS.index(read)])
        return folded.view(len(folded), self.n_read_heads(read), self.d_read).transpose(0, 1)

    @property
    def w(self) -> Float[Tensor, "d_model out"]:
        """W' of q of every head, then of k, then of v of every group; made here, and not kept."""
        return self.norm.fold_weight(torch.cat(self.reads, 1))

    def bias(self, read: str) -> Float[Tensor, "read_head d_head"]:
        """Return c' of a read, as a view."""
        return self._biases()[READS.index(read)].view(self.n_read_heads(read), self.d_read)

    def source_of(self, receiver: int) -> int:
        """Return the projection that a receiver of the layer (q, k, v of each head) uses."""
        read, head = divmod(receiver, self.n_heads)
        before = sum(self.n_read_heads(r) for r in READS[:read])
        return before + head * self.n_read_heads(READS[read]) // self.n_heads

    def by_read(self, x: Float[Tensor, "row pos receiver d_read"]) -> tuple[Tensor, Tensor, Tensor]:
        """Return q, k and v of every head, given those of all receivers of the layer."""
        sizes = [self.n_heads if self.n_read_heads(read) else 0 for read in READS]
        q, k, v = x.split(sizes, dim=2)
        return q, k, v

    def _biases(self) -> tuple[Tensor, ...]:
        return torch.split(self.b, [read.shape[1] for read in self.reads])

    def project(self, x: Float[Tensor, "row pos d_model"]) -> tuple[Tensor, Tensor, Tensor]:
        """Return q, k and v, [row, pos, head or group, d_read], of the residual stream."""
        entering = self.norm.weighted(x).flatten(0, 1)
        parts = zip(READS, self.reads, self._biases(), strict=True)
        q, k, v = (
            torch.addmm(bias, entering, weight).view(
                *x.shape[:2], self.n_read_heads(read), self.d_read
            )
            for read, weight, bias in parts
        )
        return q, k, v

    def attend(
        self,
        q: Float[Tensor, "row pos q_head d_read"],
        k: Float[Tensor, "row pos k_head d_read"],
        v: Float[Tensor, "row pos v_head d_read"],
        context: LayerContext,
        *,
        past: KeysValues | None = None,
        on_pattern: PatternHook | None = None,
    ) -> tuple[Float[Tensor, "row pos head d_head"], KeysValues]:
        """Return z, and the keys and values of these positions for later ones.

        `past` are those of the positions before; k and v have one head per group or per head.
        """
        q, k, v = self.entering(q, k, v, context)
        if context.query_scale is not None:
            q = q * context.query_scale[:, None, :, None]
        fresh = KeysValues(k, v)
        pattern, values = self._pattern(q, _joined(past, fresh, self.n_heads), context)
        if self.holds_pattern:
            pattern = pattern.detach()
        if on_pattern is not None:
            pattern = on_pattern(pattern)
        return torch.matmul(pattern, values).transpose(1, 2), fresh

    def gate_of(
        self, q: Float[Tensor, "row pos head d_read"]
    ) -> Float[Tensor, "row pos head d_head_or_one"]:
        """Return what the sum over sources is multiplied with, by destination: ones."""
        return q.new_ones(*q.shape[:3], 1)

    def entering(
        self,
        q: Float[Tensor, "row pos head d_read"],
        k: Float[Tensor, "row pos k_head d_read"],
        v: Float[Tensor, "row pos v_head d_read"],
        context: LayerContext,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values as they enter the scores: [row, head, pos, width]."""
        q, k = self._placed(q, self.q_norm, context), self._placed(k, self.k_norm, context)
        v = v if self.v_norm is None else self.v_norm(v)
        return q, k, self.clipped(v).transpose(1, 2)

    def clipped(self, x: Float[Tensor, "*any d_head"]) -> Float[Tensor, "*any d_head"]:
        """Return queries, keys or values as the scores and patterns see them."""
        return x if self.clip is None else x.clamp(-self.clip, self.clip)

    def _placed(
        self, x: Float[Tensor, "row pos head d_head"], norm: HeadNorm | None, context: LayerContext
    ) -> Float[Tensor, "row head pos d_head"]:
        """Return queries or keys normalised and rotated."""
        if norm is not None and not self.rotates_before_norm:
            x = norm(x)
        x = self.clipped(x).transpose(1, 2)
        x = x if context.rotary is None else context.rotary(x)
        if norm is not None and self.rotates_before_norm:
            x = norm(x.transpose(1, 2)).transpose(1, 2)
        return x

    def _pattern(
        self, q: Tensor, sources: KeysValues, context: LayerContext
    ) -> tuple[Tensor, Tensor]:
        keys, values = (_for_heads(x, self.n_heads) for x in (sources.keys, sources.values))
        scores = torch.matmul(q * self.scale, keys.transpose(-2, -1))
        if self.softcap is not None:
            scores = torch.tanh(scores / self.softcap) * self.softcap
        if context.bias is not None:
            scores = scores + context.bias
        scores = scores + context.mask
        if self.sinks is not None:
            sinks = self.sinks[None, :, None, None].expand(*scores.shape[:-1], 1)
            scores = torch.cat((scores, sinks), -1)
        if scores.dtype in HALF:
            pattern = scores.softmax(-1, dtype=torch.float32).to(scores.dtype)
        else:
            pattern = scores.softmax(-1)
        if self.sinks is not None:
            pattern = pattern[..., :-1]
        if self.softmax_share != 1.0:
            seen = (context.mask == 0).to(pattern.dtype)
            pattern = self.softmax_share * pattern + (1 - self.softmax_share) * seen
        return pattern, values

    def written(self, z: Float[Tensor, "row pos head d_head"]) -> Tensor:
        """Return z over the scale of the norm behind attention, so that w_out gives the write."""
        z = z if self.post_norm is None else z * self.write_scale(z)
        return pad(z, (0, self.n_other)) if self.n_other else z

    def write_scale(
        self, z: Float[Tensor, "row pos head d_head"]
    ) -> Float[Tensor, "row_or_one pos_or_one 1 1"]:
        """Return 1 / s of the norm behind attention, one where there is none."""
        if self.post_norm is None or self.w_out_plain is None:
            return z.new_ones(1, 1, 1, 1)
        return self.post_norm.inverse_scale(z.flatten(2) @ self.w_out_plain).unsqueeze(-1)

    def sum_of_writes(self, written: Float[Tensor, "row pos head d_head"]) -> Tensor:
        """Return what all heads together add to the residual stream, bias included."""
        rows, pos = written.shape[:2]
        flat = torch.addmm(self.b_out, written.reshape(rows * pos, -1), self.w_out.flatten(0, 1))
        return flat.reshape(rows, pos, -1)


def _joined(past: KeysValues | None, fresh: KeysValues, n_heads: int) -> KeysValues:
    if past is None or past.keys.shape[2] == 0:
        return fresh
    keys, values = past.keys, past.values
    if keys.shape[1] != fresh.keys.shape[1]:
        keys = _for_heads(keys, n_heads)
    if values.shape[1] != fresh.values.shape[1]:
        values = _for_heads(values, n_heads)
    return KeysValues(torch.cat((keys, fresh.keys), 2), torch.cat((values, fresh.values), 2))


def per_head(
    x: Float[Tensor, "row pos read_head d_head"], n_heads: int
) -> Float[Tensor, "row pos head d_head"]:
    """Return keys or values repeated for every query head of their group.

    Where a layer has none, as one without heads, there are none.
    """
    return x if x.shape[2] in (0, n_heads) else x.repeat_interleave(n_heads // x.shape[2], dim=2)


def _for_heads(x: Float[Tensor, "row kv_head pos d_head"], n_heads: int) -> Tensor:
    return x if x.shape[1] == n_heads else x.repeat_interleave(n_heads // x.shape[1], dim=1)
