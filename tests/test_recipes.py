import dataclasses
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from sneakerlib import (
    InputError,
    auto,
    calibration,
    catalog,
    cli,
    cookbook,
    engines,
    evaluation,
    modelfolder,
    models,
    recipes,
    tuning,
)

pytestmark = pytest.mark.usefixtures("small_lites")

# Options that make a recipe quick, and that show what else it can do.
OPTIONS = {
    "linear": {"size": 16},
    "scratch": {"size": 32, "epochs": 1},
    "frozen": {"size": 64},
    "second-order": {"size": 64, "backbone": "efficientnet-lite0,efficientnet-lite1", "flip": True},
    "fine-tune-top": {"size": 64, "epochs": 1},
    "fine-tune": {"size": 64, "epochs": 1, "flip": True},
    "tuned-second-order": {"size": 64, "epochs": 1},
}


PLAIN = {"backbone": "efficientnet-lite0", "flip": False}


def train(table, recipe, out, **options):
    return recipes.train(table, recipe, out, progress=False, **OPTIONS[recipe] | options)


@pytest.mark.parametrize("recipe", cookbook.RECIPES)
def test_every_recipe_leaves_a_model_that_answers_as_its_history_says(table, tmp_path, recipe, monkeypatch):
    if recipe == "tuned-second-order":
        monkeypatch.setattr(tuning, "LARGER", 0.4)  # 64 pixels
    history = train(table, recipe, tmp_path / "m", cache=tmp_path / "c")
    saved = modelfolder.load(tmp_path / "m")
    answers = evaluation.predictions(saved, table, "val")
    if not OPTIONS[recipe].get("flip") or recipe == "second-order":  # flip averaging comes after the training
        assert answers.correct.mean() == pytest.approx(modelfolder.reached(history))
    assert saved.info["recipe"] == recipe
    assert saved.info["settings"]["backbones"] == OPTIONS[recipe].get("backbone", "efficientnet-lite0").split(",")
    picture = np.random.default_rng(0).integers(0, 256, (1, saved.size, saved.size, 3)).astype("float32")
    one, mirrored = (saved.model.predict_on_batch(x) for x in (picture, picture[:, :, ::-1]))
    assert np.allclose(one, mirrored, atol=1e-4) == OPTIONS[recipe].get("flip", False)
    assert not list((tmp_path / "c").glob("training-*"))


@pytest.mark.parametrize("recipe", ["frozen", "second-order", "fine-tune-top"])
def test_a_trained_model_knows_how_sure_it_may_be(table, tmp_path, recipe):
    train(table, recipe, tmp_path / "m", cache=tmp_path / "c")
    saved = modelfolder.load(tmp_path / "m")
    seen = evaluation.predictions(saved, table, "val")
    assert calibration.scaling(seen)[0] == pytest.approx(1, rel=0.02)
    assert saved.info["abstain_below"] == pytest.approx(calibration.sure_above(seen), abs=1e-3)
    plain = PLAIN if recipe == "second-order" else {}
    train(table, recipe, tmp_path / "final", cache=tmp_path / "c", final=True, **plain)
    final = modelfolder.load(tmp_path / "final")
    assert (final.temperature, final.info["abstain_below"]) == (1, 0)  # it has learned the validation pictures


@pytest.mark.parametrize("recipe", ["scratch", "second-order", "fine-tune-top"])
def test_a_final_model_keeps_the_score_that_it_had_before(table, tmp_path, recipe):
    plain = PLAIN if recipe == "second-order" else {}
    histories = [
        train(table, recipe, tmp_path / f"{final}", cache=tmp_path / "c", final=final, **plain) for final in (0, 1)
    ]
    assert histories[0].equals(histories[1])
    first, second = (modelfolder.load(tmp_path / f"{final}").model.get_weights() for final in (0, 1))
    assert any(not np.array_equal(one, other) for one, other in zip(first, second, strict=True))


def test_a_fine_tuned_network_gets_the_head_that_validation_prefers(table, tmp_path):
    history = train(table, "fine-tune", tmp_path / "m", cache=tmp_path / "c", flip=False)
    assert history.pixels.tolist()[-3:] == [64, 64, 90]  # as trained, and two solved heads
    assert history.val_accuracy[history.kept].tolist() == [history.val_accuracy.iloc[-3:].max()]
    saved = modelfolder.load(tmp_path / "m")
    assert saved.size == history.pixels[history.kept].item()
    assert evaluation.predictions(saved, table, "val").correct.mean() == pytest.approx(modelfolder.reached(history))


def test_balanced_classes_lead_to_other_weights(table, tmp_path):
    rows = table.drop(table.index[table.label.eq("aero")][:8])
    rows.attrs = table.attrs
    for balanced in (False, True):
        train(rows, "second-order", tmp_path / f"{balanced}", cache=tmp_path / "c", balanced=balanced, **PLAIN)
    one, other = (modelfolder.load(tmp_path / f"{balanced}").model.get_weights()[-2] for balanced in (False, True))
    assert not np.allclose(one, other)


