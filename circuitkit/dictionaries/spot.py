"""A dictionary's place in a model: what stands there in a run, and another value put there.

    resid pre, resid mid, resid post, attn out, mlp out      the activation of that hook point
    z                                                        z of all heads side by side
    mlp normed                                               norm(what the MLP reads)
    mlp scaled                                               the same in front of weight and bias

What is put in place of the last two goes into the MLP behind its norm.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from jaxtyping import Float
from torch import Tensor

from circuitkit.dictionaries.dictionary import SITES, Dictionary, Place
from circuitkit.errors import DictionaryError
from circuitkit.model import SubjectModel, hook_points
from circuitkit.model.forward import Hook
from circuitkit.model.hook_points import Point
from circuitkit.model.layers import MLP
from circuitkit.model.norms import identity
from circuitkit.work.text import shown

POINTS: dict[str, Callable[[int], Point]] = {  # in the order of a forward pass
    "resid pre": hook_points.resid_pre,
    "z": hook_points.z,
    "attn out": hook_points.attn_out,
    "resid mid": hook_points.resid_mid,
    "mlp normed": hook_points.mlp_in,
    "mlp scaled": hook_points.mlp_in,
    "mlp out": hook_points.mlp_out,
    "resid post": hook_points.resid_post,
}
ORDER = tuple(POINTS)
OF_MLP = ("mlp normed", "mlp scaled", "mlp out")
BEHIND_NORM = ("mlp normed", "mlp scaled")
Change = Callable[[Tensor, Tensor], Tensor | None]


@dataclass(frozen=True)
class Spot:
    """What a dictionary reads and writes in one layer of a model."""

    model: SubjectModel
    layer: int
    reads: str
    writes: str

    def hooks(self, change: Change) -> dict[Point, Hook]:
        """Return the hooks of a run in which `change` sees what is read and what is written.

        What it returns, unless None, stands in place of what is written.
        """
        kept: list[Tensor] = []
        read_at = POINTS[self.reads](self.layer)
        write_at = POINTS["mlp out" if self.writes in BEHIND_NORM else self.writes](self.layer)

        def see(x: Tensor) -> None:
            kept[:] = [self._seen(self.reads, x)]

        def write(x: Tensor) -> Tensor | None:
            if read_at == write_at:
                see(x)
            is_kept = self.reads == self.writes
            value = change(kept[0], kept[0] if is_kept else self._seen(self.writes, x))
            return None if value is None else self._put(value.to(x.dtype), x)

        return {read_at: see, write_at: write}

    def _seen(self, site: str, x: Tensor) -> Float[Tensor, "row pos width"]:
        if site == "z":
            return x.flatten(2)
        if site in BEHIND_NORM:
            norm = self._mlp.norm
            return norm(x) if site == "mlp normed" else norm.x_hat(x)
        return x

    def _put(self, value: Float[Tensor, "row pos width"], x: Tensor) -> Tensor:
        """Return what stands at the hook point where `value` is written."""
        if self.writes not in BEHIND_NORM:
            return value.reshape(x.shape)
        mlp, norm = self._mlp, self._mlp.norm
        if self.writes == "mlp scaled" and not norm.is_identity:
            value = value * norm.weight + norm.bias
        return replace(mlp, norm=identity(value.shape[-1], value))(value)

    @property
    def _mlp(self) -> MLP:
        mlp = self.model.layers[self.layer].mlp
        assert mlp is not None
        return mlp


def spot_of(
    dictionary: Dictionary, model: SubjectModel, *, layer: int | None = None, site: str = ""
) -> Spot:
    """Return where a dictionary stands in a model; `layer` and `site` (what it reads) if told so.

    Raises:
        DictionaryError: its place is not known, is not in the model, or has another width.
    """
    where = dictionary.name or "dictionary"
    _require_alone(dictionary, where)
    place = _told(dictionary, layer, site)
    _require_known(place, where)
    assert place.layer is not None
    _require_there(place, model, where)
    for site, width, what in (
        (place.reads, dictionary.d_in, "read"),
        (place.writes, dictionary.d_out, "written"),
    ):
        own = _width(site, model)
        if own != width:
            raise DictionaryError(
                f"{where}: what is {what} at {site} must be {own} wide as in model "
                f"{model.name!r}, got {width}. It belongs to another model or place. Use one "
                "that fits."
            )
    return Spot(model, place.layer, place.reads, place.writes)


def _told(dictionary: Dictionary, layer: int | None, site: str) -> Place:
    place = dictionary.place
    reads = site or place.reads
    writes = reads
    if dictionary.is_transcoder:
        writes = place.writes if place.writes and place.writes != reads else "mlp out"
    return replace(place, layer=place.layer if layer is None else layer, reads=reads, writes=writes)


def _require_alone(dictionary: Dictionary, where: str) -> None:
    if dictionary.kind == "cross_layer_transcoder":
        raise DictionaryError(
            f"{where}: must write at its own layer alone to be tried, got a cross-layer "
            "transcoder. What is written at a layer is the sum over all layers before it too. "
            "Try transcoders of one layer each."
        )


def _require_known(place: Place, where: str) -> None:
    got = f"hook {shown(place.hook)}" if place.hook else "none in its file"
    if place.layer is None:
        raise DictionaryError(
            f"{where}: its layer must be known, got {got}. Activations are read there. Say it: "
            "--layer N, or layer=N."
        )
    if place.reads not in SITES or place.writes not in SITES:
        got = shown(place.reads) if place.reads else got
        raise DictionaryError(
            f"{where}: its place must be one of {', '.join(SITES)}, got {got}. Activations are "
            "read there. Say what it reads: --site NAME, or site=NAME."
        )
    if ORDER.index(place.reads) > ORDER.index(place.writes):
        raise DictionaryError(
            f"{where}: must read before it writes, got {place.reads} and {place.writes}. A pass "
            "comes to them in the other order. Say what it reads: --site NAME, or site=NAME."
        )


def _require_there(place: Place, model: SubjectModel, where: str) -> None:
    layers, of = model.layers, f"model {model.name!r}"
    assert place.layer is not None
    if not 0 <= place.layer < len(layers):
        raise DictionaryError(
            f"{where}: its layer must be from 0 to {len(layers) - 1} in {of}, got {place.layer}. "
            "The model has no such layer. Use its own model, or say the layer."
        )
    layer, sites = layers[place.layer], (place.reads, place.writes)
    lacks = ""
    if layer.mlp is None and any(site in OF_MLP for site in sites):
        lacks = "no MLP there"
    elif layer.is_parallel and "resid mid" in sites:
        lacks = "attention and MLP side by side, and nothing between them"
    elif layer.attention.is_opaque and "z" in sites:
        lacks = "no heads there"
    elif layers[-1].unit_behind != 1:
        lacks = "a residual stream that is kept in another unit"
    if lacks:
        raise DictionaryError(
            f"{where}: {' and '.join(dict.fromkeys(sites))} of layer {place.layer} must be in "
            f"{of} as other tools have them, got {lacks}. There is nothing to read. Use a "
            "dictionary of another place or model."
        )


def _width(site: str, model: SubjectModel) -> int:
    graph = model.graph
    return graph.n_heads * model.d_head if site == "z" else graph.d_model
