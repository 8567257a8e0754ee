import pytest
import torch

from circuitkit.discovery import eap, eap_ig
from circuitkit.discovery.methods import method_named, score_edges_by_column
from circuitkit.errors import MethodError
from circuitkit.interventions.work import Work
from circuitkit.prompts.columns import by_role


@pytest.mark.parametrize(
    ("name", "variant"),
    [
        ("eap-ig", "inputs"),
        ("eap-ig-activations", "activations"),
        ("clean-corrupted", "clean-corrupted"),
    ],
)
def test_eap_ig_by_name_is_its_variant(toy, pairs, metric, name, variant):
    settings = {} if name == "clean-corrupted" else {"steps": "2"}
    found = method_named(name, settings).score_edges(toy, pairs, metric, Work()).values
    expected = eap_ig.score_edges(
        toy, pairs, metric, path=eap_ig.IntegrationPath(variant, 2)
    ).values
    assert torch.equal(found, expected)


def test_scores_by_role_are_named_and_add_up(toy, pairs, metric):
    parts = score_edges_by_column(toy, pairs, metric, by_role(pairs))
    assert list(parts) == ["A", "B", "END", "rest"]
    total = sum(part.values for part in parts.values())
    torch.testing.assert_close(total, eap.score_edges(toy, pairs, metric).values)
    ig = score_edges_by_column(toy, pairs, metric, by_role(pairs), method=method_named("eap-ig"))
    assert (ig["END"].values - parts["END"].values).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("nope", {}, "'nope': must be one of eap, eap-ig"),
        ("eap-ig", {"steps": "0"}, "steps must be at least 1"),
        ("eap-ig", {"steps": "many"}, "steps must be of type int, got 'many'"),
        ("eap-ig", {"threshold": "1"}, r"among its own \(steps, rule\), got 'threshold'"),
        ("eap", {"steps": "3"}, r"among its own \(none\), got 'steps'"),
    ],
)
def test_unknown_methods_and_settings_are_refused(name, settings, message):
    with pytest.raises(MethodError, match=message):
        method_named(name, settings)
