import pytest
import torch

from circuitkit.errors import GraphError
from circuitkit.interpretation.roles.steering import attention_moved
from circuitkit.interventions.ablation import ResampleAblation
from circuitkit.model import hook_points
from circuitkit.model.recording import record


def moved(case, edge, **changes):
    settings = {"metric": case.metric, "ablation": ResampleAblation()} | changes
    return attention_moved(case.model, case.validation, edge, **settings)


def test_before_is_the_clean_attention_and_after_that_of_the_changed_query(interpreted):
    found = interpreted("planted-ioi:plain:1")
    case, names = found.case, found.instance.components
    inhibitor, mover = names["inhibitor"], names["mover"]
    before, after = moved(case, f"{inhibitor}->{mover}<q>")
    torch.testing.assert_close(before, found.evidence.end_attention(mover))

    model, pairs = case.model, case.validation
    layer, head = int(mover[1]), int(mover[-1])
    slot = int(inhibitor[-1])
    clean, _ = record(model, pairs.clean_batch)
    corrupted, _ = record(model, pairs.corrupted_batch)
    w_out = model.layers[int(inhibitor[1])].attention.w_out[slot]
    z = (run.z[int(inhibitor[1])][:, :, slot] for run in (corrupted, clean))
    change = next(z) @ w_out - next(z) @ w_out
    seen = {}

    def change_query(q):
        x = seen["entering"] + change
        moved_q = model.layers[layer].attention.project(x)[0]
        q = q.clone()
        q[:, :, head] = moved_q[:, :, head]
        return q

    hooks = {
        hook_points.resid_pre(layer): lambda x: seen.update(entering=x),
        hook_points.projection(layer, "q"): change_query,
        hook_points.pattern(layer): lambda pattern: seen.update(pattern=pattern),
    }
    with torch.no_grad():
        model.run(pairs.clean_batch, hooks)
    rows = torch.arange(len(pairs))
    expected = seen["pattern"][rows, head, pairs.label_pos].double()
    torch.testing.assert_close(after, expected)
    assert float((before - after).abs().max()) > 0.1


def test_an_edge_that_carries_nothing_moves_nothing(interpreted):
    found = interpreted("planted-ioi:plain:1")
    mover = found.instance.components["mover"]
    unused = next(name for name in found.roles if name not in found.instance.components.values())
    before, after = moved(found.case, f"{unused}->{mover}<q>")
    torch.testing.assert_close(before, after)


def test_batches_do_not_matter(interpreted):
    found = interpreted("planted-ioi:plain:1")
    names = found.instance.components
    edge = f"{names['inhibitor']}->{names['mover']}<q>"
    in_parts = moved(found.case, edge, memory=10_000_000)
    torch.testing.assert_close(moved(found.case, edge), in_parts)


def test_an_edge_that_does_not_exist_is_refused(interpreted):
    with pytest.raises(GraphError, match="must be an edge of this graph"):
        moved(interpreted("planted-ioi:plain:1").case, "a2.h0->a1.h0<q>")
