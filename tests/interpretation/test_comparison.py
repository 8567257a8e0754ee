"""Circuits of different models, compared by what their components do."""

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from circuitkit.circuits.circuit import Circuit, kind_of
from circuitkit.circuits.file import save_circuit
from circuitkit.circuits.graph import ComponentGraph
from circuitkit.cli.actions import compare as command
from circuitkit.cli.actions.compare import show_comparison
from circuitkit.cli.app import app
from circuitkit.errors import CriterionError
from circuitkit.interpretation.cards import cards_of
from circuitkit.interpretation.comparison import (
    MatchedPair,
    SharedEdge,
    behaviour,
    compare,
    dealt_anew,
    edge_shares,
    match,
    overlap,
    ruzicka,
)
from circuitkit.interpretation.file import save_interpretation
from circuitkit.interpretation.findings import (
    ATTENDS,
    DOES,
    Card,
    Interpretation,
    Link,
    Loss,
    Role,
)
from circuitkit.interpretation.roles.causes import gap_of
from circuitkit.interpretation.roles.claims import roles_from
from circuitkit.interpretation.roles.evidence import Evidence
from circuitkit.reporting.comparison_dot import comparison_dot
from circuitkit.statistics.bootstrap import Estimate, mean_estimate

RUNNER = CliRunner()


def call(*words):
    return RUNNER.invoke(app, [str(word) for word in words])


def exactly(value):
    return Estimate(value, value, value, 50)


def interpretation(cards, gap=2.0, **others):
    """An interpretation of which only what is compared is filled in."""
    said = {
        "task": "t", "model": "m", "model_digest": "", "metric": "logit-difference",
        "unit": "logits", "ablation": "mean", "n_pairs": 50, "seed": 0,
    }  # fmt: skip
    empty = dict.fromkeys(
        ("groups", "group_edges", "prompts", "templates", "sections", "notes"), ()
    )
    return Interpretation(**{**said, **empty, **others}, gap=exactly(gap), cards=tuple(cards))


def card(component, group, roles=(), edges=(), lost=0.0):
    """A card; `edges` are those into it and, into the logits, from it: {name: effect}."""
    links = tuple(Link(edge, exactly(effect)) for edge, effect in dict(edges).items())
    reads = tuple(link for link in links if link.edge.partition("->")[2].startswith(component))
    feeds = tuple(link for link in links if link not in reads)
    loss = Loss((component,), exactly(lost))
    return Card(
        component, group, "", tuple(roles), reads, feeds, None, (), (), (loss,), ()
    )  # fmt: skip


def role(name, score, kind=DOES, null=0.02, *, claimed=True):
    return Role(name, kind, exactly(score), "", null, 0.0, claimed, "")


def chain(first, second, gap=2.0, *, back="previous-token heads", **others):
    """Two heads in a row: `first` feeds the key of `second`, which writes into the logits."""
    into, onward, out = f"input->{first}<v>", f"{first}->{second}<k>", f"{second}->logits"
    supplier = card(first, back, [role("key-supplier", 0.5)], {into: 1.0}, 1.0)
    mover = card(second, "movers", [role("mover", 0.9)], {onward: 1.0, out: 1.8}, 1.6)
    return interpretation([supplier, mover], gap, **others)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ({"a": 1.0}, {"a": 1.0}, 1.0),
        ({"a": 1.0}, {"a": 0.5}, 0.5),
        ({"a": -1.0}, {"a": -0.5}, 0.5),
        ({"a": 1.0}, {"a": -1.0}, 0.0),
        ({"a": 1.0, "b": 1.0}, {"a": 1.0, "c": 2.0}, 0.25),
        ({"a": 1.0}, {}, 0.0),
        ({}, {}, 0.0),
    ],
)
def test_similarity_is_what_is_shared_of_all_there_is(one, other, expected):
    assert ruzicka(one, other) == ruzicka(other, one) == pytest.approx(expected)


SIGNED = st.dictionaries(st.sampled_from("abcd"), st.floats(-3, 3), max_size=4)


