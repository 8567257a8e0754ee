"""What is done to a model or to its prompts, so that a circuit can say beforehand what follows."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from circuitkit.circuits.circuit import Circuit, layer_of
from circuitkit.circuits.graph import HEAD, INPUT, MLP, ComponentGraph
from circuitkit.control.change import Change
from circuitkit.errors import GraphError, MethodError
from circuitkit.model import SubjectModel
from circuitkit.model.digests import joined_digest
from circuitkit.prompts.pairs import PromptPairs

ABLATION, SCALING, WEIGHTS, PROMPTS = "ablation", "scaling", "weights", "prompts"
STEERING = "steering"
FACTORS = (0.5, 2.0)
N_SETS, SET_SIZES = 12, (2, 4)


@dataclass(frozen=True)
class Intervention:
    """One intervention: components or edges that carry ablated values, a change, other prompts.

    `name` tells it from all others of a record.
    """

    name: str
    kind: str
    components: tuple[str, ...] = ()
    edges: tuple[str, ...] = ()
    change: Change | None = None
    pairs: PromptPairs | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        done = (self.components or self.edges, self.change, self.pairs)
        if sum(bool(each) for each in done) != 1:
            raise MethodError(
                f"intervention {self.name!r}: must do one thing (ablate components and edges, "
                "change the model, or change the prompts), got none or several. What follows from "
                "which would not be known. Make an intervention of each."
            )

    def cut(self, circuit: Circuit) -> Circuit:
        """Return the circuit in which what it ablates carries nothing live.

        Raises:
            GraphError: a component writes nothing, or an edge does not exist.
        """
        found = circuit.without(self.components) if self.components else circuit
        return found.without_edges(self.edges) if self.edges else found

    def require_in(self, graph: ComponentGraph) -> None:
        """Refuse names that the graph does not have.

        Raises:
            GraphError: it lacks one.
        """
        self.cut(Circuit.empty(graph))
        if isinstance(self.change, Scaled):
            self.change.kind_in(graph)

    def touches(self, circuit: Circuit) -> tuple[str, ...]:
        """Return the components of the circuit that it ablates or rescales, in graph order."""
        senders = {Circuit.ends(edge)[0] for edge in circuit.edges}
        named = {*self.components, *(Circuit.ends(edge)[0] for edge in self.edges)}
        if isinstance(self.change, Scaled):
            named.add(self.change.component)
        return tuple(name for name in circuit.graph.components if name in senders & named)


@dataclass(frozen=True)
class Scaled:
    """What one head or MLP writes, times a factor: at every position, wherever it is read."""

    component: str
    factor: float
    kind: str = SCALING

    @property
    def name(self) -> str:
        """The component and the factor, as "a1.h1 x 0.5"."""
        return f"{self.component} x {self.factor:g}"

    def kind_in(self, graph: ComponentGraph) -> str:
        """Return what the component is in a graph.

        Raises:
            GraphError: it is no head and no whole MLP.
        """
        kind = graph.kind_of(self.component) if self.component in graph.senders else ""
        if kind not in (HEAD, MLP):
            raise GraphError(
                f"scaling: the component must be a head or a whole MLP of this graph ({graph}), "
                f"got {self.component!r}. It has no output of its own to rescale. Check its name."
            )
        return kind

    def made(self, model: SubjectModel) -> SubjectModel:
        """Return the model in which it is so. Biases of attention belong to no head and stay.

        Raises:
            GraphError: the component is no head and no whole MLP of the model.
        """
        graph = model.graph
        kind = self.kind_in(graph)
        index, layers = layer_of(self.component, graph), list(model.layers)
        layer = layers[index]
        if kind == MLP:
            assert layer.mlp is not None
            mlp = replace(layer.mlp, scale=layer.mlp.scale * self.factor)
            layers[index] = replace(layer, mlp=mlp)
        else:
            w_out = layer.attention.w_out.clone()
            w_out[graph.names_in(index).index(self.component)] *= self.factor
            layers[index] = replace(layer, attention=replace(layer.attention, w_out=w_out))
        digest = joined_digest(model.digest, self.name)
        return model.computing_with(tuple(layers), model.final_norm, digest=digest)


def default_interventions(circuit: Circuit, seed: int = 0) -> tuple[Intervention, ...]:
    """Return a broad set: every component ablated, sets of them, and outputs rescaled.

    Of the N_SETS sets half are drawn from the circuit's own components. Rescaled by FACTORS are the
    heads and MLPs that the circuit reads, and as many that it does not.
    """
    graph = circuit.graph
    senders = [name for name in graph.senders if name != INPUT]
    inside = [name for name in senders if name in circuit.components]
    rng = random.Random(seed)
    found = [Intervention(f"without {name}", ABLATION, (name,)) for name in senders]
    known: set[tuple[str, ...]] = set()
    for number in range(N_SETS):
        pool = inside if number % 2 == 0 and len(inside) >= SET_SIZES[1] else senders
        size = min(rng.randint(*SET_SIZES), len(pool))
        names = tuple(sorted(rng.sample(pool, size), key=senders.index))
        if names and names not in known:
            known.add(names)
            found.append(Intervention(f"without {', '.join(names)}", ABLATION, names))
    found += [Intervention(each.name, SCALING, change=each) for each in _scaled(circuit, rng)]
    return tuple(found)


def _scaled(circuit: Circuit, rng: random.Random) -> Iterator[Scaled]:
    whole = [name for name in circuit.graph.senders if circuit.graph.kind_of(name) in (HEAD, MLP)]
    inside = [name for name in whole if name in circuit.components]
    others = [name for name in whole if name not in inside]
    rng.shuffle(others)
    for name in [*inside, *others[: len(inside)]]:
        for factor in FACTORS:
            yield Scaled(name, factor)
