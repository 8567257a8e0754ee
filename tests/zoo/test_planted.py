"""Planted models: their true edges are proved by exact patching, not taken on trust.

    state     the full graph, or the full graph without the out-edges of one component
    effect    mean over pairs of |gain(state) - gain(state without the edge)|, divided by the
              mean gap between clean and corrupted prompts; ablated edges are resampled
    true      an edge with an effect in some state

Slots without a role hold zeros, so edges at them have no effect in any state. All other edges are
measured in every state.
"""

import hashlib
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cache, cached_property

import pytest
import torch

from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.graph import INPUT
from circuitkit.errors import ModelError
from circuitkit.interventions.ablation import ResampleAblation
from circuitkit.interventions.edges import measure_edges
from circuitkit.interventions.run_circuit import CircuitRunner
from circuitkit.metrics import Metric
from circuitkit.model import SubjectModel
from circuitkit.model.recording import record
from circuitkit.prompts.pairs import PromptPair, PromptPairs
from circuitkit.prompts.splits import sample_splits
from circuitkit.prompts.tokenization import tokenize_pairs
from circuitkit.task import find_task
from circuitkit.validation.baseline import measure_baseline
from circuitkit.zoo import load_model
from circuitkit.zoo.planted import BLUEPRINTS, DIFFICULTIES, Planted, planted, skip_trigram
from circuitkit.zoo.planted.blueprint import NEVER, state_dict, width_of_heads
from circuitkit.zoo.planted.difficulties import NOISY

FULL = ""  # the state in which nothing is ablated
ROUNDING = 1e-9
CHUNK = 24  # circuits that run at once
RESAMPLE = ResampleAblation()
EXACT = [f"{name}:{difficulty}" for name in BLUEPRINTS for difficulty in DIFFICULTIES]
EXACT = [name for name in EXACT if not name.endswith(":noise")]


@dataclass(frozen=True)
class Bench:
    """A planted model with pairs of its task."""

    planted: Planted
    model: SubjectModel
    pairs: PromptPairs
    metric: Metric

    def component_edge(self, edge: str) -> str:
        """Return an edge between roles as one between components."""
        blueprint = replace(self.planted.blueprint, truth=(edge,))
        return replace(self.planted, blueprint=blueprint).true_edges[0]

    @cached_property
    def runner(self) -> CircuitRunner:
        """What all circuits on these pairs share."""
        return CircuitRunner(self.model, self.pairs, RESAMPLE)

    def gains(self, masks: list[torch.Tensor]) -> torch.Tensor:
        """Return the metric of every circuit and pair."""
        gains = []
        for start in range(0, len(masks), CHUNK):
            logits = self.runner.logits(torch.stack(masks[start : start + CHUNK]))
            labels = self.pairs.labels.repeated(len(logits))
            gains.append(self.metric.gain(logits.flatten(0, 1), labels).view(len(logits), -1))
        return torch.cat(gains)

    def gap(self) -> float:
        """Return how much better the clean prompts do than the corrupted ones."""
        edges = self.model.graph.edge_mask
        clean, corrupted = self.gains([edges, torch.zeros_like(edges)]).mean(1)
        return float(clean - corrupted)

    def without(self, *roles: str) -> torch.Tensor:
        """Return all edges but those that leave some roles."""
        graph = self.model.graph
        mask = graph.edge_mask.clone()
        for role in roles:
            mask[graph.senders.index(self.planted.components[role])] = False
        return mask


@cache
def _model(name: str, exact: bool) -> SubjectModel:
    return planted(name).model(dtype=torch.float64, noise=0.0 if exact else None)


def bench(name: str, *, exact: bool = True, n: int = 16) -> Bench:
    return _bench(name, exact, n)


@cache
def _bench(name: str, exact: bool, n: int) -> Bench:
    found = planted(name)
    metric = find_task(found.task).metric
    return Bench(found, _model(name, exact), _pairs(found.task, n, found.seed), metric)


@cache
def _pairs(task: str, n: int, seed: int) -> PromptPairs:
    name = "planted-comparison:positions" if task.endswith("-shifted") else task
    tokenizer = _model(name, True).tokenizer  # that of every model of this task
    return sample_splits(find_task(task), tokenizer, n=n, seed=seed, n_validation=1).discovery


