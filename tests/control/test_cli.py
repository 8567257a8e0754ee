"""The commands `steer`, `refusal` and `monitor`: what they show and write, and what they refuse."""

import json

import pytest
from typer.testing import CliRunner

from circuitkit.cli.app import app
from circuitkit.control.monitoring.scorer import load_scorer
from circuitkit.control.steering.classes import TwoClasses
from circuitkit.control.steering.split import parted
from circuitkit.control.steering.vector import load_vector
from circuitkit.errors import PromptError
from circuitkit.zoo.planted.refusal import planted_direction, requests

RUNNER = CliRunner()


def run(*words):
    return RUNNER.invoke(app, list(map(str, words)))


def refused(*words):
    done = run(*words)
    assert done.exit_code == 2, done.output
    return " ".join(done.output.split())


@pytest.fixture
def classes(tmp_path):
    file = tmp_path / "requests.jsonl"
    lines = [
        {"prompt": each.text, "label": each.is_harmful, "topic": each.topic}
        for each in requests(64, "cli")
    ]
    file.write_text("\n".join(json.dumps(line) for line in lines))
    return file


def test_refusal_finds_the_planted_direction_and_writes_it_with_its_curves(tmp_path):
    words = ["--n", "128", "--json", "--save", tmp_path / "v", "-o", tmp_path / "curves.png"]
    done = run("refusal", *words)
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)
    assert (found["vector"]["layer"], found["end"]) == (2, -1)
    assert found["held_out"]["selected"]["answered"]["value"] == 1
    assert found["held_out"]["random"]["answered"]["value"] == 0
    assert found["side_effects"]["changed"]["value"] == 0
    assert set(found["response"]) == {"selected", "random", "shuffled labels"}
    assert load_vector(tmp_path / "v").cosine(planted_direction(0)) > 0.95
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    shown = run("refusal", "--n", "64", "--ends", "1", "-q").output
    assert "Candidates, on validation prompts" in shown
    assert "On prompts held out" in shown


def test_refusal_reads_files_of_prompts_of_another_model(tmp_path):
    for name in ("harmful", "harmless"):
        lines = [r.text for r in requests(64, 0) if r.is_harmful == (name == "harmful")]
        (tmp_path / name).write_text("\n".join(lines))
    files = ["--harmful", tmp_path / "harmful", "--harmless", tmp_path / "harmless"]
    assert "must have both --harmful and --harmless for 'pico', got none" in refused(
        "refusal", "--model", "pico"
    )
    said = refused("refusal", *files)
    assert "must have none of --harmful and --harmless for 'planted-refusal'" in said
    (tmp_path / "harmful").write_text("\n".join(f"the song {n:02d}" for n in range(12)))
    (tmp_path / "harmless").write_text("\n".join(f"near the {n:02d}" for n in range(12)))
    said = refused("refusal", "--model", "pico", *files)
    assert "--tokens: must name one token or more, got none" in said
    said = refused("refusal", "--model", "pico", *files, "--tokens", " song")
    assert "harmful prompts must be refused" in said


def test_refusal_says_a_layer_beyond_the_limit_before_it_tries(tmp_path):
    assert "layers must be below 4" in refused("refusal", "--n", "32", "--layers", "4")
    assert "--layers: must be numbers divided by commas" in refused("refusal", "--layers", "two")
    assert "--ends: must be at least 1, got 0" in refused("refusal", "--ends", "0")
    assert "must end in .svg or .png" in refused("refusal", "-o", tmp_path / "curves.gif")


def test_steer_shows_doses_of_a_task_beside_its_controls(tmp_path):
    unrelated = tmp_path / "unrelated.txt"
    unrelated.write_text("\n".join(["the song of the", "near the table", "The table is near the"]))
    words = ["--n", "16", "--at", "r3", "--doses", "0,1", "--unrelated", unrelated, "--json"]
    done = run(
        "steer", "factual-recall", *words, "-o", tmp_path / "curves.svg", "--save", tmp_path / "v"
    )
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)
    assert set(found["response"]) == {"direction", "random", "shuffled labels"}
    assert [each["kl"]["value"] for each in found["side_effects"]][0] == 0
    first = [line[0]["value"] for line in found["response"].values()]
    assert first == [first[0]] * 3  # nothing is added
    assert "<svg" in (tmp_path / "curves.svg").read_text()
    assert load_vector(tmp_path / "v").point.site == "resid post"
    again = run(
        "steer", "factual-recall", "--n", "16", "--vector", tmp_path / "v", "--doses", "0,1", "-q"
    )
    assert "dose" in again.output


