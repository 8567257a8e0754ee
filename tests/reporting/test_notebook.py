"""What a notebook shows of a circuit, a heat map, a curve and an interpretation."""

import re
from xml.dom import minidom

import pytest

import circuitkit
from circuitkit.circuits.circuit import Circuit

from .conftest import SCORES


@pytest.fixture
def interpretation(interpreted):
    return interpreted.interpretation


@pytest.fixture(params=["circuit", "heat_map", "curve", "interpretation"])
def shown(request):
    return request.getfixturevalue(request.param)


def test_each_has_a_picture_and_a_table(shown):
    assert minidom.parseString(shown._repr_svg_()).documentElement.tagName == "svg"
    html = shown._repr_html_()
    assert "<svg" in html
    assert "<table>" in html
    assert "<script" not in html


def test_ids_of_two_pictures_on_one_page_differ(circuit, curve):
    one, other = (set(re.findall(r'id="([^"]+)"', each._repr_html_())) for each in (circuit, curve))
    assert one
    assert other
    assert not one & other


def test_the_tables_hold_the_numbers(circuit, heat_map, curve, interpretation):
    assert "<td>name movers</td>" in interpretation._repr_html_()
    for name, score in SCORES.items():
        escaped = name.replace(">", "&gt;").replace("<", "&lt;")
        assert f"<td>{escaped}</td><td>{score:+.3f}</td>" in circuit._repr_html_()
    assert "<td>-3.500</td>" in heat_map._repr_html_()
    assert "<td>0.88</td><td>[0.81, 0.94]</td>" in curve._repr_html_()


def test_the_public_classes_show_themselves():
    assert circuitkit.Circuit is Circuit
    assert callable(circuitkit.Circuit._repr_html_)


def test_an_empty_circuit_can_be_shown(circuit):
    assert "0 edges" in Circuit.empty(circuit.graph)._repr_svg_()
