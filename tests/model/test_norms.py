import pytest
import torch
from torch import nn

from circuitkit.errors import DecompositionError
from circuitkit.model.norms import identity, norm_of

LIKE = torch.zeros(1, dtype=torch.float64)


class OffsetRMSNorm(nn.Module):
    """As Gemma's: the stored weight is the weight less one, and all is computed in float32."""

    def __init__(self, weight):
        super().__init__()
        self.weight, self.eps = nn.Parameter(weight - 1), 1e-3

    def forward(self, x):
        x = x.float()
        hat = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps)
        return (hat * (1 + self.weight.float())).double()


class UnstatedLayerNorm(nn.Module):
    """As OLMo's: no weight, and an eps that only its code knows."""

    def forward(self, x):
        return nn.functional.layer_norm(x, x.shape[-1:], eps=1e-6)


def modules():
    torch.manual_seed(0)
    layer = nn.LayerNorm(7, eps=1e-3).double()
    rms = nn.RMSNorm(7, eps=1e-3).double()
    for parameter in (*layer.parameters(), *rms.parameters()):
        nn.init.normal_(parameter, mean=1.0, std=0.3)
    offset = OffsetRMSNorm(torch.rand(7, dtype=torch.float64) + 0.5)
    return {
        "layer": layer,
        "rms": rms,
        "offset": offset,
        "unstated": UnstatedLayerNorm(),
        "none": nn.Identity(),
    }


@pytest.mark.parametrize("kind", modules())
def test_a_norm_is_recognised_by_what_it_does(kind):
    module = modules()[kind]
    norm = norm_of(module, 7, LIKE, "here")
    assert norm.is_identity == (kind == "none")
    assert norm.is_centred == (kind in ("layer", "unstated"))
    for size in (1.0, 1e-2):
        x = torch.randn(4, 7, dtype=torch.float64) * size
        torch.testing.assert_close(norm(x), module(x), rtol=1e-6, atol=1e-6)
        hat = norm.x_hat(x) * norm.weight + norm.bias
        torch.testing.assert_close(hat, norm(x))


@pytest.mark.parametrize("kind", modules())
def test_a_folded_norm_projects_and_pulls_back_as_autograd_does(kind):
    norm = norm_of(modules()[kind], 7, LIKE, "here")
    x = torch.randn(3, 7, dtype=torch.float64, requires_grad=True)
    w, b = torch.randn(7, 4, dtype=torch.float64), torch.randn(4, dtype=torch.float64)
    grad = torch.randn(3, 4, dtype=torch.float64)
    folded, folded_bias = norm.fold(w, b)
    out = norm(x) @ w + b
    projected = norm.x_hat(x) @ folded
    torch.testing.assert_close(projected + folded_bias, out)
    [slow] = torch.autograd.grad((out * grad).sum(), x)
    scaled = grad * norm.inverse_scale(x)
    fast = scaled @ folded.T
    if not norm.is_identity:
        fast = fast - norm.x_hat(x) * (scaled * projected).sum(-1, keepdim=True) / 7
    torch.testing.assert_close(fast, slow)


def test_a_norm_of_another_kind_is_refused():
    for module in (nn.Tanh(), nn.GroupNorm(1, 7), nn.Linear(7, 7).double()):
        with pytest.raises(DecompositionError, match="here: must be a LayerNorm or an RMSNorm"):
            norm_of(module, 7, LIKE, "here")


def test_no_norm_changes_nothing():
    x = torch.randn(2, 7, dtype=torch.float64)
    norm = identity(7, LIKE)
    assert torch.equal(norm(x), x)
    assert torch.equal(norm.x_hat(x), x)
    assert torch.equal(norm.inverse_scale(x), torch.ones(2, 1, dtype=torch.float64))
