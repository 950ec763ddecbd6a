import os
import signal
import sqlite3
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from sneakerlib import InputError, catalog, cli
from sneakerlib.cleaning import audit
from sneakerlib.learning import confidence, heads, model_folder, recipes
from sneakerlib.learning.features import features
from sneakerlib.sample import dataset

OPTIONS = {  # that make a recipe quick
    "second-order": {"size": 64},
    "frozen": {"size": 64},
    "fine-tune": {"size": 64, "epochs": 1},
    "scratch": {"size": 32, "epochs": 1},
}


def train(table, recipe, out, cache, **options):
    options = recipes.Options(recipe, **OPTIONS[recipe] | options)
    return recipes.train(table, out, options, cache=cache, progress=False)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Without wrong labels: narrow networks learn little from sixty pictures as it is."""
    folder = tmp_path_factory.mktemp("clean") / "shoes"
    dataset.make(folder, classes=3, per_class=20, seed=5, defects=False, progress=False)
    return audit.prepare(folder, progress=False)


@pytest.fixture(scope="module")
def caches(tmp_path_factory):
    return tmp_path_factory.mktemp("caches")


@pytest.fixture(scope="module", params=OPTIONS)
def trained(request, table, caches, narrow_lites):
    """A recipe, trained: its name, history and model folder; and both once more, with validation pictures learned."""
    folder, both = caches / request.param, []
    for final in (False, True):
        history = train(table, request.param, folder / f"{final}", caches / request.param / "c", final=final)
        both.append((history, model_folder.load(folder / f"{final}")))
    return request.param, *both


def test_every_recipe_has_options_here():
    assert OPTIONS.keys() == recipes.RECIPES.keys()


def test_every_recipe_leaves_a_model_that_answers_as_its_history_says(trained, table, caches):
    recipe, (history, saved), (final_history, final) = trained
    seen, cache = saved.predictions(table, "val"), caches / recipe / "c"
    assert seen.correct.mean() == pytest.approx(model_folder.best_accuracy(history)) == saved.info["val_accuracy"]
    pd.testing.assert_frame_equal(saved.history, history, check_dtype=False)
    assert saved.info["recipe"] == recipe
    assert saved.info["settings"]["backbone"] == "efficientnet-lite0"
    assert saved.info["settings"]["size"] == OPTIONS[recipe]["size"]
    # it knows how sure it may be, if there were pictures to ask
    logits, targets = confidence.log_probabilities(seen, saved.labels), catalog.class_numbers(seen.label, saved.labels)
    noise = saved.info["label_noise"]
    if recipe == "second-order":  # others have not learned enough for a best temperature
        assert confidence.fit_temperature(logits, targets, noise) == pytest.approx(1, rel=0.02)
        assert np.exp(logits)[np.arange(len(seen)), targets].mean() > 1 / 3
    assert saved.info["abstain_below"] == pytest.approx(confidence.fit_threshold(seen, noise=noise), abs=1e-3)
    # a final model has learned the validation pictures, so nothing is left to ask; its score is the one from before
    assert (final.temperature, final.info["abstain_below"]) == (1, 0)
    assert final_history.equals(history)
    pairs = zip(saved.model.get_weights(), final.model.get_weights(), strict=True)
    assert any(not np.array_equal(one, other) for one, other in pairs)
    assert not list(cache.glob("training-*"))
    if recipe != "scratch":  # no test picture was even looked at
        with sqlite3.connect(cache / "features.sqlite") as opened:
            described = {key for (key,) in opened.execute("SELECT key FROM vectors")}
        assert described == set(table.sha256[table.split.isin(["train", "val"])])
    if recipe == "frozen":
        for model, splits in ((saved, ["train"]), (final, ["train", "val"])):
            rows = catalog.usable(table)
            rows = rows[rows.split.isin(splits)]
            learned = features(rows, size=64, cache=cache, progress=False)
            wanted = heads.logistic(learned, catalog.class_numbers(rows.label, model.labels))
            for found, expected in zip(model.model.get_layer("logits").get_weights(), wanted, strict=True):
                assert np.allclose(found, expected, atol=1e-6)
    if recipe == "fine-tune":  # the head that validation prefers
        assert history.pixels.tolist()[-2:] == [64, 90]  # as trained, and a solved head
        assert history.val_accuracy[history.kept].tolist() == [history.val_accuracy.max()]
        assert saved.size == history.pixels[history.kept].item()


def test_without_validation_pictures_a_second_order_head_is_chosen_by_leaving_one_out(table, tmp_path, small_lites):
    rows = table.assign(split=table.split.replace("val", "train"))
    rows.attrs = table.attrs
    history = train(rows, "second-order", tmp_path / "m", tmp_path / "c")
    assert history.strength.item() in heads.STRENGTHS
    assert 1 / 3 < history.left_out_accuracy.item() <= history.accuracy.item()
    assert history.val_accuracy.isna().all()
    assert "not known" in (tmp_path / "m/card.md").read_text()
    assert model_folder.load(tmp_path / "m").predictions(rows, None).correct.mean() > 1 / 3


@pytest.mark.parametrize("recipe", ["fine-tune", "scratch", "frozen"])
def test_without_validation_pictures_others_are_trained_to_the_end(table, tmp_path, small_lites, recipe):
    rows = table.assign(split=table.split.replace("val", "train"))
    rows.attrs = table.attrs
    history = train(rows, recipe, tmp_path / "m", tmp_path / "c")
    assert history.kept.tolist() == [True]
    assert history.val_accuracy.isna().all()
    assert model_folder.load(tmp_path / "m").info["val_accuracy"] is None


@pytest.mark.parametrize("recipe", ["second-order", "frozen"])
def test_balanced_classes_lead_to_other_weights(table, tmp_path, small_lites, recipe):
    rows = table.drop(table.index[table.label.eq("aero")][:8])
    rows.attrs = table.attrs
    for balanced in (False, True):
        train(rows, recipe, tmp_path / f"{balanced}", tmp_path / "c", class_weights=balanced)
    one, other = (model_folder.load(tmp_path / f"{balanced}").model.get_weights()[-2] for balanced in (False, True))
    assert not np.allclose(one, other)


def test_many_pictures_get_fewer_channels(table, tmp_path, monkeypatch, small_lites):
    monkeypatch.setattr(recipes, "MANY", 10)
    monkeypatch.setattr(recipes, "FEWER_NUMBERS", 4 * 5)
    train(table, "second-order", tmp_path / "m", tmp_path / "c")
    kernel, _ = model_folder.load(tmp_path / "m").model.get_layer("logits").get_weights()
    assert kernel.shape == (3 * 2 * 3, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"recipe": "magic"}, "there is no recipe 'magic': use second-order, frozen"),
        ({"recipe": "frozen", "epochs": 3}, "solved, not trained by epochs: leave --epochs out"),
        ({"recipe": "second-order", "size": 4}, "size 4 is out of range: give a number from 32"),
        ({"recipe": "scratch", "epochs": 0}, "epochs 0 is out of range: give a number of 1 or more"),
        ({"recipe": "frozen", "logs": "logs"}, "solved, not trained by epochs: leave --logs out"),
    ],
)
def test_an_option_that_would_be_passed_over_is_an_error(table, tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        recipes.train(table, tmp_path / "m", recipes.Options(**options), cache=tmp_path / "c", progress=False)
    assert not (tmp_path / "m").exists()


def test_killed_while_it_trains_the_same_command_goes_on_to_the_same_model(shoes, tmp_path):
    """SIGKILL after the first epoch; what comes out equals what an undisturbed training gives, weight by weight."""
    rows = tmp_path / "c.csv"
    assert cli.main(["split", str(shoes), "--out", str(rows), "--no-features"]) == 0
    options = [str(rows), "--recipe", "scratch", "--size", "32", "--epochs", "12", "--json"]
    command = [sys.executable, "-m", "sneakerlib.cli", "train", *options, "--out", str(tmp_path / "killed")]
    cache = tmp_path / "cache"
    process = subprocess.Popen(command, env=os.environ | {"SNEAKERLIB_CACHE": str(cache)}, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(cache.glob("training-*/steps/state.weights.h5")):
        assert process.poll() is None
        assert time.monotonic() < deadline
    process.send_signal(signal.SIGKILL)
    process.wait()
    (left,) = cache.glob("training-*/steps/history.csv")
    assert 1 <= len(pd.read_csv(left)) < 12
    table = catalog.load(rows)
    for name, where in (("killed", cache), ("whole", tmp_path / "other")):
        history = train(table, "scratch", tmp_path / name, where, epochs=12)
        assert len(history) == 12
    killed, whole = (model_folder.load(tmp_path / name) for name in ("killed", "whole"))
    pairs = zip(killed.model.get_weights(), whole.model.get_weights(), strict=True)
    assert all(np.array_equal(one, other) for one, other in pairs)
    assert killed.history.equals(whole.history)
