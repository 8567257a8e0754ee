"""Pico's dictionaries: categories of the grammar, what features stand for, and the card."""

import importlib.util
import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from circuitkit.dictionaries.training.places import TrainedPlace, read_places
from circuitkit.dictionaries.training.prompts import batch_of
from circuitkit.errors import DictionaryError
from circuitkit.zoo import load_model
from circuitkit.zoo.dictionaries import (
    PICO,
    load_dictionary,
    shipped_dictionaries,
    shipped_folder,
)
from circuitkit.zoo.pico import train_dictionaries as recipe
from circuitkit.zoo.pico.categories import (
    GIVING,
    ROLES,
    Labelled,
    categories_of,
    category_names,
    labelled_sequences,
)
from circuitkit.zoo.pico.language import Document, training_document
from circuitkit.zoo.pico.monosemantic import measure_monosemantic
from circuitkit.zoo.pico.random_directions import random_like
from circuitkit.zoo.pico.tokenizer import build_tokenizer
from circuitkit.zoo.pico.train import training_sequence

CARD = json.loads((PICO / "card.json").read_text())
NAMES = [each.name for each in shipped_dictionaries()]


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer()


@pytest.fixture(scope="module")
def pico():
    return load_model("pico")


def named(tokenizer, kind, text):
    tokens = tokenizer.backend_tokenizer.encode(text).tokens
    return list(zip(tokens, categories_of(Document(kind, text), tokens), strict=True))


def places_of(found, category):
    return [place for place, (_, names) in enumerate(found) if category in names]


def test_who_gives_and_who_gets_is_known_of_a_sentence_of_giving(tokenizer):
    found = named(
        tokenizer, "ioi", "When Mary and John went to the store, John gave a drink to Mary."
    )
    assert [places_of(found, role) for role in ROLES] == [[1], [3], [9], [14]]
    assert places_of(found, "before receiver") == [13]
    assert places_of(found, "verb of giving") == [10]
    assert places_of(found, "seen before in this document") == [9, 13, 14]  # John, to, Mary
    assert places_of(found, "name seen before") == [9, 14]
    assert places_of(found, "before full stop") == [14]
    assert places_of(found, "last token") == [15]


def test_repeated_words_surnames_facts_and_years_are_known(tokenizer):
    found = named(tokenizer, "repeat", "List: table chair table chair")
    assert places_of(found, "first time in a list") == [2, 3]
    assert places_of(found, "repeated word of a list") == [4, 5]
    text = "Everyone at the store knows Mary Smith. The key was for Mary Smith."
    found = named(tokenizer, "full-name", text)
    assert places_of(found, "name with a surname") == [5, 12]
    assert places_of(found, "name whose surname was given") == [12]
    assert places_of(found, "surname seen before") == [13]
    text = "The capital of France is Paris. The people of Rome are citizens of Italy."
    found = named(tokenizer, "fact", text)
    assert [found[p][0] for p in places_of(found, "subject of a fact")] == ["France", "Rome"]
    assert [found[p][0] for p in places_of(found, "answer of a fact")] == ["Paris", "Italy"]
    assert [found[p][0] for p in places_of(found, "before an answer of a fact")] == ["is", "of"]
    found = named(tokenizer, "years", "The war lasted from 1633 to 1675.")
    assert [found[p][0] for p in places_of(found, "start century")] == ["16"]
    assert [found[p][0] for p in places_of(found, "end year")] == ["75"]


def test_every_document_of_every_kind_can_be_read_and_no_category_is_unknown(tokenizer):
    known, rng = set(category_names()), random.Random(0)
    seen = set()
    for kind in ("ioi", "abc", "repeat", "full-name", "fact", "years", "plain"):
        for _ in range(40):
            document = training_document(rng, kind)
            tokens = tokenizer.backend_tokenizer.encode(document.text).tokens
            found = categories_of(document, tokens)
            counts = [sum(role in names for names in found) for role in ROLES]
            assert counts == [int(kind in GIVING)] * 4
            seen |= set().union(*found)
    assert seen <= known
    assert len(known) == len(category_names()) == 79
    assert len(known - seen) <= 2  # all but rare ones come up


