import io
import os
import pickle
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image

from sneakerlib import InputError, models, weights
from sneakerlib.pictures import fit, open_rgb
from sneakerlib.quiet import keras

MILITARY_UNIFORM = 652  # ImageNet's class of the photograph of Rear Admiral Hopper that comes with matplotlib


def test_lite0_has_the_published_size():
    # 4,652,008 trainable with its classifier of 1,280 x 1,000 weights and 1,000 biases
    backbone = models.backbone(size=64)
    assert sum(int(np.prod(w.shape)) for w in backbone.trainable_weights) == 4_652_008 - 1_281_000
    assert backbone.output.shape == (None, 1280)


def test_lite0_recognises_what_imagenet_taught_it():
    state = weights.efficientnet_lite0()
    photograph = Path(matplotlib.get_data_path()) / "sample_data/grace_hopper.jpg"
    features = models.backbone().predict_on_batch(fit(open_rgb(photograph), 224)[None].astype("float32"))
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


@pytest.mark.parametrize("name", ["MobileNetV2", "mobilenet-v2", "resnet50"])
def test_any_keras_application_by_name(name, tmp_path):
    model = models.classifier(models.backbone(name, 64, weights=None), ["a", "b", "c"])
    pictures = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3)).astype("float32")
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras", safe_mode=True)
    assert np.allclose(again.predict_on_batch(pictures), model.predict_on_batch(pictures), atol=1e-5)


def test_the_preprocessing_of_an_application_is_inside(monkeypatch):
    model = models.backbone("resnet50", 64, weights=None)
    bare = keras.applications.ResNet50(include_top=False, weights=None, input_shape=(64, 64, 3), pooling="avg")
    bare.set_weights(model.get_weights())
    pictures = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3)).astype("float32")
    prepared = keras.applications.resnet50.preprocess_input(pictures.copy())
    assert np.allclose(model.predict_on_batch(pictures), bare.predict_on_batch(prepared), atol=1e-4)


def test_an_unknown_backbone_is_named():
    with pytest.raises(InputError, match="there is no backbone 'resnet51': use efficientnet-lite0 or one of"):
        models.backbone("resnet51")


def test_weights_that_cannot_be_fetched_give_one_sentence_with_the_way_out(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))

    def offline(*_, **__):
        raise OSError("URL fetch failure on https://example.org/weights.h5: None -- no route to host")

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", offline)
    with pytest.raises(InputError, match=r"MobileNetV2 could not be downloaded.* efficientnet-lite0, which needs no"):
        models.backbone("mobilenetv2", 96)


def test_a_model_answers_with_one_logit_per_label_for_pictures_of_0_to_255():
    labels = ["a", "b", "c", "d"]
    white = np.full((1, 32, 32, 3), 255, "float32")
    for model in (
        models.scratch(labels, 32),
        models.linear(labels, 32),
        models.classifier(models.backbone(size=32), labels),
    ):
        assert model.predict_on_batch(white).shape == (1, 4)
        assert model.get_layer("logits").activation is keras.activations.linear


def test_features_are_what_the_head_sees():
    model = models.classifier(models.backbone(size=32), ["a", "b"])
    picture = np.asarray(Image.effect_noise((32, 32), 80).convert("RGB"), "float32")[None]
    kernel, bias = model.get_layer("logits").get_weights()
    assert np.allclose(
        models.features(model).predict_on_batch(picture) @ kernel + bias, model.predict_on_batch(picture), atol=1e-4
    )


def test_second_moments_agree_with_numpy():
    maps = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype("float32")
    flat = maps.reshape(2, 12, 5)
    for picture, answer in zip(flat, models.SecondMoment()(maps)):
        moments = (picture.T @ picture / 12)[np.triu_indices(5)]
        roots = np.sign(moments) * np.sqrt(np.abs(moments))
        assert np.allclose(answer, roots / np.linalg.norm(roots), atol=1e-5)


def test_second_order_looks_at_the_last_sums_of_the_two_smallest_sizes():
    model = models.second_order(models.backbone(size=224), ["a", "b"])
    assert models.features(model).output.shape == (None, 192 * 193 // 2 + 112 * 113 // 2)  # 7 x 7 and 14 x 14
    assert model.output.shape == (None, 2)


def test_second_order_brings_wide_maps_down_to_192_directions():
    model = models.second_order(models.backbone("resnet50", 64, weights=None), ["a", "b"])
    assert models.features(model).output.shape == (None, 2 * (192 * 193 // 2))


def test_second_order_needs_two_maps():
    with pytest.raises(InputError, match="no two feature maps"):
        models.second_order(models.scratch(["a", "b"], 2, filters=(4,)), ["a", "b"])


def test_networks_have_their_published_sizes():
    five = list("abcde")
    small = models.cnn(five, filters=(4, 16, 32), pools=(4, 4, 2), dense=(128, 16))
    workshop = models.cnn(five[:2], 150, (32, 64, 64), (2, 2, 2), (256,), grey=False, padding="valid", one_output=True)
    counts = [model.count_params() for model in (models.cnn(five), small, workshop)]
    assert counts == [424_637, 208_253, 4_791_809]


def test_one_output_for_two_classes_is_a_sigmoid(tmp_path):
    model = models.cnn(["a", "b"], 32, (4,), (2,), (8,), one_output=True)
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras", safe_mode=True)
    pictures = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3)).astype("float32")
    logits = again.predict_on_batch(pictures)
    z = keras.Model(model.input, model.get_layer("logits").output).predict_on_batch(pictures)[:, 0]
    assert np.allclose(np.exp(logits)[:, 1] / np.exp(logits).sum(axis=1), 1 / (1 + np.exp(-z)), atol=1e-6)


def test_a_grey_network_does_not_see_colours():
    model = models.cnn(["a", "b"], 32, (4,), (2,), (8,))
    colours = np.zeros((2, 32, 32, 3), "float32")
    colours[0, ..., 0], colours[1, ..., 1] = 255 * 0.5870, 255 * 0.2989  # red and green, equally bright to the eye
    one, other = model.predict_on_batch(colours)
    assert np.allclose(one, other, atol=1e-5)
