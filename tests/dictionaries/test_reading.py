"""Dictionaries as other tools write them, held against what those tools compute."""

import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from circuitkit.dictionaries.dictionary import Activation, Place
from circuitkit.dictionaries.reading import load_dictionaries, load_dictionary
from circuitkit.dictionaries.saelens import save_dictionary
from circuitkit.dictionaries.transcoder_sets import TranscoderSet
from circuitkit.errors import DictionaryError
from tests.conftest import SHARED

ORACLES = SHARED / "oracles" / "dictionaries"
needs_oracles = pytest.mark.skipif(not ORACLES.exists(), reason="no recorded dictionaries here")
REFUSED = ("standard_expected_average_only_in",)


def folders(tool, depth=1):
    found = sorted(ORACLES.glob(f"{tool}/{'*/' * depth}io.npz"))
    return [path.parent for path in found if path.parent.name not in REFUSED]


def same(found, expected, folder):
    close = 1e-12 if expected.dtype == np.float64 else 1e-6
    np.testing.assert_allclose(found.numpy(), expected, rtol=close, atol=close, err_msg=str(folder))


@needs_oracles
@pytest.mark.parametrize(
    "folder",
    [*folders("saelens"), *folders("dictionary_learning"), *folders("sparsify", 2)],
    ids=lambda folder: f"{folder.parent.name}-{folder.name}",
)
def test_features_and_outputs_are_those_of_the_tool_that_wrote_it(folder):
    said, dictionary = np.load(folder / "io.npz"), load_dictionary(folder)
    x = torch.from_numpy(said["x"]).flatten(1)  # z of all heads side by side
    x = x.to(dictionary.w_enc.dtype)
    features = dictionary.encode(x)
    same(features, said["features"], folder)
    same(dictionary.decode(features, x).reshape(said["output"].shape), said["output"], folder)
    if "pre" in said and "rescale" not in folder.name:
        same(dictionary.pre_activations(x), said["pre"], folder)
    if dictionary.directions is not None:
        one = torch.zeros_like(features)
        one[:, 3] = 1
        added = dictionary.decode(one, x) - dictionary.decode(0 * one, x)
        torch.testing.assert_close(added, dictionary.directions[3].expand_as(added))


def test_there_are_recorded_dictionaries_of_every_tool():
    if ORACLES.exists():
        assert len(folders("saelens")) == 18
        assert len(folders("dictionary_learning")) == 7
        assert len(folders("sparsify", 2)) == 4


@needs_oracles
@pytest.mark.parametrize("name", ["plt", "plt_skip", "plt_topk", "clt", "clt_relu", "plt_zeroed"])
def test_transcoder_sets_compute_what_their_tool_does(name):
    folder = ORACLES / "circuit_tracer" / name
    said, found = np.load(folder / "graph.npz"), load_dictionaries(folder)
    assert isinstance(found, TranscoderSet)
    inputs = torch.from_numpy(said["feature_inputs"])
    written = torch.zeros_like(inputs)
    for layer, transcoder in enumerate(found.transcoders):
        same(transcoder.pre_activations(inputs[layer]), said["preactivations"][layer], name)
        features = transcoder.encode(inputs[layer])
        active = features.clone()
        active[0] = 0  # as the tool has it
        seen = torch.zeros_like(features)
        for (at, position, feature), value in zip(
            said["active_features"], said["activation_values"], strict=True
        ):
            if at == layer:
                seen[position, feature] = value
        torch.testing.assert_close(active, seen, rtol=1e-12, atol=1e-12)
        written[layer] += transcoder.decode(features, inputs[layer])
        for later, decoder in enumerate(found.decoders[layer : layer + 1]):
            for step in range(1, decoder.shape[1]):
                written[layer + step] += features @ decoder[:, step]
            assert later == 0
    assert found.is_cross_layer == name.startswith("clt")
    same(written[:, 1:], said["reconstructions"][:, 1:], name)