@given(SIGNED, SIGNED)
def test_similarity_lies_between_nothing_and_everything(one, other):
    assert 0 <= ruzicka(one, other) <= 1
    assert ruzicka(one, one) == (1 if any(one.values()) else 0)


def test_a_behaviour_is_what_it_does_and_its_attention_above_chance():
    roles = [
        role("mover", -0.3, claimed=False),
        role("induction", 0.9, ATTENDS, null=0.1),
        role("at-S2", 0.05, ATTENDS, null=0.1),
        role("at-foreign", 0.9, ATTENDS, null=0.1),
        role("self", 0.5, ATTENDS, null=0.1),
    ]
    tried = frozenset({"mover", "induction", "at-S2", "self"})
    found = behaviour(card("a0.h0", "g", roles), tried)
    assert found == pytest.approx({"mover": -0.3, "induction": 0.8, "at-S2": 0.0})


def test_edges_between_nodes_are_summed_as_shares_of_the_gap():
    into = {"a0.h0->a1.h0<k>": 1.0, "a0.h1->a1.h0<k>": -0.5, "a0.h1->a1.h0<v>": 2.0}
    cards = [card("a1.h0", "movers", [], into), card("a0.h0", "x", [], {"input->a0.h0<v>": 3.0})]
    names = {"a0.h0": "x", "a0.h1": "x", "a1.h0": "movers"}
    assert edge_shares(interpretation(cards, gap=2.0), names) == pytest.approx(
        {("x", "movers", "k"): 0.25, ("x", "movers", "v"): 1.0, ("input", "x", "v"): 1.5}
    )


def test_the_names_of_heads_and_mlps_are_not_mixed():
    names = {"a0.h0": "x", "a0.h1": "y", "m0": "u", "a1.h0": "x", "m1": "v", "m2": "w"}
    deals = [dealt_anew(names, np.random.default_rng(seed)) for seed in range(30)]
    for dealt in deals:
        for kind, all_names in (("head", ["x", "x", "y"]), ("mlp", ["u", "v", "w"])):
            assert sorted(dealt[c] for c in names if kind_of(c) == kind) == all_names
    assert {dealt["m0"] for dealt in deals} == {"u", "v", "w"}
    assert {dealt["a0.h0"] for dealt in deals} == {"x", "y"}


def test_the_same_chain_elsewhere_is_the_same():
    one, other = chain("a0.h3", "a1.h0"), chain("a2.h1", "a3.h2", model="other")
    found = compare([one, other])
    [pair] = found.pairs
    assert [(m.a, m.b, m.similarity) for m in pair.matches] == [
        ("a0.h3", "a2.h1", 1.0), ("a1.h0", "a3.h2", 1.0)
    ]  # fmt: skip
    assert pair.groups.value == pair.matched.value == pytest.approx(1)
    assert pair.n_a == pair.n_b == 2
    # two heads can be dealt in two ways, one of which is as it was
    assert pair.groups.p == pytest.approx(0.5, abs=0.08)
    assert [group.name for group in found.groups] == ["movers", "previous-token heads"]
    assert found.groups[0].components == (("a1.h0",), ("a3.h2",))
    assert found.groups[0].worth == pytest.approx((0.8, 0.8))
    assert {edge.n_models for edge in found.edges} == {2}
    assert found.letters == ("A", "B")
    assert found.universal == (1.0, 1.0)
    assert found.notes == ()


def test_p_is_never_zero():
    one = chain("a0.h0", "a1.h0")
    names = {each.component: each.group for each in one.cards}
    found = {overlap(one, names, one, names, n_deals=1, seed=seed).p for seed in range(20)}
    assert found == {0.5, 1.0}  # dealt otherwise, or as it was


