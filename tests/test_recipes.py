import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from sneakerlib import InputError, catalog, cli
from sneakerlib.learning import cookbook, model_folder, recipes

OPTIONS = {  # that make a recipe quick
    "second-order": {"size": 64},
    "frozen": {"size": 64},
    "fine-tune": {"size": 64, "epochs": 1},
    "scratch": {"size": 32, "epochs": 1},
    "linear": {"size": 16},
}


def train(table, recipe, out, **options):
    return recipes.train(table, recipe, out, progress=False, **OPTIONS[recipe] | options)


@pytest.fixture(scope="module")
def caches(tmp_path_factory):
    return tmp_path_factory.mktemp("caches")


@pytest.fixture(scope="module", params=OPTIONS)
def trained(request, table, caches, narrow_lites):
    """A recipe, trained: its name, history and model folder; and both once more, with validation pictures learned."""
    folder, both = caches / request.param, []
    for final in (False, True):
        history = train(table, request.param, folder / f"{final}", cache=caches / "c", final=final)
        both.append((history, model_folder.load(folder / f"{final}")))
    return request.param, *both


def test_every_recipe_has_options_here():
    assert OPTIONS.keys() == cookbook.RECIPES.keys()


def test_every_recipe_leaves_a_model_that_answers_as_its_history_says(trained, table, caches):
    recipe, (history, saved), (final_history, final) = trained
    seen = saved.predictions(table, "val")
    assert seen.correct.mean() == pytest.approx(model_folder.reached(history)) == saved.info["val_accuracy"]
    assert saved.info["recipe"] == recipe
    assert saved.info["settings"]["backbone"] == "efficientnet-lite0"
    assert saved.info["settings"]["size"] == OPTIONS[recipe]["size"]
    # it knows how sure it may be, if there were pictures to ask
    if recipe in ("second-order", "frozen"):  # others have not learned enough for a best temperature
        logits, targets = np.log(seen.filter(regex="^p_").to_numpy()), catalog.class_numbers(seen.label, saved.labels)
        assert model_folder.fit_temperature(logits, targets) == pytest.approx(1, rel=0.02)
    assert saved.info["abstain_below"] == pytest.approx(model_folder.fit_threshold(seen), abs=1e-3)
    assert (final.temperature, final.info["abstain_below"]) == (1, 0)  # it has learned the validation pictures
    # a final model keeps the score that it had before, and has learned more
    assert final_history.equals(history)
    pairs = zip(saved.model.get_weights(), final.model.get_weights(), strict=True)
    assert any(not np.array_equal(one, other) for one, other in pairs)
    assert not list((caches / "c").glob("training-*"))
    if recipe == "fine-tune":  # the head that validation prefers
        assert history.pixels.tolist()[-3:] == [64, 64, 90]  # as trained, and two solved heads
        assert history.val_accuracy[history.kept].tolist() == [history.val_accuracy.iloc[-3:].max()]
        assert saved.size == history.pixels[history.kept].item()


def test_without_validation_pictures_a_second_order_head_is_chosen_by_leaving_one_out(table, tmp_path, small_lites):
    rows = table.assign(split=table.split.replace("val", "train"))
    rows.attrs = table.attrs
    history = train(rows, "second-order", tmp_path / "m", cache=tmp_path / "c")
    assert history.kept.sum() == 1
    assert history.val_accuracy.isna().all()
    assert "not known" in (tmp_path / "m/card.md").read_text()
    assert model_folder.load(tmp_path / "m").predictions(rows, "test").correct.mean() > 1 / 3


def test_balanced_classes_lead_to_other_weights(table, tmp_path, small_lites):
    rows = table.drop(table.index[table.label.eq("aero")][:8])
    rows.attrs = table.attrs
    for balanced in (False, True):
        train(rows, "second-order", tmp_path / f"{balanced}", cache=tmp_path / "c", balanced=balanced)
    one, other = (model_folder.load(tmp_path / f"{balanced}").model.get_weights()[-2] for balanced in (False, True))
    assert not np.allclose(one, other)


def test_many_pictures_get_fewer_channels(table, tmp_path, monkeypatch, small_lites):
    monkeypatch.setattr(cookbook, "MANY", 10)
    monkeypatch.setattr(cookbook, "FEWER_NUMBERS", 4 * 5)
    train(table, "second-order", tmp_path / "m", cache=tmp_path / "c")
    kernel, _ = model_folder.load(tmp_path / "m").model.get_layer("logits").get_weights()
    assert kernel.shape == (3 * 2 * 3, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"recipe": "magic"}, "there is no recipe 'magic': use second-order, frozen"),
        ({"recipe": "frozen", "epochs": 3}, "solved, not trained by epochs: leave --epochs out"),
        ({"recipe": "linear", "size": 4}, "size 4 is too small"),
        ({"recipe": "scratch", "epochs": 0}, "epochs must be at least 1"),
        ({"recipe": "linear", "logs": "logs"}, "solved, not trained by epochs: leave --logs out"),
    ],
)
def test_an_option_that_would_be_passed_over_is_an_error(table, tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        recipes.train(table, out=tmp_path / "m", cache=tmp_path / "c", progress=False, **options)
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
    while not list(cache.glob("training-*/state.npz")):
        assert process.poll() is None
        assert time.monotonic() < deadline
    process.send_signal(signal.SIGKILL)
    process.wait()
    left = np.load(next(cache.glob("training-*/state.npz")))
    assert 1 <= len(json.loads(str(left["history"]))) < 12
    table = catalog.load(rows)
    for name, where in (("killed", cache), ("whole", tmp_path / "other")):
        train(table, "scratch", tmp_path / name, cache=where, epochs=12)
    killed, whole = (model_folder.load(tmp_path / name) for name in ("killed", "whole"))
    pairs = zip(killed.model.get_weights(), whole.model.get_weights(), strict=True)
    assert all(np.array_equal(one, other) for one, other in pairs)
    assert killed.history.equals(whole.history)
