"""A small record with hostile text in it: 2 layers of 3 heads, six edges, one of them negative."""

from dataclasses import replace

import pytest
import torch

from circuitkit.circuit import Circuit, Provenance
from circuitkit.graph import ComponentGraph, EdgeScores
from circuitkit.reporting.record import HeatMap, RunInfo, RunRecord, Sample, Validation
from circuitkit.validation.baseline import Baseline
from circuitkit.validation.bootstrap import Estimate
from circuitkit.validation.criteria import Thresholds
from circuitkit.validation.criterion import exact
from circuitkit.validation.curve import Curve, CurvePoint
from circuitkit.validation.faithfulness import Faithfulness
from circuitkit.validation.verdict import Bound, Finding, check_of, reach_verdict, unmeasured

from .interpretations import interpretation_of

SCRIPT = "<script>alert(1)</script>"
SCORES = {
    "input->a0.h2<v>": 1.5,
    "a0.h2->a1.h0<q>": 4.0,
    "a0.h2->a1.h0<k>": -2.0,
    "a0.h2->m0": 0.5,
    "m0->a1.h0<v>": 1.0,
    "a1.h0->logits": 3.0,
}


def near(value, width=0.0625, n=40):
    return Estimate(value, value - width, value + width, n)


@pytest.fixture(scope="session")
def circuit():
    graph = ComponentGraph(n_layers=2, n_heads=3, d_model=8)
    values = torch.zeros(graph.edge_mask.shape, dtype=torch.float64)
    for name, score in SCORES.items():
        sender, receiver = graph.edge_index[graph.edge_number(name)].tolist()
        values[sender, receiver] = score
    origin = Provenance(task="toy", method="eap", model="tiny")
    return Circuit(graph, graph.mask_of(list(SCORES)), EdgeScores(graph, values), origin)


@pytest.fixture(scope="session")
def heat_map():
    values = ((0.25, -3.5), (2.75, 0.0), (-0.125, 1.0))
    return HeatMap(
        site="resid",
        description=f"residual stream {SCRIPT}",
        direction="noising",
        unit="logits",
        rows=("resid 0", "resid 1", "resid <2>"),
        columns=("S1", "$x_$"),
        values=values,
        low=tuple(tuple(value - 0.5 for value in row) for row in values),
        high=tuple(tuple(value + 0.5 for value in row) for row in values),
        gap=6.25,
    )


@pytest.fixture(scope="session")
def curve():
    return Curve(
        "mean",
        67,
        (
            CurvePoint(1, near(0.125), (0.0, 0.25, -0.125)),
            CurvePoint(6, near(0.875), (0.0, 0.5, 0.125)),
            CurvePoint(67, near(1.0, 0.0), (1.0, 1.0, 1.0)),
        ),
    )


@pytest.fixture(scope="session")
def record(circuit, heat_map, curve):
    bounds = Thresholds().bounds
    findings = {
        "faithfulness": Finding(near(0.8765), f"mean ablation {SCRIPT}"),
        "random": Finding(near(0.3635)),
        "edge-share": Finding(exact(6 / 67), "6 of 67 edges"),
        "sufficiency": Finding(near(0.0256, 0.025), "1 of 39", p=0.05),
        "kl": Finding(near(0.4321)),
    }
    checks = [check_of(name, finding, bounds[name]) for name, finding in findings.items()]
    checks.append(unmeasured("stability", Bound(), "no method"))
    verdict = reach_verdict(checks, "6 edges keep 88 % of the behaviour")
    sample = Sample(
        clean=f"When Ann | and `Bob` {SCRIPT} gave it to",
        corrupted="When Ann | and `Bob` *left* gave it to",
        answers=(" Ann",),
        wrong_answers=(" Bob",),
        top=((" Ann", 0.875), (SCRIPT, 0.0625), ("a|b`\n", 0.03125)),
        metric=5.25,
    )
    validation = Validation(
        Thresholds(),
        Baseline(
            "logit-difference", "logits", near(5.125), near(-4.5), near(9.625), near(0.97), None
        ),
        (sample,),
        (
            Faithfulness("mean", near(0.8765), near(4.5), near(5.1), near(0.1), (0.5, 0.9, 1.2)),
            Faithfulness("zero", near(0.625), near(3.0), near(5.1), near(-0.4), ()),
        ),
        curve,
        verdict,
    )
    info = RunInfo(
        task="toy",
        description=f"A toy behaviour {SCRIPT}",
        model="tiny",
        model_digest="0123abcd",
        method="eap",
        ablation="mean",
        metric="logit-difference",
        unit="logits",
        seed=11,
        n_discovery=30,
        n_validation=40,
        n_reference=50,
        n_dropped=3,
        n_edges_selected=9,
        command="circuitkit run toy --model tiny --seed 11",
        versions={"torch": "2.13.0", "circuitkit": "0.1.0"},
    )
    heads = replace(heat_map, site="heads", rows=("a0.h0", "a0.h1", "a0.h2"))
    return RunRecord(info, circuit, validation, (heat_map, heads))


@pytest.fixture(scope="session")
def interpreted(record):
    return replace(record, interpretation=interpretation_of(record))
