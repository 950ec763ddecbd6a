from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from conftest import run_cells

from sneakerlib import InputError, catalog, plots
from sneakerlib.learning import backbones, networks
from sneakerlib.learning.features import look
from sneakerlib.learning.quiet import keras
from sneakerlib.review import evidence


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
    heat = evidence.heat_maps(judge())(lit()[None], np.array([1]))[0]
    assert heat.shape == (32, 32)
    assert heat[:6, -6:].min() > 0.5
    assert heat[16:, :16].max() == 0
    assert heat.max() == pytest.approx(1)


def test_another_class_has_no_evidence():
    assert evidence.heat_maps(judge())(lit()[None], np.array([0])).max() == 0


@pytest.mark.usefixtures("small_lites")
@pytest.mark.parametrize("regions", [False, True])
def test_second_order_models_are_explained_too(regions):
    model = networks.second_order(backbones.backbone(size=64), ["a", "b"], regions=regions)
    size = model.input_shape[1]
    heat = evidence.heat_maps(model)(lit(size)[None], np.array([1]))[0]
    assert heat.shape == (size, size)
    assert 0 <= heat.min() <= heat.max() <= 1


def test_a_network_without_maps_cannot_be_explained():
    pixels = keras.Input((8, 8, 3))
    flat = keras.Model(pixels, keras.layers.Dense(2, name="logits")(keras.layers.Flatten()(pixels)))
    with pytest.raises(InputError, match="no feature maps"):
        evidence.heat_maps(flat)


def test_pictures_are_explained_together_as_they_are_alone():
    both = np.stack([lit(), lit()[::-1, ::-1]])
    heat_maps = evidence.heat_maps(judge())
    together = heat_maps(both, np.array([1, 1]))
    for picture, heat in zip(both, together, strict=True):
        np.testing.assert_allclose(heat_maps(picture[None], np.array([1]))[0], heat, atol=1e-6)
    assert together[0].argmax() != together[1].argmax()


@pytest.mark.usefixtures("small_lites")
@pytest.mark.parametrize("kind", ["classifier", "second-order", "small"])
def test_the_notebook_and_the_package_see_the_same(kind, folder):
    """Notebook 06 does Grad-CAM in the open."""
    labels = ["one", "two"]
    if kind == "small":
        model = networks.small_cnn(labels, 64)
    else:
        body = backbones.backbone(size=64)
        model = networks.classifier(body, labels) if kind == "classifier" else networks.second_order(body, labels)
    head = model.get_layer("logits")
    head.set_weights([np.abs(weights) for weights in head.get_weights()])  # so that there is evidence
    rows = catalog.read(folder)
    saved = SimpleNamespace(model=model, labels=labels, look=lambda path: look(path, model.input_shape[1]))
    doubtful = rows.assign(proposed="two").iloc[3:]
    names = {
        "saved": saved,
        "doubtful": doubtful,
        "rows": rows,
        "best": kind,
        "catalog": catalog,
        "keras": keras,
        "tf": tf,
    }
    made = run_cells("06_misclassified_images", "06-72", "06-73", **names)
    heat = tf.image.resize((made["heat"] / made["heat"].max())[..., None], model.input_shape[1:3])[..., 0]
    assert heat.numpy().max() > 0
    ours = evidence.heat_maps(model)(made["picture"][None], np.array([1]))[0]
    np.testing.assert_allclose(ours, heat, atol=1e-5)


@pytest.mark.parametrize("trainable", [True, False])
def test_a_network_whose_weights_are_all_frozen_is_explained_as_well(trainable):
    model = judge()
    model.trainable = trainable
    assert evidence.heat_maps(model)(lit()[None], np.array([1])).max() == pytest.approx(1)


def test_averages_over_all_positions_are_no_feature_maps():
    picture = keras.Input((32, 32, 3))
    maps = keras.layers.Conv2D(2, 3, strides=4, name="maps")(picture)
    weights = keras.layers.GlobalAveragePooling2D(keepdims=True)(maps)  # as squeeze-and-excitation has them
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Multiply()([maps, weights]))
    model = keras.Model(picture, keras.layers.Dense(2)(pooled))
    assert evidence.last_map(model).shape == (None, 8, 8, 2)


def suspect(path, label, proposed):
    return next(pd.DataFrame({"path": [path], "label": [label], "proposed": [proposed]}).itertuples())


def test_evidence_is_the_picture_what_was_looked_at_and_sound_neighbours_of_both_classes(folder):
    rows = catalog.read(folder)
    rows = rows.assign(group=rows.path, split="train")
    features = np.random.default_rng(0).normal(size=(16, 4))
    found = pd.DataFrame({"path": rows.path[[0, 9]], "label": ["one", "two"], "proposed": ["two", "one"]})
    saved = SimpleNamespace(model=judge(), labels=["one", "two"], look=lambda path: look(path, 32))
    about = evidence.Evidence(found, saved, features, rows)
    table = about.of(next(found.itertuples()))
    assert table.path[:2].tolist() == [rows.path[0]] * 2
    assert table.label[2:].tolist() == ["one"] * 3 + ["two"] * 3
    assert not set(table.path[2:]) & set(found.path)
    assert [heat is not None for heat in table.heat] == [False, True] + [False] * 6
    assert table.heat[1].shape == (32, 32)
    plots.gallery(table, table.title, heat=table.heat)
    assert len(about.of(suspect(rows.path[0], "one", "one"))) == 5  # a twin that was set aside and may come back


def test_the_nearest_of_a_class_are_named_but_not_twins_nor_suspects_nor_what_was_set_aside():
    """Twelve pictures of three classes, each class a direction; the last of each is the first one's twin."""
    files = [{"path": f"{label}{n}", "label": label, "sha256": f"{label}{n}"} for label in "abc" for n in range(4)]
    rows = catalog.blank(files, "nowhere")
    rows["group"] = [f"{row.label}{n % 3}" for n, row in zip([0, 1, 2, 3] * 3, rows.itertuples())]
    rows.loc[11, "issue"] = "off-topic"
    turn = np.deg2rad([0, 10, 25, 0, 90, 100, 115, 90, 180, 190, 205, 180])
    features = np.stack([np.cos(turn), np.sin(turn)], axis=1) * np.arange(1, 13)[:, None]  # lengths say nothing
    about = evidence.Evidence(rows[rows.path.eq("b0")], SimpleNamespace(model=judge()), features, rows)
    assert about.nearest("a0", "a") == ["a1", "a2"]
    assert about.nearest("a0", "b") == ["b3", "b1", "b2"]
    assert about.nearest("b2", "c") == ["c0", "c1", "c2"]
