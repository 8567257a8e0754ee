"""Every rule of a family is needed, and the page of architectures says what is tested."""

import importlib.util
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch

from circuitkit.errors import DecompositionError
from circuitkit.model.families import FAMILIES, USUAL, alibi_bias, family_of
from circuitkit.prompts.batch import PromptBatch
from circuitkit.prompts.tokenization import tokenize_pairs
from circuitkit.zoo import load_model
from tests import families
from tests.conftest import random_pairs
from tests.families import NOTES, make_family, save_family

TESTED_AS = {
    "cohere2": "cohere-2",
    "exaone4": "exaone-4",
    "falcon": "falcon-alibi",
    "hunyuan_v1_dense": "hunyuan",
    "ministral3": "ministral-3",
}
RULES = [
    (kind, field.name)
    for kind, family in FAMILIES.items()
    for field in fields(family)
    if getattr(family, field.name) is not getattr(USUAL, field.name)
]


@pytest.mark.parametrize(("kind", "rule"), RULES)
def test_a_model_is_refused_without_any_of_the_rules_of_its_family(
    kind, rule, tmp_path, monkeypatch
):
    name = TESTED_AS.get(kind, kind)
    directory = save_family(name, tmp_path)
    usual = replace(FAMILIES[kind], **{rule: getattr(USUAL, rule)})
    monkeypatch.setitem(FAMILIES, kind, usual)
    with pytest.raises(DecompositionError):
        load_model(directory, dtype=torch.float64)


def test_an_mlp_that_reads_more_than_its_input_is_named(tmp_path, monkeypatch):
    monkeypatch.delitem(FAMILIES, "mpt")
    directory = save_family("mpt", tmp_path)
    with pytest.raises(DecompositionError, match=r"\(MptBlock\): an MLP must be .* MptMLP with"):
        load_model(directory)


@pytest.mark.parametrize("name", ["bloom", "mpt", "falcon-alibi"])
def test_alibi_follows_the_place_of_a_token_and_not_its_column(name, tmp_path):
    model = make_family(name, tmp_path)
    batch = tokenize_pairs(random_pairs(2)).clean_batch
    biases = model.prepare(batch)[1].layers[0].bias
    for row, real in enumerate(batch.mask):
        tokens = batch.tokens[row][real][None]
        last = torch.tensor([tokens.shape[1] - 1])
        alone = PromptBatch(tokens, torch.ones_like(tokens, dtype=torch.bool), last)
        [bias] = model.prepare(alone)[1].layers[0].bias
        torch.testing.assert_close(biases[row][..., real], bias)
        assert (bias.diff(dim=-1) > 0).all()  # nearer sources get more
    places = torch.tensor([[0, 1, 2, 3, 2, 3]])  # two branches behind two tokens
    [branched] = alibi_bias(model.bridge.original_model, places, model.dtype)
    assert torch.equal(branched[..., 2:4], branched[..., 4:])


@pytest.mark.parametrize("name", ["granite", "cohere"])
def test_direct_effects_are_those_on_scaled_logits(name, tmp_path):
    model = make_family(name, tmp_path)
    x = torch.randn(5, model.graph.d_model, dtype=model.dtype)
    weight, bias = model.unembedding
    torch.testing.assert_close(model.final_norm(x) @ weight + bias, model.unembed(x))
    assert model.logit_scale != 1


def test_a_head_with_an_activation_has_no_unembedding(tmp_path):
    model = make_family("modernbert", tmp_path)
    with pytest.raises(DecompositionError, match="must follow the final norm, got ModernBert"):
        _ = model.unembedding
    assert model.n_logits == families.VOCAB


def test_a_family_without_an_entry_has_the_usual_rules():
    assert family_of(None) is USUAL
    assert family_of(families.CONFIGS["llama"]()) is USUAL


def page():
    docs = Path(families.__file__).parents[1] / "docs"
    spec = importlib.util.spec_from_file_location("architectures", docs / "architectures.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_architectures_lists_what_is_tested():
    assert list(NOTES) == [name for name in NOTES if name in families.FAMILIES]
    assert set(NOTES) == set(families.FAMILIES)
    module = page()
    titles = [f"| {title} | {note}" for title, note in NOTES.values()]
    assert module.named_rows(module.PAGE.read_text(encoding="utf-8")) == titles


def test_every_gap_on_the_page_is_within_what_is_allowed():
    module = page()
    [table] = module.TABLE.findall(module.PAGE.read_text(encoding="utf-8"))
    gaps = [float(line.split("|")[3]) for line in table.splitlines()[2:] if line]
    assert len(gaps) == len(NOTES)
    assert max(gaps) < 1e-9