def test_steer_reads_two_classes_and_features_of_dictionaries(classes):
    model = ["--model", "planted-refusal", "--classes", classes, "--tokens", "sorry", "--json"]
    done = run("steer", *model, "--at", "r2", "--doses", "0,1")
    assert done.exit_code == 0, done.output
    line = json.loads(done.output)["response"]["direction"]
    assert line[0]["value"] < 0 < line[1]["value"]
    done = run(
        "steer", "factual-recall", "--n", "16", "--feature", "pico:m3#7", "--doses", "1", "--json"
    )
    assert done.exit_code == 0, done.output
    vector = json.loads(done.output)["vector"]
    assert (vector["site"], vector["layer"]) == ("mlp out", 3)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["ioi", "--classes", "c.jsonl"], "must have one of TASK, --prompts, --classes, got TASK"),
        ([], "must have one of TASK, --prompts, --classes, got none"),
        (["ioi", "--at", "r2", "--vector", "v"], "got --at and --vector"),
        (["ioi", "--doses", "one"], "--doses: must be numbers divided by commas"),
        (["ioi", "--n", "16", "--at", "x2"], "--at: must be r, m or a and a layer from 0 to 3"),
        (["ioi", "--n", "16", "--at", "r4"], "--at: must be r, m or a and a layer from 0 to 3"),
        (["ioi", "--n", "16", "--feature", "pico:m3"], "--feature: must be a dictionary and a num"),
        (["ioi", "--n", "16", "--vector", "nowhere"], "must hold vector.json"),
    ],
)
def test_steer_refuses_what_says_no_direction(words, message):
    assert message in refused("steer", *words)


def test_steer_refuses_tokens_that_are_none_and_a_direction_of_another_model(classes, tmp_path):
    model = ["--model", "planted-refusal", "--classes", classes]
    assert "--tokens: must name one token or more" in refused("steer", *model)
    assert "--tokens: each text must be one token" in refused(
        "steer", *model, "--tokens", "sorry now"
    )
    run("refusal", "--n", "64", "-q", "--save", tmp_path / "v")
    said = refused("steer", "ioi", "--n", "16", "--vector", tmp_path / "v")
    assert "must be 128 wide, as the residual stream of 'pico', got 158" in said


def test_monitor_writes_a_scorer_measured_on_held_out_topics(classes, tmp_path):
    words = ["monitor", classes, "--model", "planted-refusal", "--layer", "3"]
    held_out = ["--held-out", "crimes, games"]
    done = run(*words, *held_out, "--json", "-o", tmp_path / "scorer")
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)
    assert found["held_out"] == ["crimes", "games"]
    assert found["measured"]["auroc"]["value"] == 1
    scorer = load_scorer(tmp_path / "scorer")
    assert scorer.threshold == found["threshold"]
    shown = run(*words, *held_out, "-o", tmp_path / "scorer").output
    assert "recall at 1 % false alarms" in shown
    assert "some topics must be held out, and others not, got none. They are" in refused(*words)


def test_parts_share_no_prompt_and_hold_both_classes():
    ids = tuple((n % 30,) for n in range(40))
    prompts = TwoClasses(ids, tuple(n % 30 < 10 for n in range(40)), ("",) * 40)
    parts = parted(prompts, (0.5, 0.25, 0.25), 0)
    held = [set(part.ids) for part in parts]
    assert sum(map(len, held)) == len(set().union(*held)) == 30
    assert [sum(part.labels) for part in parts] == [5, 3, 2]
    with pytest.raises(PromptError, match="got 1 that are True"):
        parted(TwoClasses(((1,), (2,), (3,)), (True, False, False), ("",) * 3), (0.5, 0.5), 0)
    with pytest.raises(PromptError, match="got one that is in both"):
        parted(TwoClasses(((1,), (1,)), (True, False), ("",) * 2), (0.5, 0.5), 0)