def test_what_is_in_most_models_comes_first_and_signs_must_agree():
    shared = card("a0.h0", "x", [role("mover", 0.5)], {"input->a0.h0<v>": 0.2}, 0.2)
    large = card(
        "a0.h1", "y", [role("mover", 0.5)], {"input->a0.h1<v>": -1.0, "a0.h1->logits": 0.01}, 2.0
    )
    found = compare([interpretation([large, shared]), interpretation([shared])])
    assert [group.name for group in found.groups] == ["x", "y"]
    edges = {edge.receiver: edge for edge in found.edges}
    assert set(edges) == {"x", "y"}  # 0.01 of a gap of 2 is too little
    assert (edges["x"].n_models, edges["y"].n_models) == (2, 1)
    assert [edge.receiver for edge in found.edges] == ["x", "y"]
    assert found.universal == pytest.approx((0.1 / 0.6, 1.0))


@pytest.mark.parametrize(
    ("shares", "n"),
    [
        ((0.5, 0.3), 2),
        ((-0.5, -0.3), 2),
        ((0.5, -0.3), 1),
        ((-0.5, 0.3), 1),
        ((0.5, 0.019), 1),
        ((0.021, 0.02, -0.01), 2),
    ],
)
def test_an_edge_is_in_the_models_where_it_works_as_in_most(shares, n):
    assert SharedEdge("x", "y", "v", shares).n_models == n


def test_effects_count_as_shares_of_each_gap():
    one, other = chain("a0.h0", "a1.h0"), chain("a0.h0", "a1.h0", gap=4.0)
    [pair] = compare([one, other]).pairs
    assert pair.groups.value == pytest.approx(0.5)


def test_what_goes_against_the_behaviour_is_not_shared_with_what_supports_it():
    one = chain("a0.h0", "a1.h0")
    flipped = [
        replace(
            each,
            reads=tuple(replace(link, effect=exactly(-link.effect.value)) for link in each.reads),
        )
        for each in one.cards
    ]
    names = {each.component: each.group for each in one.cards}
    found = overlap(one, names, replace(one, cards=tuple(flipped)), names)
    # of the 0.5 + 0.5 + 0.9 in A and as much in B only the way into the logits is shared
    assert found.value == pytest.approx(0.9 / (0.9 + 4 * 0.5))


def test_idle_components_are_not_matched_and_neither_are_strangers():
    roles = [role("idle", 0.0), role("key-supplier", 0.01, claimed=False)]
    idle = card("a0.h2", "idle heads", roles)
    strange = card("a0.h0", "opposers", [role("opposer", -0.4)])
    one = interpretation([idle, strange, card("m0", "feeding MLPs", [role("mover", 0.9)])])
    other = chain("a0.h0", "a1.h0")
    assert match(one, other) == ()
    assert match(interpretation([*one.cards, *other.cards[1:]]), other)[0].a == "a1.h0"


def test_differences_of_task_metric_and_ablation_are_said():
    found = compare([chain("a0.h0", "a1.h0"), chain("a0.h0", "a1.h0", task="u", ablation="zero")])
    assert found.notes == ("They differ in task: t, u.", "They differ in ablation: mean, zero.")


def test_one_alone_and_a_circuit_of_nothing_are_refused():
    with pytest.raises(CriterionError, match="at least two circuits, got 1"):
        compare([chain("a0.h0", "a1.h0")])
    with pytest.raises(CriterionError, match="must have components, got none for t in empty"):
        compare([chain("a0.h0", "a1.h0"), interpretation([], model="empty")])


