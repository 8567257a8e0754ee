import pytest
import torch

from circuitkit.errors import GraphError
from circuitkit.interventions.edges import measure_edges
from circuitkit.interventions.patching import patch_activations
from circuitkit.interventions.path_patching import MLPs, PatchedPath, patch_paths
from circuitkit.interventions.recorded import Direction
from circuitkit.interventions.sites import site_named
from circuitkit.model import hook_points
from circuitkit.prompts.columns import all_positions, at_position, at_role, by_position
from circuitkit.prompts.pairs import PromptPair
from circuitkit.prompts.tokenization import tokenize_pairs
from tests.conftest import random_pairs
from tests.families import make_family


@pytest.fixture(scope="module")
def parallel(tmp_path_factory):
    return make_family("gpt-j", tmp_path_factory.mktemp("gpt-j"))


def kept_run(model, batch, points, hooks=None):
    kept = {}

    def keep(point):
        def hook(x):
            found = (hooks or {}).get(point, lambda x: None)(x)
            kept[point] = (x if found is None else found).clone()
            return found

        return hook

    with torch.no_grad():
        logits = model.run(batch, {p: keep(p) for p in {*points, *(hooks or {})}})
    return logits, kept


def literal_effect(model, pair, metric, heads, mlp_senders, receivers, frozen, pos=None):
    """Path patching by its definition, one unpadded pair, whole runs with every head held."""
    pairs = tokenize_pairs([pair])
    layers = range(model.graph.n_layers)
    points = [hook_points.written_z(layer) for layer in layers]
    points += [hook_points.mlp_out(layer) for layer in layers]
    clean_logits, clean = kept_run(model, pairs.clean_batch, points)
    _, corrupted = kept_run(model, pairs.corrupted_batch, points)
    at = slice(None) if pos is None else pos

    def held_heads(layer):
        value = clean[hook_points.written_z(layer)].clone()
        for head in [h for sender_layer, h in heads if sender_layer == layer]:
            value[:, at, head] = corrupted[hook_points.written_z(layer)][:, at, head]
        return lambda x: value

    def held_mlp(layer):
        value = clean[hook_points.mlp_out(layer)].clone()
        if layer in mlp_senders:
            value[:, at] = corrupted[hook_points.mlp_out(layer)][:, at]
        return lambda x: value

    hooks = {hook_points.written_z(layer): held_heads(layer) for layer in layers}
    for layer in layers:
        if frozen or layer in mlp_senders:
            hooks[hook_points.mlp_out(layer)] = held_mlp(layer)
    wanted = {point for point, _ in receivers}
    _, read = kept_run(model, pairs.clean_batch, wanted, hooks)

    def put(point):
        chosen = [head for p, head in receivers if p == point]

        def hook(x):
            if chosen == [None]:
                return read[point]
            out = x.clone()
            out[:, :, chosen] = read[point][:, :, chosen]
            return out

        return hook

    with torch.no_grad():
        patched = model.run(pairs.clean_batch, {point: put(point) for point in wanted})
    values = [metric.values(logits, pairs.labels) for logits in (clean_logits, patched)]
    return float(values[0] - values[1])


CASES = {
    "head to queries": (
        PatchedPath(("a0.h1",), ("a2.h0<q>", "a2.h3<q>")),
        [(0, 1)],
        [],
        [(hook_points.projection(2, "q"), 0), (hook_points.projection(2, "q"), 3)],
    ),
    "head to logits": (
        PatchedPath(("a0.h1",), ("logits",)),
        [(0, 1)],
        [],
        [(hook_points.FINAL_NORM_IN, None)],
    ),
    "two senders of two layers": (
        PatchedPath(("a0.h1", "a1.h2"), ("a2.h0<v>", "logits")),
        [(0, 1), (1, 2)],
        [],
        [(hook_points.projection(2, "v"), 0), (hook_points.FINAL_NORM_IN, None)],
    ),
    "an MLP on both sides": (
        PatchedPath(("m0",), ("m2",)),
        [],
        [0],
        [(hook_points.mlp_in(2), None)],
    ),
}


@pytest.mark.parametrize("mlps", list(MLPs))
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", ["toy", "parallel"])
def test_a_path_has_the_effect_that_its_definition_gives(request, name, case, mlps, metric):
    model = request.getfixturevalue(name)
    path, heads, mlp_senders, receivers = CASES[case]
    raw = random_pairs(4)
    pairs = tokenize_pairs(raw)
    frozen = mlps is MLPs.FROZEN
    found = patch_paths(model, pairs, [path], metric, all_positions(pairs), mlps=mlps).effects[0, 0]
    for i, pair in enumerate(raw):
        slow = literal_effect(model, pair, metric, heads, mlp_senders, receivers, frozen)
        assert float(found[i]) == pytest.approx(slow, abs=1e-10)
    # in parallel blocks nothing but the label's own token reaches an MLP without attention
    assert found.abs().max() > 1e-3 or (name, case) == ("parallel", "an MLP on both sides")