def made(tmp_path, kind="standard", d_out=6, **settings):
    generator = torch.Generator().manual_seed(0)
    tensors = {
        "W_enc": torch.randn(6, 10, generator=generator),
        "W_dec": torch.randn(10, d_out, generator=generator),
        "b_enc": torch.randn(10, generator=generator),
        "b_dec": torch.randn(d_out, generator=generator),
    }
    cfg = {
        "architecture": kind, "d_in": 6, "d_sae": 10, "normalize_activations": "none",
        "metadata": {"hook_name": "blocks.2.hook_mlp_out", "neuronpedia_id": "toy/2-mlp"},
    } | settings  # fmt: skip
    (tmp_path / "cfg.json").write_text(json.dumps(cfg))
    save_file(tensors, tmp_path / "sae_weights.safetensors")
    return tmp_path


def test_a_folder_says_where_it_stands_and_its_page(tmp_path):
    found = load_dictionary(made(tmp_path))
    assert (found.place.layer, found.place.reads, found.place.writes) == (2, "mlp out", "mlp out")
    assert found.link == "toy/2-mlp"
    assert "10 features, 6 -> 6 at blocks.2.hook_mlp_out" in repr(found)
    assert load_dictionary(tmp_path / "sae_weights.safetensors").digest == found.digest


@needs_oracles
@pytest.mark.parametrize(
    "name",
    ["standard", "gated", "jumprelu", "topk", "transcoder", "jumprelu_skip_transcoder",
     "topk_rescale_by_decoder_norm", "standard_layer_norm", "jumprelu_hook_z"],
)  # fmt: skip
def test_what_is_saved_reads_back_as_it_was(name, tmp_path):
    first = load_dictionary(ORACLES / "saelens" / name)
    save_dictionary(first, tmp_path / "again", model="toy")
    second = load_dictionary(tmp_path / "again")
    assert second.digest == first.digest
    assert second.place == first.place
    assert json.loads((tmp_path / "again" / "cfg.json").read_text())["metadata"]["model_name"]


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"architecture": "matching_pursuit"}, "architecture must be one of.*matching_pursuit"),
        ({"architecture": "temporal"}, "architecture must be one of.*temporal"),
        ({"normalize_activations": "expected_average_only_in"}, "its factor is not in the file"),
        ({"normalize_activations": True}, "its factor is not in the file"),
        ({"normalize_activations": "covariance_whitening"}, "runs it without"),
        ({"normalize_activations": "magic"}, "no such rule"),
        ({"activation_fn_str": "tanh-relu"}, "activation must be relu or topk"),
        ({"architecture": "topk"}, "k must be a whole number"),
        ({"architecture": "topk", "k": 0}, "k must be a whole number"),
        ({"architecture": "jumprelu"}, "must hold 'threshold'"),
        ({"architecture": "skip_transcoder"}, "must hold 'W_skip'"),
        ({"architecture": "gated"}, "must hold 'b_gate'"),
    ],
)
def test_settings_that_cannot_be_honoured_are_refused_by_name(tmp_path, settings, match):
    with pytest.raises(DictionaryError, match=match):
        load_dictionary(made(tmp_path, **settings))


def changed(folder, **tensors):
    path = folder / "sae_weights.safetensors"
    save_file({**load_file(path), **tensors}, path)
    return folder


def test_weights_that_are_damaged_are_refused(tmp_path):
    broken = torch.randn(6, 10)
    broken[3, 3] = float("nan")
    with pytest.raises(DictionaryError, match="'W_enc' must be finite"):
        load_dictionary(changed(made(tmp_path), W_enc=broken))
    with pytest.raises(DictionaryError, match=r"'b_enc' must have the shape \[10\], got \[9\]"):
        load_dictionary(changed(made(tmp_path), b_enc=torch.zeros(9)))
    with pytest.raises(DictionaryError, match="'scaling_factor' must be ones"):
        load_dictionary(changed(made(tmp_path), scaling_factor=torch.full((10,), 2.0)))
    weights = made(tmp_path) / "sae_weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:200])
    with pytest.raises(DictionaryError, match="must be a whole file of tensors"):
        load_dictionary(tmp_path)
    (tmp_path / "cfg.json").write_text("[1, 2]")
    with pytest.raises(DictionaryError, match="must be a JSON object"):
        load_dictionary(tmp_path)
    with pytest.raises(DictionaryError, match="must hold one of"):
        load_dictionary(tmp_path / "nowhere")


