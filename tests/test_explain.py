from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from sneakerlib import InputError, catalog
from sneakerlib.learning import backbones, networks
from sneakerlib.learning.features import look
from sneakerlib.learning.quiet import keras
from sneakerlib.review import explain


def judge(bright_class=1):
    """A network for two classes, the second of which is told by brightness alone."""
    picture = keras.Input((32, 32, 3), name="picture")
    x = keras.layers.Conv2D(2, 1, use_bias=False, name="look")(keras.layers.Rescaling(1 / 255)(picture))
    x = keras.layers.AveragePooling2D(4)(x)
    x = keras.layers.GlobalAveragePooling2D(name="features")(x)
    model = keras.Model(picture, keras.layers.Dense(2, name="logits")(x), name="judge")
    model.get_layer("look").set_weights([np.ones((1, 1, 3, 2), np.float32)])
    kernel = np.zeros((2, 2), np.float32)
    kernel[:, bright_class] = 1
    model.get_layer("logits").set_weights([kernel, np.zeros(2)])
    return model


def lit(size=32):
    """A dark picture with a bright square in the upper right."""
    picture = np.zeros((size, size, 3), np.uint8)
    picture[: size // 4, -size // 4 :] = 255
    return picture


def test_what_was_recognised_lights_up_and_nothing_else():
    heat = explain.HeatMaps(judge())(lit()[None], np.array([1]))[0]
    assert heat.shape == (32, 32)
    assert heat[:6, -6:].min() > 0.5
    assert heat[16:, :16].max() == 0
    assert heat.max() == pytest.approx(1)


def test_another_class_has_no_evidence():
    assert explain.HeatMaps(judge())(lit()[None], np.array([0])).max() == 0


@pytest.mark.usefixtures("small_lites")
@pytest.mark.parametrize("regions", [False, True])
def test_second_order_models_are_explained_too(regions):
    model = networks.second_order(backbones.backbone(size=64), ["a", "b"], regions=regions)
    size = model.input_shape[1]
    heat = explain.HeatMaps(model)(lit(size)[None], np.array([1]))[0]
    assert heat.shape == (size, size)
    assert 0 <= heat.min() <= heat.max() <= 1


def test_a_network_without_maps_cannot_be_explained():
    picture = keras.Input((16, 16, 3))
    plain = keras.Model(picture, keras.layers.Dense(2, name="logits")(keras.layers.Flatten()(picture)))
    with pytest.raises(InputError, match="no feature maps"):
        explain.HeatMaps(plain)


def test_pictures_are_explained_together_as_they_are_alone():
    both = np.stack([lit(), lit()[::-1, ::-1]])
    heat_maps = explain.HeatMaps(judge())
    together = heat_maps(both, np.array([1, 1]))
    for picture, heat in zip(both, together, strict=True):
        np.testing.assert_allclose(heat_maps(picture[None], np.array([1]))[0], heat, atol=1e-6)
    assert together[0].argmax() != together[1].argmax()


def test_evidence_is_the_picture_what_was_looked_at_and_sound_neighbours_of_both_classes(folder):
    rows = catalog.read(folder)
    rows = rows.assign(group=rows.path, split="train")
    features = np.random.default_rng(0).normal(size=(16, 4))
    suspects = pd.DataFrame({"path": rows.path[[0, 9]], "label": ["one", "two"], "proposed": ["two", "one"]})
    saved = SimpleNamespace(model=judge(), size=32, labels=["one", "two"], look=lambda file: look(file, 32))
    table = explain.Evidence(suspects, saved, features, rows).of(suspects)
    assert table.groupby("suspect", sort=False).size().tolist() == [8, 8]
    first = table.head(8)
    assert first.path[:2].tolist() == [rows.path[0]] * 2
    assert first.label[2:].tolist() == ["one"] * 3 + ["two"] * 3
    assert not set(table.path[table.path.ne(table.suspect)]) & set(suspects.path)
    assert [heat is not None for heat in first.heat] == [False, True] + [False] * 6
    assert first.heat[1].shape == (32, 32)
    assert explain.Evidence(suspects, saved, features, rows).of(suspects.head(0)).empty