def effects(name: str, *, exact: bool = True) -> dict[str, dict[str, float]]:
    """Return the effect of every edge between roles (by components), in every state (by role)."""
    return _effects(name, exact)


@cache
def _effects(name: str, exact: bool) -> dict[str, dict[str, float]]:
    at = bench(name, exact=exact, n=16 if exact else 8)
    graph, used = at.model.graph, set(at.planted.components.values())
    between = [edge for edge in graph.edge_names if used.issuperset(Circuit.ends(edge))]
    gap, found, seen = at.gap(), {}, set()
    for role, component in {FULL: FULL, **at.planted.components}.items():
        if component in {*seen, INPUT, "logits"}:
            continue
        seen.add(component)
        state = at.without(role) if role else graph.edge_mask
        measured = [edge for edge in between if Circuit.ends(edge)[0] != component]
        masks = [state & ~graph.mask_of([edge]) for edge in measured]
        gains = at.gains([state, *masks])
        sizes = (gains[0] - gains[1:]).abs().mean(1) / gap
        found[role] = dict(zip(measured, sizes.tolist(), strict=True))
    return found


def largest(name: str, *, exact: bool = True) -> dict[str, float]:
    """Return the largest effect of every edge over all states."""
    found: dict[str, float] = {}
    for state in effects(name, exact=exact).values():
        for edge, effect in state.items():
            found[edge] = max(effect, found.get(edge, 0.0))
    return found


def effect(name: str, edge: str, state: str = FULL) -> float:
    """Return the effect of an edge between roles in one state."""
    return effects(name)[state][bench(name).component_edge(edge)]


# The truth.


@pytest.mark.parametrize("name", EXACT)
def test_the_true_edges_are_those_with_an_effect_in_some_state(name):
    found = largest(name)
    truth = set(planted(name).true_edges)
    assert {edge for edge, size in found.items() if size > ROUNDING} == truth
    assert min(found[edge] for edge in truth) > 0.05


@pytest.mark.parametrize("name", EXACT)
def test_slots_without_a_role_hold_zeros(name):
    found = planted(name)
    blueprint = found.blueprint
    tensors = state_dict(blueprint, found.slots, width_of_heads(blueprint))
    taken = {(head.layer, found.slots[head.name]) for head in blueprint.heads}
    for layer in range(blueprint.n_layers):
        for slot in range(blueprint.n_heads):
            weights = [tensors[f"blocks.{layer}.attn.W_{read}"][slot] for read in "QKVO"]
            assert ((layer, slot) in taken) == any(bool(weight.any()) for weight in weights)


@pytest.mark.parametrize("name", EXACT)
def test_no_other_edge_of_the_whole_graph_has_an_effect_in_the_full_state(name):
    at = bench(name)
    false = [edge for edge in at.model.graph.edge_names if edge not in at.planted.true_edges]
    measured = measure_edges(at.model, at.pairs, false, at.metric).effects
    assert float(measured.abs().max()) < ROUNDING


SEEDS = [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))]


@pytest.mark.parametrize("difficulty", NOISY)
@pytest.mark.parametrize("name", BLUEPRINTS)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_threshold_tells_true_from_false_edges_in_spite_of_noise(name, difficulty, seed):
    found = largest(f"{name}:{difficulty}:{seed}", exact=False)
    truth = set(planted(f"{name}:{difficulty}:{seed}").true_edges)
    # without its inhibitor, IOI's mover is torn between two names, and noise decides
    threshold = 0.18 if (name, difficulty) == ("planted-ioi", "cancellation") else 0.07
    assert {edge for edge, size in found.items() if size > threshold} == truth


# What each model is an example of.


def test_the_induction_head_reads_the_previous_token_by_k_and_by_nothing_else():
    assert effect("planted-induction:plain", "previous->mover<k>") > 0.9
    assert effect("planted-induction:plain", "previous->mover<q>") < ROUNDING
    assert effect("planted-induction:plain", "previous->mover<v>") < ROUNDING


def test_the_predecessor_head_reads_the_previous_token_by_v_and_by_nothing_else():
    assert effect("planted-predecessor:plain", "previous->mover<v>") > 0.9
    assert effect("planted-predecessor:plain", "previous->mover<q>") < ROUNDING
    assert effect("planted-predecessor:plain", "previous->mover<k>") < ROUNDING