class Code:
    def __reduce__(self):
        return (Path.touch, (Path("never-made"),))


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.json").write_text('{"trainer": {"dict_class": "AutoEncoder"}}')
    (tmp_path / "ae.pt").write_bytes(pickle.dumps({"bias": Code()}, protocol=2))
    with pytest.raises(DictionaryError, match="pickle with code|whole file of tensors"):
        load_dictionary(tmp_path)
    torch.save({"bias": Code()}, tmp_path / "ae.pt")
    with pytest.raises(DictionaryError, match="pickle with code"):
        load_dictionary(tmp_path)
    assert not Path("never-made").exists()


def test_gemma_scope_is_read_with_its_layer(tmp_path):
    folder = tmp_path / "layer_7" / "width_16k" / "average_l0_71"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    arrays = {
        "W_enc": rng.normal(size=(4, 9)), "W_dec": rng.normal(size=(9, 4)),
        "b_enc": rng.normal(size=9), "b_dec": rng.normal(size=4), "threshold": np.full(9, 0.5),
    }  # fmt: skip
    np.savez(folder / "params.npz", **arrays)
    found = load_dictionary(folder)
    x = rng.normal(size=(5, 4))
    pre = x @ arrays["W_enc"] + arrays["b_enc"]
    expected = pre * (pre > 0.5)
    np.testing.assert_allclose(found.encode(torch.from_numpy(x)).numpy(), expected)
    assert found.place.layer == 7
    small = {name.lower(): torch.from_numpy(value) for name, value in arrays.items()}
    small["affine_skip_connection"] = torch.from_numpy(rng.normal(size=(4, 4)))
    second = tmp_path / "layer_3_width_262k"
    second.mkdir()
    save_file(small, second / "params.safetensors")
    skipped = load_dictionary(second)
    out = skipped.decode(skipped.encode(torch.from_numpy(x)), torch.from_numpy(x))
    without = expected @ arrays["W_dec"] + arrays["b_dec"]
    np.testing.assert_allclose(out, without + x @ small["affine_skip_connection"].numpy())
    assert skipped.place.layer == 3
    save_file(
        {"w_enc": torch.ones(4, 9), "w_dec": torch.ones(9, 3, 4)}, second / "params.safetensors"
    )
    with pytest.raises(DictionaryError, match="of one layer"):
        load_dictionary(second)


def test_features_that_do_not_exist_and_other_widths_are_refused(tmp_path):
    found = load_dictionary(made(tmp_path))
    with pytest.raises(DictionaryError, match="from 0 to 9, got 10"):
        found.features_named([3, 10])
    with pytest.raises(DictionaryError, match="must be 6 wide, got 7"):
        found.encode(torch.zeros(2, 7))
    moved = found.to(torch.float64)
    assert moved.digest == found.digest
    assert moved.encode(torch.zeros(1, 6, dtype=torch.float64)).dtype == torch.float64


@pytest.mark.parametrize(
    ("tensors", "match"),
    [
        ({"W_enc": torch.ones(6, 10, dtype=torch.int64)}, "must hold some floats, got .* int64"),
        ({"b_dec": torch.ones(6, dtype=torch.bool)}, "must hold some floats, got .* bool"),
        ({"W_enc": torch.ones(6, 0), "W_dec": torch.ones(0, 6)}, "must hold some floats"),
        ({"b_enc": torch.ones(10, dtype=torch.complex64)}, "floats of 16 bits or more"),
        ({"b_enc": torch.ones(10).to(torch.float8_e4m3fn)}, "floats of 16 bits or more"),
    ],
)
def test_weights_that_are_no_floats_are_refused(tmp_path, tensors, match):
    with pytest.raises(DictionaryError, match=match):
        load_dictionary(changed(made(tmp_path), **tensors))


