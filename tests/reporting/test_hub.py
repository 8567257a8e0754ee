"""Circuits on the Hugging Face Hub, against a Hub on this machine: the library's own code runs."""

import json
import re
import time
from dataclasses import replace

import huggingface_hub
import pytest
import yaml
from huggingface_hub import constants
from typer.testing import CliRunner

from circuitkit.circuits.circuit import Circuit
from circuitkit.circuits.file import load_circuit, save_circuit
from circuitkit.cli.app import app
from circuitkit.contracts.parsing import read_contracts
from circuitkit.errors import CircuitFileError, HubError
from circuitkit.reporting.hub import files_to_push, push_circuit
from circuitkit.reporting.model_card import model_card
from circuitkit.study.records import save_record
from circuitkit.work.hub import Address, address_of, fetched

from .conftest import SCRIPT
from .hub_stand_in import WRITER, hub_on_this_machine

TO = "hf://user/toy-circuit"


def set_endpoint(monkeypatch, url):
    """Set what the library reads from HF_ENDPOINT when it is imported."""
    monkeypatch.setattr(constants, "ENDPOINT", url)
    template = "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + template)


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A Hub on this machine, with a token that may write."""
    with hub_on_this_machine() as hub:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        set_endpoint(monkeypatch, hub.url)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("HF_TOKEN", WRITER)
        monkeypatch.setattr(time, "sleep", lambda seconds: None)  # between the library's retries
        huggingface_hub.close_session()
        yield hub
        huggingface_hub.close_session()


@pytest.fixture
def saved(record, tmp_path):
    save_record(record, tmp_path / "run")
    return tmp_path / "run"


def call(*words):
    done = CliRunner().invoke(app, [str(word) for word in words])
    return done.exit_code, " ".join(done.output.split())


def test_a_run_comes_back_as_the_same_circuit(hub, saved, circuit):
    commit = push_circuit(saved, TO)
    assert commit == f"{hub.url}/user/toy-circuit/commit/1"
    back = load_circuit(TO)
    assert back.edges == circuit.edges
    assert back.provenance == circuit.provenance
    assert back.scores.by_edge().tolist() == circuit.scores.by_edge().tolist()


def test_what_is_pushed_is_the_run_and_a_card_and_nothing_else(hub, saved):
    (saved / "secret.txt").write_text("mine")
    push_circuit(saved, TO)
    files = hub.files("user/toy-circuit")
    assert set(files) == {
        "README.md", "circuit.json", "validation.json", "patching.json", "run.toml",
    }  # fmt: skip
    for name, content in files.items():
        assert name == "README.md" or content == (saved / name).read_bytes()


def test_a_new_repository_is_private_unless_asked_and_an_old_one_stays_as_it_is(hub, saved):
    push_circuit(saved, TO)
    push_circuit(saved, "hf://user/open", private=False)
    push_circuit(saved, "hf://user/open", private=True)
    assert hub.private == {"user/toy-circuit": True, "user/open": False}
    assert len(hub.commits["user/open"]) == 3


def test_an_older_revision_can_be_loaded(hub, circuit, tmp_path):
    only = Circuit.of_edges(circuit.graph, ["input->logits"])
    for number, each in enumerate((circuit, only)):
        save_circuit(each, tmp_path / f"{number}.json")
        push_circuit(tmp_path / f"{number}.json", TO)
    assert load_circuit(TO).edges == only.edges
    assert load_circuit(f"{TO}@{1:040x}").edges == circuit.edges
    with pytest.raises(HubError, match="got no such revision"):
        load_circuit(f"{TO}@v9")


def test_a_copy_on_this_machine_is_read_where_there_is_no_network(hub, saved, monkeypatch):
    push_circuit(saved, TO)
    first = load_circuit(TO).edges
    set_endpoint(monkeypatch, "http://127.0.0.1:9")
    assert load_circuit(TO).edges == first


def test_the_reader_of_files_reads_what_a_repository_holds_as_strictly(hub, saved):
    push_circuit(saved, TO)
    for content, says in ((b"{", "complete JSON"), (b"{}", "keys cfg, nodes and edges")):
        hub.commits["user/toy-circuit"].append({"circuit.json": content})
        with pytest.raises(CircuitFileError, match=f"circuit file of {TO}.*{says}"):
            load_circuit(TO)


def test_nothing_but_the_circuit_is_fetched(hub, saved):
    push_circuit(saved, TO)
    hub.asked.clear()
    load_circuit(TO)
    assert {line.split()[1].rpartition("/")[2] for line in hub.asked} == {"circuit.json"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda hub: hub.commits.clear(), "must be there, got no such repository"),
        (
            lambda hub: hub.commits["user/toy-circuit"].append({"README.md": b""}),
            "must be one with circuit.json, got none with circuit.json",
        ),
        (lambda hub: setattr(hub, "breaks", True), "within reach|must be one that answers"),
    ],
)
def test_a_repository_that_cannot_be_read_is_a_sentence(hub, saved, change, says):
    push_circuit(saved, TO)
    change(hub)
    with pytest.raises(HubError, match=f"repository {TO}: .*({says})"):
        load_circuit(TO)


def test_no_network_is_a_sentence(hub, saved, monkeypatch):
    set_endpoint(monkeypatch, "http://127.0.0.1:9")
    with pytest.raises(HubError, match="within reach, got no way to it"):
        load_circuit(TO)
    with pytest.raises(HubError, match="must be one that answers"):
        push_circuit(saved, TO)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    huggingface_hub.close_session()
    with pytest.raises(HubError, match="HF_HUB_OFFLINE is not set"):
        push_circuit(saved, TO)


def test_without_a_token_nothing_is_asked_of_the_hub(hub, saved, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", "/nowhere")
    with pytest.raises(HubError, match="must be written with a token, got none.*hf auth login"):
        push_circuit(saved, TO)
    assert hub.asked == []


def test_a_token_that_may_not_write_is_a_sentence(hub, saved, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_reader")
    with pytest.raises(HubError, match="that the token may do this|got no such repository"):
        push_circuit(saved, TO)
    assert hub.commits == {}


@pytest.mark.parametrize(
    "text",
    [
        "hf://", "hf://user", "hf://user/name/more", "hf://../etc", "hf://user/a b", "hf://u/n@",
        "x/y", "hf://user/../x", "hf://user/a--b", "hf://user/n\x1b",
    ],
)  # fmt: skip
def test_an_address_of_another_form_is_refused(text):
    with pytest.raises(HubError, match="must be hf://user/name or"):
        address_of(text)


def test_an_address_may_have_lost_a_slash_as_paths_do():
    for text in ("hf://u.s-er/n_1.2@v1", "hf:/u.s-er/n_1.2@v1"):
        assert address_of(text) == Address("u.s-er/n_1.2", "v1")
    assert str(Address("u/n", "v1")) == "hf://u/n@v1"


def test_the_card_says_verdict_intervals_and_how_to_load(record, circuit):
    card = model_card(circuit, Address("user/name"), record)
    verdict = record.validation.verdict
    for check in verdict.checks:
        row = re.search(rf"^\| {check.criterion} \|.*$", card, re.MULTILINE)
        assert bool(row) == check.is_judged
    assert "0.876 \\[0.814, 0.939\\]" in card
    assert "6 of 75 edges" in card
    assert 'ck.load_circuit("hf://user/name")' in card
    assert "40 held-out pairs under mean ablation" in card
    assert "base_model" not in card  # `tiny` is no name of the Hub's


def test_the_head_of_a_card_is_yaml_whatever_a_stranger_wrote(circuit, record):
    def card_of(model):
        origin = replace(circuit.provenance, model=model, task=SCRIPT)
        return model_card(replace(circuit, provenance=origin), Address("u/n"), record)

    card = card_of("openai-community/gpt2")
    head = yaml.safe_load(card.split("---\n")[1])
    assert head["base_model"] == "openai-community/gpt2"
    assert head["library_name"] == "circuitkit"
    assert "<script" not in card
    for model in ("a/b: c", 'x/y"\nlicense: mit', SCRIPT, "tests/reporting", "../x"):
        assert "base_model" not in yaml.safe_load(card_of(model).split("---\n")[1])


def test_a_circuit_alone_says_that_its_checks_are_not_there(circuit, tmp_path):
    save_circuit(circuit, tmp_path / "c.json")
    card = files_to_push(tmp_path / "c.json", TO)["README.md"].decode()
    assert "No verdict comes with this circuit" in card


def test_commands_read_a_repository_wherever_they_read_a_circuit_file(hub, saved, tmp_path):
    code, output = call("push", saved, TO)
    assert (code, output.split()[0]) == (0, f"{hub.url}/user/toy-circuit/commit/1")
    code, output = call("diff", TO, saved, "--no-run", "--json", "-o", tmp_path / "d.svg")
    assert code == 0, output
    assert json.loads(output)["jaccard"] == 1.0
    code, output = call("export", TO, "-o", tmp_path / "c.graphml")
    assert code == 0, output
    code, output = call("validate", "hf://user/other")
    assert code == 2
    assert "HubError: repository hf://user/other: must be there" in output


def test_a_plan_shows_the_card_and_asks_nothing_of_the_hub(hub, saved):
    code, output = call("push", saved, TO, "--plan", "--json")
    plan = json.loads(output)
    assert code == 0
    assert plan["files"]["circuit.json"] == (saved / "circuit.json").stat().st_size
    assert plan["card"].startswith("---")
    assert hub.asked == []


def test_what_is_on_the_hub_is_not_pushed_again():
    with pytest.raises(HubError, match="must be on this machine"):
        files_to_push(TO, TO)


def test_a_fetched_file_lies_in_the_cache(hub, saved, tmp_path):
    push_circuit(saved, TO)
    assert fetched(address_of(TO), "circuit.json").is_relative_to(tmp_path / "cache")


def test_a_contract_may_name_a_circuit_on_the_hub(tmp_path):
    path = tmp_path / "pyproject.toml"
    path.write_text(
        '[[tool.circuitkit.contract]]\ncircuit = "hf://user/toy"\nfaithfulness = { min = 0.8 }\n'
        'drift = { baseline = "hf://user/toy@v1", min_jaccard = 0.5 }\n'
    )
    [contract] = read_contracts(path)
    assert address_of(contract.circuit) == Address("user/toy")
    assert address_of(contract.drift.baseline) == Address("user/toy", "v1")
