"""`circuitkit dictionary`: a card of what a file holds, and of how it does on a model."""

import json

import pytest
import torch
import yaml
from safetensors.torch import save_file
from typer.testing import CliRunner

from circuitkit.cli.app import app
from circuitkit.dictionaries.dictionary import Dictionary, Place
from circuitkit.dictionaries.reading import load_dictionary
from circuitkit.dictionaries.saelens import save_dictionary
from circuitkit.dictionaries.trial import try_dictionary
from circuitkit.study.subject import Request, subject_of
from tests.conftest import random_pairs

RUNNER = CliRunner()
D = 20


def call(*words):
    return RUNNER.invoke(app, [str(word) for word in words])


def said(done):
    return " ".join(done.output.split())


@pytest.fixture(scope="module")
def prompts(tmp_path_factory):
    path = tmp_path_factory.mktemp("prompts") / "pairs.jsonl"
    lines = [
        {
            "clean": pair.clean,
            "corrupted": pair.corrupted,
            "answers": pair.answers,
            "wrong_answers": pair.wrong_answers,
        }
        for pair in random_pairs(12, lengths=(7,))
    ]
    path.write_text("\n".join(json.dumps(line) for line in lines))
    return path


def signs(hook="blocks.1.hook_resid_post", bias=-1.0):
    eye = torch.eye(D)
    place = Place(1, "resid post", "resid post", hook)
    return Dictionary(
        kind="standard",
        w_enc=torch.cat([eye, -eye], 1),
        b_enc=torch.full((2 * D,), bias),
        w_dec=torch.cat([eye, -eye]),
        b_dec=torch.zeros(D),
        place=place,
    )


@pytest.fixture
def sae(tmp_path):
    told = {"neuronpedia_id": "toy/1-res"}
    save_dictionary(signs(), tmp_path / "sae", model="toy", told=told)
    return tmp_path / "sae"