@pytest.fixture(scope="module")
def keep():
    """`keep ... in` and `keep ... at`; corrupted, the last word belongs to no phrase."""
    at = bench("planted-skip-trigram:plain")
    prompts = [f"keep them now well {link}" for link in ("in", "at", skip_trigram.NEUTRAL)]
    answers = [["mind"], ["bay"]]
    pairs = [
        PromptPair(prompts[i], prompts[2], answers[i], answers[1 - i], template="keep")
        for i in (0, 1)
    ]
    return replace(at, pairs=tokenize_pairs(pairs, at.model.tokenizer))


def test_the_skip_trigram_head_writes_the_same_at_in_and_at_at(keep):
    slot = keep.planted.slots["mover"]
    z = record(keep.model, keep.pairs.clean_batch)[0].z[0][:, -1, slot]
    written = z @ keep.model.layers[0].attention.w_out[slot]
    assert float(written.abs().max()) > 5
    torch.testing.assert_close(written[0], written[1], rtol=0, atol=1e-12)


def test_keep_at_raises_mind_as_much_as_bay_and_only_the_direct_path_tells_them_apart(keep):
    graph = keep.model.graph
    runner = CircuitRunner(keep.model, keep.pairs, RESAMPLE)
    masks = [torch.zeros_like(graph.edge_mask), graph.edge_mask]
    masks.append(graph.edge_mask & ~graph.mask_of(["input->logits"]))
    nothing, everything, head_alone = runner.logits(torch.stack(masks))
    mind, bay = (keep.planted.blueprint.id(word) for word in ("mind", "bay"))
    risen = head_alone - nothing
    assert bool((risen[:, mind] > 5).all())  # `at` raises mind, the known bug
    torch.testing.assert_close(risen[:, mind], risen[:, bay], rtol=0, atol=1e-9)
    apart = everything[:, mind] - everything[:, bay]
    expected = torch.tensor([1.0, -1.0], dtype=apart.dtype) * skip_trigram.WRITE / 2
    torch.testing.assert_close(apart, expected, rtol=0, atol=1e-9)


# What each difficulty does.

# edges by which a backup sees whether the mover works: they matter while it does
WATCHES = {
    "planted-induction": "input->backup<k>",
    "planted-predecessor": "previous->backup<k>",
    "planted-skip-trigram": "input->backup<k>",
    "planted-facts": "memory->backup<k>",
    "planted-comparison": "digits->backup",
}


def edges_into(name: str, role: str) -> list[str]:
    truth = planted(name).blueprint.truth
    return [edge for edge in truth if edge.partition("->")[2].partition("<")[0] == role]


@pytest.mark.parametrize("name", WATCHES)
def test_a_backup_hides_the_edges_into_the_mover(name):
    mover = planted(name).blueprint.mover
    for edge in edges_into(name, mover):
        hidden = effect(f"{name}:backup", edge)
        assert hidden < effect(f"{name}:backup", edge, "backup") / 3


@pytest.mark.parametrize("name", WATCHES)
def test_a_working_mover_hides_the_edges_of_the_backup(name):
    mover = planted(name).blueprint.mover
    not_hidden = {WATCHES[name], f"{mover}->backup<q>", f"{mover}->backup"}
    edges = {*edges_into(f"{name}:backup", "backup"), "backup->logits"} - not_hidden
    for edge in edges:
        assert effect(f"{name}:backup", edge) < effect(f"{name}:backup", edge, mover) / 3


def test_the_backup_of_ioi_takes_over_where_names_are_copied_but_not_where_one_is_inhibited():
    name = "planted-ioi:backup"
    assert effect(name, "input->mover<v>") < effect(name, "input->mover<v>", "backup") / 3
    partial = effect(name, "inhibitor->mover<q>") / effect(name, "inhibitor->mover<q>", "backup")
    assert 0.5 < partial < 0.9


@pytest.mark.parametrize("name", BLUEPRINTS)
def test_mover_and_backup_matter_together_more_than_each_alone(name):
    at = bench(f"{name}:backup")
    mover = at.planted.blueprint.mover
    graph = at.model.graph
    states = [graph.edge_mask, at.without(mover), at.without("backup"), at.without(mover, "backup")]
    gains = at.gains(states).mean(1) / at.gap()
    no_mover, no_backup, neither = (float(gains[0] - gain) for gain in gains[1:])
    assert max(no_mover, no_backup) < 0.2 < 0.4 < neither


