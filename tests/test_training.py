import os
import subprocess
import sys
import types

import numpy as np
import pytest
from conftest import brightness

from sneakerlib import InputError
from sneakerlib.learning import augmentation, networks, pipeline, training
from sneakerlib.learning.quiet import keras


@pytest.fixture
def batches(fresh, tmp_path):
    """Training and validation batches of pictures whose classes are told apart by their brightness."""
    split, pixels = brightness(fresh, tmp_path)
    return [pipeline.batches(split, pixels, name, batch_size=4) for name in ("train", "val")]


def trained(batches, seed=0, **options):
    """All weights of a small network after two epochs, on batches of its own, as a new process would have them."""
    batches = [b and pipeline.Batches(b.catalog, b.pixels, b.labels, 4, b.shuffle, b.seed) for b in batches]
    training.seed_everything(seed)
    model = networks.scratch(["one", "two"], 32, filters=(4, 4))
    options = {"epochs": 2, "augmentation": augmentation.crops(seed), "progress": False} | options
    history = training.fit(model, *batches, **options)
    return np.concatenate([weight.ravel() for weight in model.get_weights()]), history


def answers(model, batches):
    return model.predict_on_batch(batches.pixels.array[batches.rows].astype("float32"))


def test_same_seed_same_weights_another_seed_others(batches):
    first, _ = trained(batches)
    assert np.array_equal(first, trained(batches)[0])
    assert not np.array_equal(first, trained(batches, seed=1)[0])


def test_training_learns_and_keeps_the_best_epoch(batches):
    training.seed_everything(0)
    model = networks.scratch(["one", "two"], 32, filters=(8, 8), dropout=0)
    history = training.fit(model, *batches, epochs=8, rate=0.01, progress=False)
    assert list(history.columns) == ["loss", "accuracy", "val_loss", "val_accuracy", "pixels", "kept"]
    assert history.loss.iloc[-1] < history.loss.iloc[0]
    right = answers(model, batches[1]).argmax(1) == batches[1].targets
    assert right.mean() == pytest.approx(history.val_accuracy.max())
    assert history.val_accuracy[history.kept].tolist() == [history.val_accuracy.max()]


class Stopped(BaseException):
    """What kills a training here."""


def stop_after(epochs, monkeypatch):
    """Let a training die right after the state of some epoch was written."""
    original = training.Keeper.on_epoch_end

    def dying(self, epoch, logs=None):
        original(self, epoch, logs)
        if epoch + 1 == epochs:
            raise Stopped

    monkeypatch.setattr(training.Keeper, "on_epoch_end", dying)


@pytest.mark.parametrize("epochs", [1, 2, 4])
def test_a_training_that_was_stopped_goes_on_to_the_same_weights(batches, tmp_path, monkeypatch, epochs):
    whole, history = trained(batches, epochs=4)
    with monkeypatch.context() as patched, pytest.raises(Stopped):
        stop_after(epochs, patched)
        trained(batches, epochs=4, checkpoint=tmp_path / "c")
    resumed, again = trained(batches, epochs=4, checkpoint=tmp_path / "c")
    assert np.array_equal(whole, resumed)
    assert history.equals(again)


def staged(fresh, tmp_path, **options):
    """A network for pictures of 48 pixels, trained on those of 32 first."""
    training.seed_everything(0)
    stages = []
    for size, epochs in ((32, 2), (48, 2)):
        split, pixels = brightness(fresh, tmp_path, size)
        train, val = pipeline.learned_and_judged(split, pixels, ["one", "two"], seed=0)
        stages.append(training.Stage(networks.scratch(["one", "two"], size, filters=(4, 4)), train, val, epochs))
    history = training.fit_stages(stages, 0.01, augmentation=augmentation.light(0), progress=False, **options)
    return stages, history


def test_a_stage_takes_over_what_the_one_before_has_learned(fresh, tmp_path):
    stages, history = staged(fresh, tmp_path)
    assert history.pixels.tolist() == [32, 32, 48, 48]
    assert history.loss.iloc[2] < history.loss.iloc[0]
    assert not history.kept.iloc[:2].any()  # smaller pictures are no match
    right = answers(stages[-1].model, stages[-1].val).argmax(1) == stages[-1].val.targets
    assert right.mean() == history.val_accuracy[history.kept].iloc[0]


def test_stages_go_on_where_they_were_stopped(fresh, tmp_path, monkeypatch):
    whole, history = staged(fresh, tmp_path)
    with monkeypatch.context() as patched, pytest.raises(Stopped):
        stop_after(3, patched)
        staged(fresh, tmp_path, checkpoint=tmp_path / "c")
    resumed, again = staged(fresh, tmp_path, checkpoint=tmp_path / "c")
    assert history.equals(again)
    pairs = zip(whole[-1].model.get_weights(), resumed[-1].model.get_weights(), strict=True)
    assert all(np.array_equal(one, other) for one, other in pairs)


