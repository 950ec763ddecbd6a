"""What a notebook builds in the open is what the package has under a name: same weights, same numbers."""

import keras
import numpy as np
import pytest
from conftest import run_cells
from keras import layers
from sklearn.linear_model import RidgeCV

from sneakerlib.learning import heads, networks

THREE, FOUR = "03_cnn_from_scratch", "04_transfer_learning"


@pytest.fixture(scope="module")
def cnn():
    return run_cells(THREE, "03-cnn", keras=keras, layers=layers)["cnn"]


@pytest.fixture(scope="module")
def with_head():
    return run_cells(FOUR, "04-head", keras=keras, layers=layers)["with_head"]


def test_the_networks_of_the_story_have_their_published_sizes(cnn):
    first = cnn(5, 224, (2, 4, 8, 16, 32), (2, 2, 2, 2, 2), (256, 64))
    second = cnn(5, 224, (4, 16, 32), (4, 4, 2), (128, 16))
    workshop = cnn(1, 150, (32, 64, 64), (2, 2, 2), (256,), grey=False, padding="valid")  # one output for two classes
    assert [model.count_params() for model in (first, second, workshop)] == [424_637, 208_253, 4_791_809]


def test_resnet18_has_its_published_size():
    resnet18 = run_cells(THREE, "03-resnet", keras=keras, layers=layers, np=np, labels=list("abc"))["resnet18"]
    model = resnet18(23)
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == 11_188_311
    assert model.layers[-2].output.shape == (None, 512) and model.layers[-4].output.shape == (None, 7, 7, 512)


def test_a_grey_network_does_not_see_colours(cnn):
    colours = np.zeros((2, 32, 32, 3), "float32")
    colours[0, ..., 0], colours[1, ..., 1] = 255 * 0.5870, 255 * 0.2989  # red and green, equally bright to the eye
    one, other = cnn(2, 32, (4,), (2,), (8,)).predict_on_batch(colours)
    assert np.allclose(one, other, atol=1e-5)


def test_the_sixth_network_is_the_one_that_train_uses():
    names = {"keras": keras, "layers": layers, "SEED": 0, "SIZE": 32, "labels": list("abc"), "shapes": lambda _: None}
    inline = run_cells(THREE, "03-28", **names)["network"]
    keras.utils.set_random_seed(0)
    ours = networks.small_cnn(list("abc"), 32)
    assert [layer.__class__ for layer in inline.layers] == [layer.__class__ for layer in ours.layers]
    assert all((a == b).all() for a, b in zip(inline.get_weights(), ours.get_weights(), strict=True))


def test_the_bottleneck_model_of_a_workshop_has_its_published_size(with_head):
    body = keras.applications.VGG16(include_top=False, weights=None, input_shape=(150, 150, 3))
    model = with_head(body, 1, dense=(256,), dropout=0.4)
    assert model.count_params() == 16_812_353
    body.trainable = False
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == 2_097_665


def test_a_head_is_put_on_as_the_package_does(with_head):
    inputs = keras.Input((8, 8, 3))
    body = keras.Model(inputs, layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(inputs)))
    built = []
    for build in (lambda: with_head(body, 2), lambda: networks.classifier(body, ["a", "b"])):
        keras.utils.set_random_seed(3)
        built.append(build())
    one, other = built
    assert [layer.__class__ for layer in one.layers] == [layer.__class__ for layer in other.layers]
    assert all((a == b).all() for a, b in zip(one.get_weights(), other.get_weights(), strict=True))


def test_moments_and_ridge_in_the_open_give_the_numbers_of_the_package():
    maps = np.random.default_rng(0).normal(size=(30, 3, 3, 6)).astype("float32")
    moments = run_cells(FOUR, "04-moments", keras=keras, layers=layers, np=np)["Moments"]()
    vectors = np.asarray(moments(maps))
    assert np.allclose(vectors, networks.SecondMoment()(maps), atol=1e-6)
    targets = np.arange(30) % 3
    ours, strength = heads.Ridge(vectors, targets), 0.1
    theirs = RidgeCV(alphas=[strength * ours.scale], fit_intercept=False).fit(vectors, 2 * np.eye(3)[targets] - 1)
    assert np.allclose(ours.kernel(strength), theirs.coef_.T, atol=1e-3)
