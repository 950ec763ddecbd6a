import hashlib

import numpy as np
import pytest

from sneakerlib import InputError, catalog, heads, models, training, tuning
from sneakerlib.catalog import usable
from sneakerlib.quiet import keras

LABELS = ["one", "two"]
pytestmark = pytest.mark.usefixtures("small_lites")


@pytest.fixture
def split(fresh):
    return catalog.split(fresh, val=0.25, test=0)


def build(size):
    return models.classifier(models.backbone(size=size), LABELS)


def state(model):
    return {layer.name: layer.get_weights() for layer in model.layers if layer.weights}


def changed(before, model):
    """Names of the layers whose weights are no longer the same."""
    after = state(model)
    return {name for name in before if any(np.any(a != b) for a, b in zip(before[name], after[name], strict=True))}


@pytest.mark.parametrize("epochs", range(1, 25))
def test_a_plan_has_all_epochs_and_ends_with_the_largest_size(epochs):
    stages = tuning.plan(epochs)
    assert sum(count for _, count in stages) == epochs
    assert stages[-1][0] == tuning.SIZES[-1]
    assert [size for size, _ in stages] == sorted(size for size, _ in stages)
    assert all(count >= 1 for _, count in stages)


def test_a_budget_buys_what_fits_into_it():
    seconds = {96: 10.0, 128: 20.0, 160: 40.0}
    six = 3 * 5 + 3 * 10 + 2 * 20 + 40  # compiling three sizes, then 3, 2 and 1 epochs
    assert tuning.affordable(seconds, 5, six / 60) == 6
    assert tuning.affordable(seconds, 5, (six - 1) / 60) == 5
    assert tuning.affordable(seconds, 5, 0.01) == 1
    assert tuning.affordable(seconds, 5, 1e6) == tuning.MOST


def test_measured_steps_lead_to_a_plan(split, tmp_path, capsys):
    stages = tuning.bought(build, split, LABELS, 1e6, (32, 64), tmp_path)
    assert stages == tuning.plan(tuning.MOST, (32, 64))
    assert "minutes buy 24 epochs" in capsys.readouterr().out
    assert tuning.bought(build, split, LABELS, 1e-6, (32, 64), tmp_path, progress=False) == [(64, 1)]


def tuned(split, tmp_path, **options):
    training.seed_everything(0)
    return tuning.fine_tune(build, split, LABELS, [(32, 1), (64, 1)], cache=tmp_path, progress=False, **options)


def test_fine_tuning_changes_the_backbone_but_not_its_statistics(split, tmp_path):
    before = state(build(64))
    model, history = tuned(split, tmp_path)
    names = changed(before, model)
    assert "conv_stem" in names
    assert "logits" in names
    assert not any("bn" in name for name in names)
    assert history.index.tolist() == [0, 1, 2]
    assert history.pixels.tolist() == [32, 32, 64]
    assert history.kept.tolist() == [False, False, True]
    assert model.input_shape == (None, 64, 64, 3)


def test_fine_tuning_twice_gives_identical_weights_and_so_does_going_on_after_a_stop(split, tmp_path, monkeypatch):
    whole = models_digest(tuned(split, tmp_path)[0])
    assert whole == models_digest(tuned(split, tmp_path)[0])
    original = training.Keeper.on_epoch_end

    def dying(self, epoch, logs=None):
        original(self, epoch, logs)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(training.Keeper, "on_epoch_end", dying)
        tuned(split, tmp_path, checkpoint=tmp_path / "c")
    assert whole == models_digest(tuned(split, tmp_path, checkpoint=tmp_path / "c")[0])


def models_digest(model):
    digest = hashlib.sha256()
    for weights in model.get_weights():
        digest.update(weights.tobytes())
    return digest.hexdigest()


def test_fine_tuning_without_validation_goes_to_the_end(split, tmp_path):
    everything = split.assign(split="train")
    _, history = tuned(everything, tmp_path)
    assert history.val_accuracy.isna().all()
    assert history.kept.tolist() == [False, False, True]


def test_training_the_top_leaves_the_lower_part_as_it_was(split, tmp_path):
    training.seed_everything(0)
    model = build(64)
    before = state(model)
    history = tuning.fine_tune_top(model, split, LABELS, 2, cache=tmp_path, progress=False)
    names = changed(before, model)
    blocks = {int(name.split(".")[1]) for name in names if name.startswith("blocks.")}
    assert "logits" in names
    assert blocks == {5, 6}  # after the last sum of the stage before, at 8 x 8
    assert not any("bn" in name for name in names)
    assert history.index.tolist() == [0, 1, 2]


def test_the_top_is_trained_on_what_the_lower_part_says_of_the_picture_and_its_mirror_image(
    split, tmp_path, monkeypatch
):
    seen = {}

    def spy(top, train, val, *args, **options):
        seen.update(top=top, train=train, val=val)
        return original(top, train, val, *args, **options)

    original = training.fit
    monkeypatch.setattr(training, "fit", spy)
    model = build(64)
    lower_before = models.late_maps(model)[8]
    tuning.fine_tune_top(model, split, LABELS, 1, cache=tmp_path, progress=False)
    rows = usable(split, "val")
    maps, _ = seen["val"][0]
    from sneakerlib import pipeline

    pixels = pipeline.pack(split, 64, tmp_path, progress=False)
    pictures = pixels.array[[pixels.row[path] for path in rows.path]].astype("float32")
    lower = keras.Model(model.input, lower_before)
    assert np.allclose(maps, lower.predict_on_batch(pictures), atol=0.05)  # kept in half precision
    assert np.allclose(seen["top"].predict_on_batch(maps), model.predict_on_batch(pictures), atol=0.05)
    both = seen["train"].pixels.array
    mirrored = lower.predict_on_batch(pictures[:, :, ::-1])
    assert np.allclose(both[[seen["val"].pixels.row[path] for path in rows.path], 1], mirrored, atol=0.05)
    first = [seen["train"][0][0] for _ in range(2)]
    assert np.array_equal(*first)
    seen["train"].restart(1)
    assert not np.array_equal(first[0], seen["train"][0][0])


def test_a_network_without_two_maps_has_no_top(split, tmp_path):
    with pytest.raises(InputError, match="no two feature maps"):
        tuning.fine_tune_top(models.scratch(LABELS, 2, filters=(4,)), split, LABELS, cache=tmp_path)


def test_the_head_comes_first(split, tmp_path, monkeypatch):
    begun = {}

    def stop(stages, *args, **options):
        begun.update(stages=stages)
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "fit_stages", stop)
    with pytest.raises(KeyboardInterrupt):
        tuned(split, tmp_path)
    first = begun["stages"][0].model
    described = heads.describe(split, LABELS, models.features(first), cache=tmp_path, progress=False)
    kernel, _ = heads.solve_head(*described.train)
    assert np.allclose(first.get_layer("logits").get_weights()[0], kernel, atol=1e-5)