def test_without_validation_the_last_epoch_is_kept(batches):
    _, history = trained([batches[0], None])
    assert history.kept.tolist() == [False, True]
    assert history.val_accuracy.isna().all()


def test_class_weights_let_every_class_count_alike():
    targets = np.array([0] * 30 + [1] * 10)
    weights = training.class_weights(targets)
    assert weights[0] * 30 == pytest.approx(weights[1] * 10)
    assert np.mean([weights[target] for target in targets]) == pytest.approx(1)


def test_class_weights_change_what_is_learned(batches):
    rows = batches[0].catalog
    few = pipeline.Batches(
        rows[rows.label.eq("one") | rows.path.eq(rows.path[rows.label.eq("two")].iloc[0])],
        batches[0].pixels,
        ["one", "two"],
        4,
    )
    plain, weighted = (trained([few, batches[1]], balanced=balanced)[0] for balanced in (False, True))
    assert not np.array_equal(plain, weighted)


def test_progress_tells_that_it_compiles_and_how_long_it_takes(batches, capsys):
    training.fit(networks.scratch(["one", "two"], 32, filters=(4,)), *batches, epochs=2)
    lines = capsys.readouterr().out.splitlines()
    assert "compiling" in lines[0]
    assert "epoch   1/2" in lines[1]
    assert "s left" in lines[1]
    assert " 0 s left" in lines[2]


def test_who_watches_sees_a_bar_move(batches, capsys, monkeypatch):
    monkeypatch.setattr(training, "watched", lambda: True)
    training.fit(networks.scratch(["one", "two"], 32, filters=(4,)), *batches, epochs=1)
    assert "#" in capsys.readouterr().out


def test_logs_without_tensorboard_are_an_error_that_says_what_to_install(batches, tmp_path, monkeypatch):
    monkeypatch.setattr(training.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install tensorboard"):
        trained(batches, logs=tmp_path)


def test_tensorboard_shows_the_curves_of_the_history(batches, tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed: pip install tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util import tensor_util

    _, history = trained(batches, logs=tmp_path)
    for folder, column in (("train", "accuracy"), ("validation", "val_accuracy")):
        found = EventAccumulator(str(tmp_path / folder)).Reload().Tensors("epoch_accuracy")
        shown = [float(tensor_util.make_ndarray(event.tensor_proto)) for event in found]
        assert shown == pytest.approx(history[column].tolist(), abs=1e-6)


@pytest.mark.parametrize("recipe", [augmentation.light, augmentation.crops, augmentation.standard])
def test_augmentation_changes_training_pictures_only(recipe):
    changes = recipe(0)
    picture = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype("float32")
    assert np.array_equal(changes(picture, training=False), picture)
    assert not np.allclose(changes(picture, training=True), picture)


def test_an_augmentation_serves_pictures_of_several_sizes():
    changes = augmentation.crops(0)
    for size in (32, 48):
        network = training.augmented(networks.linear(["a", "b"], size), changes)
        assert network.predict_on_batch(np.zeros((1, size, size, 3), "float32")).shape == (1, 2)


@pytest.mark.parametrize(("platform", "warned"), [("cpu", True), ("gpu", False)])
def test_jax_without_a_gpu_is_warned_of(monkeypatch, recwarn, platform, warned):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    devices = [types.SimpleNamespace(platform=platform)]
    monkeypatch.setitem(sys.modules, "jax", types.SimpleNamespace(devices=lambda: devices))
    training._warn_of_a_slow_backend()
    assert ["KERAS_BACKEND=tensorflow" in str(one.message) for one in recwarn] == [True] * warned


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator is that of Linux")
def test_a_step_takes_its_memory_from_the_steps_before():
    # In a process of its own: with oneDNN, TensorFlow has an allocator of its own, and there is nothing to see.
    code = """
import resource
import numpy as np, pandas as pd
from sneakerlib.learning import networks, pipeline, training
rows = pd.DataFrame({"path": list("abcdefghijklmnop"), "label": ["one", "two"] * 8})
pixels = pipeline.Pixels(np.zeros((16, 32, 32, 3), np.uint8), {path: at for at, path in enumerate(rows.path)}, 32)
batches = pipeline.Batches(rows, pixels, ["one", "two"], 8)
model = networks.scratch(["one", "two"], 32)
def faults(epochs):
    begun = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    training.fit(model, batches, None, epochs, progress=False)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - begun
faults(1)
few, many = faults(1), faults(21)  # the difference is not of building and compiling
print((many - few) / 20 / len(batches))
"""
    command, plain = [sys.executable, "-c", code], os.environ | {"TF_ENABLE_ONEDNN_OPTS": "0"}
    shown = subprocess.run(command, env=plain, capture_output=True, text=True, check=True).stdout
    assert float(shown.split()[-1]) < 300