def test_a_row_of_zeros_cannot_be_folded_away(tmp_path):
    folder = made(tmp_path, "topk", k=2, rescale_acts_by_decoder_norm=True)
    rows = load_file(folder / "sae_weights.safetensors")["W_dec"]
    rows[4] = 0
    with pytest.raises(DictionaryError, match="no row of zeros"):
        load_dictionary(changed(folder, W_dec=rows))


@pytest.mark.parametrize("size", [2, 100, 0.5])
def test_a_pickle_that_was_cut_short_is_refused(tmp_path, size):
    (tmp_path / "config.json").write_text('{"trainer": {"dict_class": "AutoEncoder"}}')
    torch.save({"bias": torch.ones(4)}, tmp_path / "ae.pt")
    whole = (tmp_path / "ae.pt").read_bytes()
    (tmp_path / "ae.pt").write_bytes(whole[: size if size > 1 else int(len(whole) * size)])
    with pytest.raises(DictionaryError, match=r"ae\.pt"):
        load_dictionary(tmp_path)


def transcoder_set(folder, layers=(0, 1), **config):
    said = {"model_kind": "transcoder_set", "feature_input_hook": "mlp.hook_in",
            "feature_output_hook": "mlp.hook_out"} | config  # fmt: skip
    (folder / "config.yaml").write_text("".join(f"{key}: {value}\n" for key, value in said.items()))
    for layer in layers:
        tensors = {"W_enc": torch.randn(9, 4), "b_enc": torch.zeros(9), "W_dec": torch.randn(9, 4),
                   "b_dec": torch.zeros(4)}  # fmt: skip
        save_file(tensors, folder / f"layer_{layer}.safetensors")
    return folder


def test_sets_with_a_gap_or_settings_that_cannot_be_are_refused(tmp_path):
    with pytest.raises(DictionaryError, match=r"must hold layer_1\.safetensors, as later layers"):
        load_dictionaries(transcoder_set(tmp_path, (0, 2)))
    (tmp_path / "config.yaml").write_text("created: 2026-13-01\n")
    with pytest.raises(DictionaryError, match="must be YAML"):
        load_dictionaries(tmp_path)
    with pytest.raises(DictionaryError, match="k must be a whole number"):
        load_dictionaries(transcoder_set(tmp_path, (0, 1, 2), activation="topk", k="[1, 2]"))


def test_a_digest_tells_where_features_read(tmp_path):
    first = load_dictionary(made(tmp_path))
    elsewhere = made(tmp_path, metadata={"hook_name": "blocks.2.hook_resid_post"})
    assert load_dictionary(elsewhere).digest != first.digest


def test_a_transcoder_that_writes_at_another_layer_has_no_known_place(tmp_path):
    hooks = {"hook_name": "blocks.0.ln2.hook_normalized", "hook_name_out": "blocks.3.hook_mlp_out"}
    assert load_dictionary(made(tmp_path, "transcoder", metadata=hooks)).place.writes == ""


MID = "blocks.1.hook_resid_mid"


def test_what_the_layout_cannot_say_is_not_written(tmp_path):
    first = load_dictionary(made(tmp_path))
    for odd in (
        replace(first, activation=Activation("topk", k=2)),
        replace(first, kind="transcoder", place=Place(1, "resid mid", "resid post", MID)),
    ):
        with pytest.raises(DictionaryError, match="to be written"):
            save_dictionary(odd, tmp_path / "odd")
        assert not (tmp_path / "odd").exists()
