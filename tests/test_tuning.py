import hashlib

import numpy as np
import pytest

from sneakerlib import catalog
from sneakerlib.learning import heads, networks, training, tuning

LABELS = ["one", "two"]
pytestmark = pytest.mark.usefixtures("small_lites")


@pytest.fixture
def split(fresh):
    return catalog.split(fresh, val=0.25, test=0)


def build(size):
    return networks.classifier(networks.backbone(size=size), LABELS)


def state(model):
    return {layer.name: layer.get_weights() for layer in model.layers if layer.weights}


def changed(before, model):
    """Names of the layers whose weights are no longer the same."""
    after = state(model)
    return {name for name in before if any(np.any(a != b) for a, b in zip(before[name], after[name], strict=True))}


def test_a_plan_has_all_epochs_and_ends_with_the_largest_size():
    for epochs in range(1, 25):
        stages = tuning.plan(epochs)
        assert sum(count for _, count in stages) == epochs
        assert stages[-1][0] == tuning.SIZES[-1]
        assert [size for size, _ in stages] == sorted(size for size, _ in stages)
        assert all(count >= 1 for _, count in stages)


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


def test_the_head_comes_first(split, tmp_path, monkeypatch):
    begun = {}

    def stop(stages, *args, **options):
        begun.update(stages=stages)
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "fit_stages", stop)
    with pytest.raises(KeyboardInterrupt):
        tuned(split, tmp_path)
    first = begun["stages"][0].model
    described = heads.describe(split, LABELS, networks.features(first), cache=tmp_path, progress=False)
    kernel, _ = heads.solve_head(*described.train)
    assert np.allclose(first.get_layer("logits").get_weights()[0], kernel, atol=1e-5)