def transcoders(folder, *, kind="transcoder_set", n=2):
    """A set in circuit-tracer's layout: zeros that read behind the norm and write the MLP's."""
    folder.mkdir()
    config = {
        "model_kind": kind,
        "feature_input_hook": "mlp.hook_in",
        "feature_output_hook": "mlp.hook_out",
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    for i in range(n):
        if kind == "transcoder_set":
            tensors = {"W_enc": torch.eye(D), "W_dec": torch.eye(D) / 9}
            tensors |= {"b_enc": torch.zeros(D), "b_dec": torch.zeros(D)}
            save_file(tensors, folder / f"layer_{i}.safetensors")
        else:
            read = {f"W_enc_{i}": torch.eye(D), f"b_enc_{i}": torch.zeros(D)}
            read[f"b_dec_{i}"] = torch.zeros(D)
            save_file(read, folder / f"W_enc_{i}.safetensors")
            written = {f"W_dec_{i}": torch.zeros(D, n - i, D)}
            save_file(written, folder / f"W_dec_{i}.safetensors")
    return folder


def test_without_a_task_the_card_says_what_the_file_says_and_loads_no_model(sae):
    done = call("dictionary", sae, "--model", "no-such-model")
    assert done.exit_code == 0, done.output
    for words in ("standard", "40", "reads 20, writes 20", "layer 1, resid post"):
        assert words in said(done)
    assert "https://www.neuronpedia.org/toy/1-res" in done.output
    assert load_dictionary(sae).digest in done.output
    assert "L0" not in done.output
    [facts] = json.loads(call("dictionary", sae, "--json").stdout)
    assert (facts["features"], facts["layer"], facts["trial"]) == (40, 1, None)


def test_with_prompts_the_card_says_how_it_did(sae, toy_directory, prompts):
    words = ("dictionary", sae, "--model", toy_directory, "--prompts", prompts)
    done = call(*words)
    assert done.exit_code == 0, done.output
    [facts] = json.loads(call(*words, "--json").stdout)
    subject = subject_of(Request(prompts=prompts, model=str(toy_directory), n=32))
    found = try_dictionary(load_dictionary(sae), subject.model, subject.splits.discovery)
    for name, value in found.as_dict().items():
        is_number = isinstance(value, float)
        assert facts["trial"][name] == (pytest.approx(value, rel=1e-6) if is_number else value)
    assert facts["refused"] == ""
    for number in (
        f"explained variance │ {found.explained_variance:.3f}",
        f"L0 │ {found.l0:.1f}",
        f"loss at the answer │ {found.loss:.3f} nats",
        f"with zeros │ {found.loss_with_zero:.3f} nats",
        f"dead on these tokens │ {found.dead_share:.1%}",
    ):
        assert number in said(done)
    assert "loss recovered" in said(done)


def test_the_place_can_be_said_where_the_file_does_not(tmp_path, toy_directory, prompts):
    save_dictionary(signs(hook="model.somewhere"), tmp_path)
    words = ("dictionary", tmp_path, "--model", toy_directory, "--prompts", prompts, "--json")
    done = call(*words)
    assert done.exit_code == 2
    [facts] = json.loads(done.stdout)
    assert "Say it: --layer N" in facts["refused"]
    done = call(*words, "--layer", 2, "--site", "attn-out", "--with-bos")
    assert done.exit_code == 0, done.output
    trial = json.loads(done.stdout)[0]["trial"]
    assert (trial["layer"], trial["reads"], trial["writes"]) == (2, "attn out", "attn out")


def test_a_dictionary_that_does_not_fit_is_shown_and_refused_by_a_sentence(sae, prompts):
    done = call("dictionary", sae, "--prompts", prompts)  # on pico, which is wider
    assert done.exit_code == 2
    assert "layer 1, resid post" in said(done)
    assert "Not tried" in done.output
    assert "what is read at resid post must be 128 wide" in said(done)


def test_every_dictionary_of_a_folder_has_a_row(tmp_path, toy_directory, prompts):
    save_dictionary(signs(), tmp_path / "a")
    save_dictionary(signs(hook="model.somewhere"), tmp_path / "b")
    words = ("dictionary", tmp_path, "--model", toy_directory, "--prompts", prompts)
    done = call(*words)
    assert done.exit_code == 0, done.output  # one of them could be tried
    assert "layer 1, resid post" in said(done)
    assert "model.somewhere" in said(done)
    assert "its layer must be known" in said(done)
    first, second = json.loads(call(*words, "--json").stdout)
    assert first["trial"]["explained_variance"] > 0
    assert second["trial"] is None


def test_each_transcoder_of_a_set_is_tried_and_none_of_a_cross_layer_set(
    tmp_path, toy_directory, prompts
):
    plain = transcoders(tmp_path / "plain")
    words = ("--model", toy_directory, "--prompts", prompts, "--json")
    found = json.loads(call("dictionary", plain, *words).stdout)
    assert [facts["layer"] for facts in found] == [0, 1]
    for layer, facts in enumerate(found):  # each was run: on its own layer
        assert facts["trial"] is None
        assert f"the variance of mlp out in layer {layer} of" in facts["refused"]
    cross = transcoders(tmp_path / "cross", kind="cross_layer_transcoder")
    done = call("dictionary", cross, *words)
    assert done.exit_code == 2
    for facts in json.loads(done.stdout):
        assert facts["kind"] == "cross_layer_transcoder"
        assert "must write at its own layer alone" in facts["refused"]
    assert call("dictionary", cross).exit_code == 0


def test_a_layer_is_not_said_of_several(tmp_path):
    done = call("dictionary", transcoders(tmp_path / "plain"), "--layer", 1)
    assert done.exit_code == 2
    assert "--layer: must be said of one dictionary, got 1 for 2" in said(done)


def test_what_is_no_dictionary_is_refused_before_a_model_is_loaded(tmp_path):
    done = call("dictionary", tmp_path, "ioi", "--model", "no-such-model")
    assert done.exit_code == 2
    assert "must hold one of" in said(done)