def random_graph(rng):
    """Eight heads in two layers and two groups, with random effects between them."""
    lower = [card(f"a0.h{i}", "xy"[i % 2], [role("mover", 1.0)]) for i in range(4)]
    upper = [
        card(
            f"a1.h{i}", "xy"[i // 2], [role("mover", 1.0)],
            {f"a0.h{j}->a1.h{i}<k>": float(rng.exponential()) for j in range(4)},
        )
        for i in range(4)
    ]  # fmt: skip
    return interpretation([*lower, *upper])


def test_the_same_names_of_the_same_graph_are_no_chance():
    one = random_graph(np.random.default_rng(1))
    names = {each.component: each.group for each in one.cards}
    found = overlap(one, names, one, names, n_deals=199)
    assert found.value == pytest.approx(1)
    assert found.p < 0.06  # four of eight names can be dealt in 70 ways


def test_names_that_mean_nothing_are_found_out():
    rng, alarms, n = np.random.default_rng(0), 0, 120
    for seed in range(n):
        one, other = random_graph(rng), random_graph(rng)
        ours = {each.component: each.group for each in one.cards}
        theirs = dealt_anew({each.component: each.group for each in other.cards}, rng)
        alarms += overlap(one, ours, other, theirs, n_deals=39, seed=seed).p <= 0.05
    assert alarms <= 13  # 6 expected; above with probability 0.004


@pytest.fixture(scope="module")
def of_truth(interpreted):
    """Return the interpretation of a planted truth, made once: cards alone."""

    @cache
    def made(name):
        found = interpreted(name)
        truth = found.instance.truth(found.case.model)
        case = replace(found.case, circuit=truth)
        evidence = Evidence(case)
        return interpretation(
            cards_of(evidence, roles_from(evidence)),
            mean_estimate(gap_of(case)).value,
            task=name.partition(":")[0],
            model=name,
            ablation="resample",
        )

    return made


def inner(components):
    return {part: name for part, name in components.items() if kind_of(name) in ("head", "mlp")}


@pytest.mark.parametrize("task", ["planted-ioi", "planted-induction"])
def test_planted_roles_find_each_other_in_other_places(of_truth, interpreted, task):
    names = [f"{task}:plain:{seed}" for seed in (0, 1, 2)]
    places = [inner(interpreted(name).instance.components) for name in names]
    assert len({tuple(sorted(each.values())) for each in places}) > 1  # they lie elsewhere
    found = compare([of_truth(name) for name in names])
    for pair in found.pairs:
        a, b = places[pair.a], places[pair.b]
        assert {(m.a, m.b) for m in pair.matches} == {(a[part], b[part]) for part in a}
        assert pair.groups.value > 0.8
        assert pair.matched.value > 0.8
    assert all(all(group.components) for group in found.groups)


def test_another_behaviour_shares_little(of_truth):
    ours, theirs = of_truth("planted-ioi:plain:0"), of_truth("planted-induction:plain:0")
    [pair] = compare([ours, theirs]).pairs
    [same] = compare([ours, of_truth("planted-ioi:plain:1")]).pairs
    assert pair.groups.value < 0.5 * same.groups.value
    assert pair.matched.value < 0.5 * same.matched.value


def test_the_picture_says_who_has_what():
    odd = chain("a0.h0", "a1.h0", task="<b>", model='"x"')
    found = compare([chain("a0.h0", "a1.h0"), odd, chain("a0.h0", "a1.h0", back="other heads")])
    dot = comparison_dot(found)
    assert "B: &lt;b&gt; in &quot;x&quot;" in dot
    assert '<B>previous-token heads</B></TD></TR><TR><TD><FONT POINT-SIZE="10">1 / 1 / 0<' in dot
    assert "k: 0.50 / 0.50 / 0.00" in dot
    lines = [line for line in dot.splitlines() if "->" in line]
    into_logits = [line for line in lines if "logits: 0.90 / 0.90 / 0.90" in line]
    assert [line for line in lines if "style=solid" in line] == into_logits
    assert len(into_logits) == 1
    assert sum("style=dashed" in line for line in lines) == 4  # from the input, and keys


def saved(interpretation, directory):
    directory.mkdir()
    save_interpretation(interpretation, directory)
    return directory


def test_the_command_prints_what_is_shared_and_draws_it(tmp_path):
    a = saved(chain("a0.h3", "a1.h0"), tmp_path / "a")
    b = saved(chain("a2.h1", "a3.h2", task="u"), tmp_path / "b")
    picture = tmp_path / "shared.svg"
    done = call("compare", a, b, "-o", picture)
    assert done.exit_code == 0, done.output
    text = " ".join(done.output.split())
    assert "They differ in task: t, u." in text
    assert f"{a})" in text
    assert "Edges that every model has carry A 100%, B 100% of the effect between groups." in text
    assert "more were matched with a similarity" not in text
    assert "a1.h0 (80%)" in text
    assert "2 of 2" in text
    assert picture.read_text().startswith("<?xml")
    asked = call("compare", a, b, "-o", picture, "--json")
    said = json.loads(asked.output)
    assert said["pairs"][0]["groups"]["value"] == pytest.approx(1)
    assert said["models"] == ["m", "m"]
    assert said["universal"] == [1.0, 1.0]


def test_components_that_are_matched_but_unlike_are_counted_and_not_shown(capsys):
    matches = (MatchedPair("a0.h0", "a1.h1", 0.8), MatchedPair("m0", "m1", 0.04))
    found = compare([chain("a0.h3", "a1.h0"), chain("a2.h1", "a3.h2")])
    [pair] = found.pairs
    shown = replace(found, pairs=(replace(pair, matches=matches),))
    show_comparison(shown, [Path("a"), Path("b")])
    text = " ".join(capsys.readouterr().out.split())
    assert "0.80" in text
    assert "0.04" not in text
    assert "1 more was matched with a similarity below 0.1" in text


def test_what_is_not_interpreted_yet_is_interpreted(interpreted, of_truth, tmp_path):
    found = interpreted("planted-induction:plain:0")
    truth = found.instance.truth(found.case.model)
    file = tmp_path / "truth.json"
    save_circuit(truth, file)
    b = saved(of_truth("planted-induction:plain:0"), tmp_path / "b")
    done = call(
        "compare", file, b, "--n", 64, "--ablation", "resample", "--json", "-o", tmp_path / "c.png"
    )
    assert done.exit_code == 0, done.output
    said = json.loads(done.output)
    assert {m["a"] for m in said["pairs"][0]["matches"]} == {
        m["b"] for m in said["pairs"][0]["matches"]
    }
    assert said["pairs"][0]["matched"]["value"] > 0.9
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("name", "content", "words", "message"),
    [
        ("interpretation.json", "{", [], "must be what `circuitkit interpret` writes"),
        ("interpretation.json", '{"schema": 1}', [], "must be what `circuitkit interpret` writes"),
        ("interpretation.json", '{"schema": 99}', [], "must be of schema 1 or 2, got schema 99"),
        ("notes.txt", "", [], "circuit.json"),
        ("notes.txt", "", ["-o", "shared.txt"], "must end in one of svg, png, pdf"),
    ],
)
def test_a_directory_that_cannot_be_read_is_named(tmp_path, name, content, words, message):
    a = saved(chain("a0.h3", "a1.h0"), tmp_path / "a")
    b = tmp_path / "b"
    b.mkdir()
    (b / name).write_text(content)
    done = call("compare", a, b, *(words or ["-o", tmp_path / "c.svg"]))
    assert done.exit_code == 2
    assert message in " ".join(done.output.split())
    assert "Traceback" not in done.output
    assert not (tmp_path / "c.svg").exists()


def test_one_circuit_alone_is_refused_before_it_is_interpreted(tmp_path, monkeypatch):
    monkeypatch.setattr(command, "_subject", None)  # loading a model would fail
    circuit = tmp_path / "circuit.json"
    save_circuit(Circuit.full(ComponentGraph(n_layers=1, n_heads=1, d_model=4)), circuit)
    done = call("compare", circuit, "-o", tmp_path / "c.svg")
    assert done.exit_code == 2
    assert "needs at least two circuits, got 1" in " ".join(done.output.split())


def test_one_circuit_alone_is_refused_by_the_command(tmp_path):
    done = call("compare", saved(chain("a0.h3", "a1.h0"), tmp_path / "a"), "-o", tmp_path / "c.svg")
    assert done.exit_code == 2
    assert "needs at least two circuits, got 1" in " ".join(done.output.split())
