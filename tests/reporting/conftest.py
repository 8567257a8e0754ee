"""A small record with hostile text in it: 2 layers of 3 heads, six edges, one of them negative."""

import os
import shutil
from dataclasses import replace

import pytest
import torch
from playwright.sync_api import sync_playwright

from circuitkit.circuits.circuit import Circuit, Provenance
from circuitkit.circuits.graph import ComponentGraph, EdgeScores
from circuitkit.circuits.recipe import Recipe
from circuitkit.interpretation.section import HeatMap
from circuitkit.reporting import render
from circuitkit.reporting.html import report_html
from circuitkit.statistics.bootstrap import Estimate
from circuitkit.statistics.bound import Bound
from circuitkit.study.records import RunInfo, RunRecord, Sample, Validation
from circuitkit.validation.baseline import Baseline
from circuitkit.validation.criteria import Thresholds
from circuitkit.validation.criterion import exact
from circuitkit.validation.curve import Curve, CurvePoint
from circuitkit.validation.faithfulness import Faithfulness
from circuitkit.validation.verdict import Finding, check_of, reach_verdict, unmeasured

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
    origin = Provenance(task="toy", model="tiny", recipe=Recipe("eap"))
    return Circuit(graph, graph.mask_of(list(SCORES)), EdgeScores(graph, values), origin)


@pytest.fixture(scope="session")
def heat_map():
    values = ((0.25, -3.5), (2.75, 0.0), (-0.125, 1.0))
    return HeatMap(
        name="resid",
        description=f"residual stream {SCRIPT}",
        direction="noising",
        unit="logits",
        rows=("resid 0", "resid 1", "resid <2>"),
        columns=("S1", "$x_$"),
        values=values,
        low=tuple(tuple(value - 0.5 for value in row) for row in values),
        high=tuple(tuple(value + 0.5 for value in row) for row in values),
        whole=6.25,
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
    heads = replace(heat_map, name="heads", rows=("a0.h0", "a0.h1", "a0.h2"))
    return RunRecord(info, circuit, validation, (heat_map, heads))


@pytest.fixture(scope="session")
def interpreted(record):
    return replace(record, interpretation=interpretation_of(record))


@pytest.fixture(scope="session")
def browser():
    """One headless Chromium for all tests; without it they skip, or fail where CI asks for it."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None and os.environ.get("CIRCUITKIT_REQUIRE_BROWSER") == "1":
        pytest.fail(f"CIRCUITKIT_REQUIRE_BROWSER is 1, but none of {names} is installed")
    if found is None:
        pytest.skip("no Chromium is installed: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def reports(record, interpreted, tmp_path_factory):
    """Return the reports with and without an interpretation, and without Graphviz, as files."""
    directory = tmp_path_factory.mktemp("reports")
    files = {}
    for name, each in (("plain", record), ("interpreted", interpreted)):
        files[name] = directory / f"{name}.html"
        files[name].write_text(report_html(each), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(render, "graphviz_program", lambda: None)
        files["undrawn"] = directory / "undrawn.html"
        files["undrawn"].write_text(report_html(interpreted), encoding="utf-8")
    return files


@pytest.fixture
def open_report(browser, reports):
    """Return a function that opens a report; at the end no error and no request may have come."""
    opened, wrong = [], []

    def open_report(name="interpreted", width=1280, height=900, *, folded=False, **options):
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        page = context.new_page()
        opened.append(context)
        page.set_default_timeout(5000)
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: (wrong.append(dialog.message), dialog.dismiss()))
        address = reports[name].as_uri()
        page.on("request", lambda r: None if r.url.startswith(address) else wrong.append(r.url))
        page.goto(address)
        if not folded:  # what is tested is inside
            page.locator("details.fold").evaluate_all("all => all.forEach(e => (e.open = true))")
        return page

    yield open_report
    for context in opened:
        context.close()
    assert wrong == []


@pytest.fixture
def page(open_report):
    """The report with an interpretation at 1280 px, in light colours."""
    return open_report()