def test_senders_can_be_replaced_at_one_position(toy, metric):
    pair = random_pairs(1)[0]
    pairs = tokenize_pairs([pair])
    path, heads, _, receivers = CASES["head to queries"]
    columns = by_position(pairs)
    found = patch_paths(toy, pairs, [path], metric, columns).effects[0]
    assert found.shape[0] == len(columns.names)
    for pos in range(len(columns.names)):
        slow = literal_effect(toy, pair, metric, heads, [], receivers, False, pos=[pos])
        assert float(found[pos, 0]) == pytest.approx(slow, abs=1e-10)


def test_one_edge_with_frozen_mlps_is_the_exact_edge(toy, pairs, metric):
    names = toy.graph.edge_names[::11]
    paths = [PatchedPath((name.split("->")[0],), (name.split("->")[1],)) for name in names]
    for direction in Direction:
        edges = measure_edges(toy, pairs, names, metric, direction=direction).effects
        found = patch_paths(
            toy,
            pairs,
            paths,
            metric,
            all_positions(pairs),
            mlps=MLPs.FROZEN,
            direction=direction,
        ).effects[:, 0]
        torch.testing.assert_close(found, edges, rtol=1e-9, atol=1e-11)


def test_everything_into_one_query_is_patching_that_query(toy, pairs, metric):
    """With every earlier component replaced, the receiver reads what it reads in the other run."""
    senders = toy.graph.senders[: toy.graph.n_senders_before_attention(2)]
    path = PatchedPath(senders, ("a2.h1<q>",))
    for mlps in MLPs:
        found = patch_paths(toy, pairs, [path], metric, all_positions(pairs), mlps=mlps)
        whole = patch_activations(toy, pairs, site_named("q"), all_positions(pairs), metric=metric)
        row = whole.rows.index("a2.h1<q>")
        torch.testing.assert_close(found.effects[0], whole.effects[row])


def test_recomputed_mlps_carry_what_frozen_ones_do_not(toy, pairs, metric):
    path = PatchedPath(("a0.h1",), ("logits",))
    direct, through = (
        patch_paths(toy, pairs, [path], metric, all_positions(pairs), mlps=mlps).effects
        for mlps in (MLPs.FROZEN, MLPs.RECOMPUTED)
    )
    assert (direct - through).abs().max() > 1e-3


def test_a_head_as_receiver_stands_for_its_three_inputs(toy, pairs, metric):
    short = PatchedPath(("a0.h1",), ("a1.h2",))
    long = PatchedPath(("a0.h1",), ("a1.h2<q>", "a1.h2<k>", "a1.h2<v>"))
    found = patch_paths(toy, pairs, [short, long], metric, all_positions(pairs))
    assert torch.equal(found.effects[0], found.effects[1])
    assert found.paths[0] == "a0.h1 -> a1.h2"


def test_effects_do_not_depend_on_how_paths_are_batched(toy, pairs, metric):
    paths = [PatchedPath((sender,), ("a2.h0<k>", "logits")) for sender in toy.graph.senders[1:10]]
    columns = by_position(pairs)
    together = patch_paths(toy, pairs, paths, metric, columns).effects
    alone = [patch_paths(toy, pairs, [path], metric, columns).effects[0] for path in paths]
    torch.testing.assert_close(together, torch.stack(alone), rtol=1e-9, atol=1e-11)
    small = patch_paths(toy, pairs, paths, metric, columns, memory=220_000).effects
    torch.testing.assert_close(small, together, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            PatchedPath(("a7.h0",), ("logits",)),
            "a sender must be a component of this graph.*'a7.h0'",
        ),
        (PatchedPath(("logits",), ("logits",)), "a sender must be a component"),
        (PatchedPath(("a0.h0",), ("a5.h0<q>",)), "'a5.h0<q>': must be an input of this graph"),
        (PatchedPath(("m2",), ("a1.h0<q>",)), "some sender must come before receiver 'a1.h0<q>'"),
        (PatchedPath(("m1",), ("m1",)), "some sender must come before receiver 'm1'"),
    ],
)
def test_paths_that_do_not_exist_are_refused(toy, pairs, metric, path, message):
    with pytest.raises(GraphError, match=message):
        patch_paths(toy, pairs, [path], metric, all_positions(pairs))


def test_identical_prompts_have_no_effect(toy, metric):
    same = tokenize_pairs(
        [PromptPair(p.clean, p.clean, p.answers, p.wrong_answers) for p in random_pairs()]
    )
    path = PatchedPath(("a0.h1", "m1"), ("a2.h0", "logits"))
    effects = patch_paths(toy, same, [path], metric, all_positions(same)).effects
    assert effects.abs().max() < 1e-12


def test_columns_of_one_role_or_position_select_it(pairs):
    role = at_role(pairs, "A")
    assert role.names == ("A",)
    assert role.masks.sum().item() == len(pairs)
    position = at_position(pairs, 1)
    assert torch.equal(position.masks, role.masks)  # the role A is position 1
