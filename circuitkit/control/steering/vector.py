"""SteeringVector: a direction of the residual stream, where it was read, and of which model.

    direction   as found: its length is the natural dose of an addition
    unit        direction / |direction|
    true, false mean of  x . unit  over the prompts of each class, where it was made of two classes

Kept as vector.safetensors beside vector.json, with the digest of the weights that it was found in.
"""

import json
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from circuitkit.errors import GraphError, MethodError, ModelError
from circuitkit.model import SubjectModel
from circuitkit.model.hook_points import Point
from circuitkit.work.files import write_together
from circuitkit.work.reading import DAMAGED, parse_json, read_text_file
from circuitkit.work.text import error_text, shown

SCHEMA = "circuitkit-steering-1"
WEIGHTS, SAID = "vector.safetensors", "vector.json"
SITES = ("resid pre", "resid mid", "resid post", "attn out", "mlp out")


@dataclass(frozen=True, eq=False)
class SteeringVector:
    """A direction, the place that it was read at, and where it is from.

    `origin` says how it was found. `true` and `false` are the mean projections of two classes.
    """

    direction: Float[Tensor, " d_model"]
    point: Point
    origin: str
    model: str
    digest: str
    true: float | None = None
    false: float | None = None

    def __post_init__(self) -> None:
        """Require a direction with a length."""
        length = float(self.direction.norm())
        if not 0 < length < float("inf"):
            raise MethodError(
                f"steering vector ({self.origin}): its length must be above zero and finite, got "
                f"{length}. It points nowhere. Use other prompts, or another place."
            )

    def __repr__(self) -> str:
        return (
            f"SteeringVector({self.origin}, {self.point.site} {self.point.layer}, "
            f"norm {self.norm:.3g})"
        )

    @cached_property
    def norm(self) -> float:
        """The length of the direction."""
        return float(self.direction.double().norm())

    @cached_property
    def unit(self) -> Float[Tensor, " d_model"]:
        """The direction at length 1, in float64."""
        direction = self.direction.double()
        unit: Tensor = direction / direction.norm()
        return unit

    def cosine(self, other: Float[Tensor, " d_model"]) -> float:
        """Return the cosine of the angle to another direction."""
        other = other.double()
        return float(self.unit @ other / other.norm())

    def require_fits(self, model: SubjectModel) -> None:
        """Refuse a model that it was not found in.

        Raises:
            MethodError: it has another width than the residual stream.
            GraphError: the model has no such place.
            ModelError: the weights are others.
        """
        width = model.graph.d_model
        if len(self.direction) != width:
            raise MethodError(
                f"steering vector: must be {width} wide, as the residual stream of "
                f"{model.name!r}, got {len(self.direction)}. It is of another model or place. Use "
                "one that fits."
            )
        require_place(self.point, model)
        if not model.has_weights(self.digest):
            raise ModelError(
                f"steering vector: must be of the weights of {model.name!r} ({model.digest}), got "
                f"one of {self.model!r} ({self.digest}). A direction means nothing in other "
                "weights. Find it anew, or load its own model."
            )


def require_place(point: Point, model: SubjectModel) -> None:
    """Refuse a place that is not d_model wide, or that the model does not have.

    Raises:
        GraphError: it is none of SITES, or of no layer.
    """
    graph = model.graph
    lacks = (point.site == "mlp out" and not graph.has_mlps) or (
        point.site == "resid mid" and graph.parallel_attn_mlp
    )
    if point.site not in SITES or not 0 <= point.layer < graph.n_layers or lacks:
        raise GraphError(
            f"steering: a place must be one of {', '.join(SITES)} of layers 0 to "
            f"{graph.n_layers - 1}, and exist in model {model.name!r}, got {point.site!r} of layer "
            f"{point.layer}. Directions live where the model is d_model wide. Choose another."
        )


def given_vector(
    model: SubjectModel, direction: Float[Tensor, " width"], point: Point, origin: str = "given"
) -> SteeringVector:
    """Return a direction from elsewhere as one of this model.

    Raises:
        MethodError: it has another width, or no length.
        GraphError: the model has no such place.
    """
    found = SteeringVector(
        direction.detach().double().cpu(), point, origin, model.name, model.digest
    )
    found.require_fits(model)
    return found


def save_vector(vector: SteeringVector, directory: Path) -> None:
    """Write a direction: its numbers in float64, and what is said of it.

    Raises:
        OutputError: the directory cannot be written.
    """
    said = {
        "schema": SCHEMA,
        "site": vector.point.site,
        "layer": vector.point.layer,
        "norm": vector.norm,
        **{k: v for k, v in asdict(vector).items() if k not in ("direction", "point")},
    }
    files: dict[str, str | bytes] = {
        WEIGHTS: save({"direction": vector.direction.double().cpu().contiguous()}),
        SAID: json.dumps(said, indent=2) + "\n",
    }
    write_together(directory, files, last=SAID)


def load_vector(directory: str | Path) -> SteeringVector:
    """Return a direction that was saved.

    Raises:
        MethodError: no such directory, or files that are damaged or do not belong together.
    """
    directory = Path(directory)
    try:
        said: dict[str, Any] = parse_json(read_text_file(directory / SAID))
        direction = load((directory / WEIGHTS).read_bytes())["direction"]
        if said["schema"] != SCHEMA:
            raise ValueError(f"the schema {said['schema']!r}")
        point = Point(str(said["site"]), int(said["layer"]))
        rest = {k: said[k] for k in ("origin", "model", "digest", "true", "false")}
        found = SteeringVector(direction, point, **rest)
        if abs(found.norm - said["norm"]) > 1e-9 * found.norm:
            raise ValueError(f"a direction of norm {found.norm}, said to be {said['norm']}")
    except (*DAMAGED, SafetensorError) as error:
        raise MethodError(
            f"steering vector {shown(str(directory))}: must hold {SAID} and {WEIGHTS} as they were "
            f"written together, got {error_text(error)}. The direction cannot be trusted. Save it "
            "again."
        ) from error
    return found