@pytest.mark.parametrize("name", BLUEPRINTS)
def test_the_backup_does_not_hide_what_the_mover_writes_to_the_logits(name):
    edge = f"{planted(name).blueprint.mover}->logits"
    full, alone = (effect(f"{name}:backup", edge, state) for state in (FULL, "backup"))
    assert full > 0.5
    assert full == pytest.approx(alone, rel=0.01)


@pytest.mark.parametrize("name", BLUEPRINTS)
def test_cancelling_heads_hide_their_common_input(name):
    name = f"{name}:cancellation"
    assert effect(name, "input->bag<v>") < ROUNDING
    assert effect(name, "input->bag<v>", "praise") > 0.1
    assert effect(name, "input->bag<v>", "blame") > 0.1
    assert effect(name, "bag->praise<v>") > 0.1


@pytest.mark.parametrize("name", BLUEPRINTS)
def test_decoys_are_active_and_move_the_logit_of_the_start_token_alone(name):
    at = bench(f"{name}:decoys")
    graph = at.model.graph
    decoys = [head for head in at.planted.blueprint.heads if head.name.startswith("decoy")]
    clean, logits = record(at.model, at.pairs.clean_batch)
    corrupted, _ = record(at.model, at.pairs.corrupted_batch)
    runner = CircuitRunner(at.model, at.pairs, RESAMPLE)
    assert len(decoys) == graph.n_layers
    for head in decoys:
        slot = at.planted.slots[head.name]
        z, other = (run.z[head.layer][:, -1, slot] for run in (clean, corrupted))
        assert float(z.abs().mean()) > 0.01
        assert float((z - other).abs().mean()) > 0.01
        moved = runner.logits(at.without(head.name)[None])[0] - logits
        assert float(moved[:, 0].abs().mean()) > 0.01
        assert float(moved[:, 1:].abs().max()) < ROUNDING


@pytest.mark.parametrize("name", ["planted-facts", "planted-comparison"])
def test_decoy_neurons_are_active(name):
    at = bench(f"{name}:decoys")
    logits = record(at.model, at.pairs.clean_batch)[1]
    runner = CircuitRunner(at.model, at.pairs, RESAMPLE)
    for layer in range(at.model.graph.n_layers):
        mask = at.model.graph.edge_mask & ~at.model.graph.mask_of([f"m{layer}->logits"])
        assert float((runner.logits(mask[None])[0] - logits)[:, 0].abs().mean()) > 0.01


@pytest.mark.parametrize(
    "name", sorted(set(BLUEPRINTS) - {"planted-ioi"})
)  # whose names are everywhere
def test_each_part_of_a_split_mover_serves_some_pairs_alone(name):
    at = bench(f"{name}:positions", n=50)
    names = [head.name for head in at.planted.blueprint.heads]
    for ends in (("_early", "_near"), ("_late", "_far")):
        part = [head for head in names if head.endswith(ends)]
        gains = at.gains([at.model.graph.edge_mask, at.without(*part)])
        needed = gains[0] - gains[1] > 0.1 * at.gap()
        assert 0.1 < float(needed.double().mean()) < 0.9


# The task is done.


@pytest.mark.parametrize("name", [*EXACT, "planted-facts:decoys:1", "planted-facts:decoys:2"])
def test_the_model_does_its_task(name):
    at = bench(name, n=50)
    assert measure_baseline(at.model, at.pairs, at.metric).accuracy.value == 1.0


@pytest.mark.parametrize("difficulty", NOISY)
@pytest.mark.parametrize("name", BLUEPRINTS)
def test_the_model_does_its_task_with_noise(name, difficulty):
    at = bench(f"{name}:{difficulty}:1", exact=False, n=50)
    assert measure_baseline(at.model, at.pairs, at.metric).accuracy.value >= 0.85


@pytest.mark.parametrize("name", BLUEPRINTS)
def test_the_start_token_is_never_near_the_answer_whatever_the_decoys(name):
    for seed in (1, 2, 3):
        model = planted(f"{name}:decoys:{seed}").model()
        logits = record(model, bench(name).pairs.clean_batch)[1]
        assert float(logits[:, 0].max()) < NEVER / 2


# Names.