def test_sequences_with_categories_are_those_of_training(tokenizer):
    labelled = labelled_sequences(tokenizer, 3, seed="s")
    rng = random.Random("s")
    first = training_sequence(tokenizer, rng)
    assert labelled.ids[0].tolist() == first
    place = labelled.ids[0, 1:].tolist().index(tokenizer.convert_tokens_to_ids("the"))
    names = [labelled.categories[i] for i in labelled.truths[0, place].nonzero()[:, 0].tolist()]
    assert "article" in names


def stand_in(n=40, length=21, seed=0):
    """Sequences of random words of which a category is true on a third of the tokens."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, 9, (n, length), generator=generator)
    truths = torch.rand(n, length - 1, 2, generator=generator) < 0.3
    return Labelled(ids, ("first", "second"), truths)


def test_a_feature_that_is_a_category_or_a_word_is_monosemantic_and_a_random_one_is_not():
    labelled = stand_in()
    here, truths = labelled.ids[:, 1:].flatten(), labelled.truths.flatten(0, 1)
    noise = torch.rand(len(here), generator=torch.Generator().manual_seed(1)) < 0.3
    follows = torch.cat([labelled.ids[:, 2:], labelled.ids[:, :1]], 1).flatten() == 3
    rare = torch.zeros_like(noise)
    rare[:15] = truths[:15, 0]
    active = torch.stack([truths[:, 1], here == 4, follows, noise, rare], 1)
    found = measure_monosemantic(labelled, active, lambda word: f"w{word}")
    assert [match.feature for match in found.matches] == [0, 1, 2, 3]  # the rare one is left out
    assert [match.what for match in found.matches[:3]] == ["second", "'w4'", "before 'w3'"]
    assert [match.f1 for match in found.matches[:3]] == [1, 1, 1]
    assert found.matches[3].f1 < 0.5
    assert (found.share.value, found.by_category.value, found.by_word.value) == (0.75, 0.25, 0.5)
    assert found.n_categories == 1


def test_f1_is_that_of_sequences_that_did_not_choose_the_category():
    labelled = stand_in()
    truths = labelled.truths.flatten(0, 1)
    half = len(truths) // 2
    changing = torch.cat([truths[:half, 0], truths[half:, 1]]).unsqueeze(1)
    match = measure_monosemantic(labelled, changing, str).matches[0]
    assert match.what == "first"
    assert match.f1 < 0.5


def test_random_directions_are_active_as_often_as_features_and_fitted_best():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(500, 12, generator=generator) + 3
    active = torch.rand(500, 30, generator=generator) < torch.linspace(0, 0.4, 30)
    control = random_like(x, active, seed=1)
    f = control.encode(x)
    assert (f > 0).sum(0).tolist() == active.sum(0).tolist()
    left = (x - control.decode(f)).pow(2).sum()
    for shift in (0.01, -0.01):
        other = replace(control, w_dec=control.w_dec + shift)
        assert (x - other.decode(f)).pow(2).sum() > left
    assert left < (x - x.mean(0)).pow(2).sum()


@pytest.mark.parametrize("name", NAMES)
def test_what_ships_is_worth_what_the_card_says(name, pico, tokenizer):
    made = load_dictionary(name)
    layer, is_transcoder = int(name[6]), name.endswith("-transcoder")
    assert (made.place.layer, made.place.writes, made.name) == (layer, "mlp out", name)
    assert made.place.reads == ("mlp scaled" if is_transcoder else "mlp out")
    assert made.w_enc.shape == (128, 512)
    assert made.w_enc.dtype == torch.float32
    assert json.loads((shipped_folder(name) / "cfg.json").read_text())["dtype"] == "float32"
    torch.testing.assert_close(made.w_dec.norm(dim=1), torch.ones(512), rtol=0, atol=1e-3)
    of = "transcoder" if is_transcoder else "sae"
    row = next(r for r in CARD["rows"] if (r["of"], r["place"]) == (of, f"m{layer}"))
    prompts = labelled_sequences(tokenizer, 60, seed="card 0").ids.tolist()
    place = TrainedPlace(f"m{layer}", layer, is_transcoder)
    x, y = read_places(pico, batch_of(prompts), [place], "content")[place.name]
    f = made.encode(x)
    left = (y - made.decode(f, x)).pow(2).sum() / (y - y.mean(0)).pow(2).sum()
    said = row["quality"]
    assert float(1 - left) == pytest.approx(said["explained_variance"]["value"], abs=0.01)
    assert float((f > 0).sum(1).float().mean()) == pytest.approx(said["l0"], abs=0.4)


def test_features_beat_both_controls_on_the_card_and_cost_little_to_ship():
    rows = {(row["of"], row["place"]): row for row in CARD["rows"]}
    for layer in range(4):
        place = f"m{layer}"
        sae, random_one = rows["sae", place], rows["random directions", place]
        untrained = rows["sae of an untrained model", place]
        for key in ("explained_variance", "recovered_from_mean"):
            assert sae["quality"][key]["value"] > random_one["quality"][key]["value"]
        assert abs(sae["quality"]["l0"] - random_one["quality"]["l0"]) < 0.2
        own = sae["monosemantic"]["share"]["value"]
        assert own > random_one["monosemantic"]["share"]["value"]
        assert own > untrained["monosemantic"]["share"]["value"]
        assert untrained["quality"]["recovered_from_mean"] is None
    assert sum(path.stat().st_size for path in PICO.rglob("*") if path.is_file()) < 3e6
    assert {path.name for path in PICO.iterdir() if path.is_dir()} == {n[5:] for n in NAMES}


def test_a_name_that_does_not_ship_is_refused_with_those_that_do():
    with pytest.raises(DictionaryError, match=r"'pico:m4': must be one of pico:m0, .*folder"):
        load_dictionary("pico:m4")


def test_a_folder_is_read_as_it_is():
    folder = shipped_folder("pico:m1")
    assert load_dictionary(folder).w_enc.dtype == torch.float16
    assert load_dictionary(folder).digest == load_dictionary("pico:m1").digest


def test_the_recipe_writes_every_dictionary_and_a_card_of_all_with_both_controls(
    pico, tmp_path, monkeypatch
):
    small = replace(recipe.SAE, steps=2, n_features=24, prompts_per_step=4)
    monkeypatch.setattr(recipe, "SAE", small)
    monkeypatch.setattr(recipe, "TRANSCODER", replace(small, kind="transcoder"))
    monkeypatch.setattr(recipe, "N_SEQUENCES", 30)
    monkeypatch.setattr(recipe, "N_RUN", 6)
    monkeypatch.setattr("circuitkit.dictionaries.training.train.THRESHOLD_STEPS", 1)
    recipe.train_pico_dictionaries(pico, tmp_path, lambda _: lambda *_: None, seed=3)
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    files = ("cfg.json", "sae_weights.safetensors")
    assert found == {"card.json"} | {f"{name[5:]}/{file}" for name in NAMES for file in files}
    card = json.loads((tmp_path / "card.json").read_text())
    shipped = {(row["of"], row["place"]) for row in CARD["rows"]}
    assert len(shipped) == len(CARD["rows"]) == 16
    assert {(row["of"], row["place"]) for row in card["rows"]} == shipped
    assert card["seed"] == card["plans"]["sae"]["seed"] == card["plans"]["transcoder"]["seed"] == 3
    stored = load_file(tmp_path / "m2" / "sae_weights.safetensors")
    assert stored["W_enc"].shape == (128, 24)
    assert {value.dtype for value in stored.values()} == {torch.float16}


def test_the_page_is_made_of_the_card():
    path = Path(__file__).parents[2] / "docs" / "pico_dictionaries.py"
    spec = importlib.util.spec_from_file_location("pico_dictionaries", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.PAGE.read_text(encoding="utf-8") == module.page()
