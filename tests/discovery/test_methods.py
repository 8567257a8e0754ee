import pytest
import torch

from circuitkit.discovery import eap, eap_ig
from circuitkit.discovery.methods import METHODS, method_named, score_edges_by_column
from circuitkit.errors import MethodError
from circuitkit.interventions.attribution import Work, score_edges_by_terms
from circuitkit.interventions.columns import by_role


@pytest.mark.parametrize("name", METHODS)
def test_a_method_by_name_is_the_method(toy, pairs, metric, name):
    variants = {
        "eap-ig": "inputs",
        "eap-ig-activations": "activations",
        "clean-corrupted": "clean-corrupted",
    }
    found = score_edges_by_terms(toy, pairs, metric, method_named(name, 2), Work()).values
    if name == "eap":
        expected = eap.score_edges(toy, pairs, metric).values
    else:
        path = eap_ig.Path(variants[name], 2)
        expected = eap_ig.score_edges(toy, pairs, metric, path=path).values
    assert torch.equal(found, expected)


def test_scores_by_role_are_named_and_add_up(toy, pairs, metric):
    parts = score_edges_by_column(toy, pairs, metric, by_role(pairs))
    assert list(parts) == ["A", "B", "END", "rest"]
    total = sum(part.values for part in parts.values())
    torch.testing.assert_close(total, eap.score_edges(toy, pairs, metric).values)
    ig = score_edges_by_column(toy, pairs, metric, by_role(pairs), terms=method_named("eap-ig"))
    assert (ig["END"].values - parts["END"].values).abs().max() > 1e-3


def test_unknown_methods_and_steps_are_refused():
    with pytest.raises(MethodError, match="'acdc': must be one of eap, eap-ig"):
        method_named("acdc")
    with pytest.raises(MethodError, match="steps must be at least 1"):
        method_named("eap-ig", 0)