@pytest.mark.parametrize("name", ["planted-ioi", "planted-facts:decoys:3", "planted-ioi:noise:2"])
def test_the_same_name_gives_the_same_model(name):
    assert planted(name).slots == planted(name).slots
    assert planted(name).model().digest == planted(name).model().digest


def test_a_name_without_difficulty_and_seed_is_plain_and_0():
    short, long, padded = (planted(f"planted-ioi{end}") for end in ("", ":plain:0", ":plain:00"))
    assert short.slots == long.slots == padded.slots
    assert (short.difficulty, short.seed) == (padded.difficulty, padded.seed) == ("plain", 0)


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_another_seed_puts_heads_in_other_slots(difficulty):
    found = [planted(f"planted-ioi:{difficulty}:{seed}") for seed in range(4)]
    assert len({tuple(one.slots.values()) for one in found}) > 1
    assert len({one.model().digest for one in found}) > 1
    assert {one.blueprint.truth for one in found} == {found[0].blueprint.truth}


def test_noise_is_that_of_the_seed_and_plain_models_have_none():
    exact = planted("planted-ioi:noise").model(noise=0.0).digest
    assert planted("planted-ioi:noise").model().digest != exact
    assert planted("planted-ioi").model().digest == planted("planted-ioi").model(noise=0.0).digest


@pytest.mark.parametrize(
    ("name", "listed"),
    [
        ("planted-poetry", "planted-skip-trigram"),
        ("planted-", "planted-skip-trigram"),
        ("planted-ioi:hard", "cancellation"),
        ("planted-ioi:", "cancellation"),
        ("planted-ioi:backup:one", "and seed"),
        ("planted-ioi:backup:-1", "and seed"),
        ("planted-ioi:backup:²", "and seed"),
        ("planted-ioi:backup:1:2", "as planted-ioi:backup:1"),
    ],
)
def test_a_name_that_is_none_is_refused_with_what_there_is(name, listed):
    with pytest.raises(ModelError, match=listed) as caught:
        load_model(name)
    assert repr(name) in str(caught.value)


def test_an_empty_truth_is_refused():
    found = planted("planted-ioi")
    nothing = replace(found, blueprint=replace(found.blueprint, truth=()))
    with pytest.raises(ModelError, match="must have true edges, got none"):
        nothing.truth(found.model())


def test_the_true_circuit_says_where_it_comes_from():
    at = bench("planted-ioi:backup:1", exact=False)
    circuit = at.planted.truth(at.model)
    assert set(circuit.edges) == set(at.planted.true_edges)
    origin = circuit.provenance
    assert (origin.task, origin.model, origin.seed) == ("planted-ioi", at.model.name, 1)
    assert origin.model_digest == at.model.digest


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_planted_model_comes_through_the_same_door_as_others(dtype):
    model = load_model("planted-ioi:backup:1", dtype=dtype)
    at = bench("planted-ioi:backup:1", exact=False)
    assert model.name == "planted-ioi:backup:1"
    assert model.dtype == getattr(torch, dtype)
    pairs = sample_splits(find_task("planted-ioi"), model.tokenizer, n=16, seed=1).discovery
    logits, expected = (record(m, pairs.clean_batch)[1] for m in (model, at.model))
    torch.testing.assert_close(logits.double(), expected, rtol=0, atol=1e-3)


def parts_of(value):
    """Yield all that a blueprint holds, tensors number by number."""
    if isinstance(value, torch.Tensor):
        yield f"{value.dtype}{list(value.shape)}{value.flatten().tolist()}"
    elif is_dataclass(value):
        for field in fields(value):
            yield from (field.name, *parts_of(getattr(value, field.name)))
    elif isinstance(value, tuple | list):
        for each in value:
            yield from parts_of(each)
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from (str(key), *parts_of(each))
    else:
        yield repr(value)


@pytest.mark.parametrize(
    ("name", "digest"),
    {
        "planted-induction": "daa0547163bbc694",
        "planted-predecessor": "e7d649b6413229e7",
        "planted-ioi": "3b0efb137ad9ed60",
        "planted-skip-trigram": "7a47c06a693eb57c",
        "planted-facts": "5af564f115625429",
        "planted-comparison": "c1c70355eadc7a13",
    }.items(),
)
def test_weights_that_were_planted_once_stay_what_they_are(name, digest):
    text = "\n".join(parts_of(BLUEPRINTS[name]()))
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == digest