def test_many_pictures_get_fewer_channels(table, tmp_path, monkeypatch):
    monkeypatch.setattr(cookbook, "MANY", 10)
    monkeypatch.setattr(cookbook, "FEWER_NUMBERS", 4 * 5)
    train(table, "second-order", tmp_path / "m", cache=tmp_path / "c", **PLAIN)
    train(table, "second-order", tmp_path / "r", cache=tmp_path / "c", **PLAIN, regions=True)
    train(table, "second-order", tmp_path / "t", cache=tmp_path / "c", **PLAIN, trim=True)
    for model, numbers in (("m", 4 * 5), ("r", 3 * 2 * 3), ("t", 2 * 3 * 4)):
        kernel, _ = modelfolder.load(tmp_path / model).model.get_layer("logits").get_weights()
        assert kernel.shape == (numbers, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"recipe": "magic"}, "there is no recipe 'magic': use auto, linear"),
        ({"recipe": "frozen", "epochs": 3}, "solved, not trained by epochs: leave --epochs out"),
        ({"recipe": "frozen", "minutes": 3}, "takes no budget of minutes: leave --minutes out"),
        ({"recipe": "scratch", "flip": True}, "does not look at mirror images: leave --flip out"),
        ({"recipe": "frozen", "regions": True}, "does not look at regions of a picture: leave --regions out"),
        ({"recipe": "frozen", "trim": True}, "does not trim pictures: leave --trim out"),
        ({"recipe": "frozen", "backbone": "a,b"}, "frozen takes one backbone: give one"),
        ({"recipe": "fine-tune", "size": "96,128"}, "fine-tune takes one size: give one"),
        ({"recipe": "linear", "size": "large"}, "size 'large' is no number of pixels"),
        ({"recipe": "linear", "size": 4}, "size 4 is too small"),
        ({"recipe": "scratch", "epochs": 0}, "epochs must be at least 1"),
        ({"recipe": "auto", "epochs": 3}, "auto decides by minutes: leave --epochs out"),
        ({"recipe": "auto", "minutes": 0}, "minutes must be more than 0"),
        ({"recipe": "linear", "logs": "logs"}, "writes no logs: leave --logs out"),
    ],
)
def test_an_option_that_would_be_passed_over_is_an_error(table, tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        recipes.train(table, out=tmp_path / "m", cache=tmp_path / "c", progress=False, **options)
    assert not (tmp_path / "m").exists()


def test_auto_tries_the_costlier_only_while_time_is_left(table, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(auto, "ways", lambda names: [("second-order", {"sizes": (size,)}) for size in (64, 96, 128)])
    cost = iter([1.0, 1e9])
    monkeypatch.setattr(auto, "describing", lambda task, recipe: next(cost))
    recipes.train(table, "auto", tmp_path / "m", cache=tmp_path / "c", minutes=5)
    info = modelfolder.load(tmp_path / "m").info
    tried = info["settings"]["tried"]
    assert [one["sizes"] for one in tried] == [[64], [96]]
    assert info["val_accuracy"] == max(one["val_accuracy"] for one in tried)
    assert "would take 1000000000 s or more" in capsys.readouterr().out


def test_auto_gives_the_rest_of_its_time_to_fine_tuning(table, tmp_path, monkeypatch):
    given = {}

    def spy(task):
        given["minutes"] = task.minutes
        return cookbook.RECIPES["linear"].run(dataclasses.replace(task, sizes=(16,)))

    names = ("second-order", "tuned-second-order")
    spied = {name: dataclasses.replace(cookbook.RECIPES[name], run=spy) for name in names}
    monkeypatch.setattr(auto, "RECIPES", cookbook.RECIPES | spied)
    monkeypatch.setattr(auto, "describing", lambda task, recipe: 60.0)
    recipes.train(table, "auto", tmp_path / "m", cache=tmp_path / "c", minutes=10, progress=False)
    assert 8 < given["minutes"] < 9


def test_the_larger_sisters_come_along_where_they_are_installed(monkeypatch):
    assert auto.ways(("efficientnet-lite0",))[1][1]["backbones"][-1] == "efficientnet-lite2"
    monkeypatch.setattr(auto, "installed", lambda name: name.endswith("0"))
    assert auto.ways(("efficientnet-lite0",))[1][1]["backbones"] == ("efficientnet-lite0",)
    assert {options["backbones"] for _, options in auto.ways(("resnet50",))[1:]} == {("resnet50",)}


def test_the_time_that_describing_takes_is_measured_on_what_is_new(fresh, tmp_path):
    network = models.features(models.linear(["a", "b"], 16))
    assert engines.seconds(network, fresh, tmp_path) > 0
    engines.features(fresh, network, cache=tmp_path, progress=False)
    assert engines.seconds(network, fresh, tmp_path) == 0


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
    killed, whole = (modelfolder.load(tmp_path / name) for name in ("killed", "whole"))
    pairs = zip(killed.model.get_weights(), whole.model.get_weights(), strict=True)
    assert all(np.array_equal(one, other) for one, other in pairs)
    assert killed.history.equals(whole.history)
