import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from sneakerlib import InputError, catalog, pictures
from sneakerlib.learning import backbones, engine, features, model_folder, networks
from sneakerlib.learning.features import Store
from sneakerlib.learning.quiet import keras


@pytest.fixture(scope="module")
def network():
    """A small network with a layer of every kind that a backbone has."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = keras.layers.Conv2D(8, 3, strides=2, padding="same")(x)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.DepthwiseConv2D(3, padding="same")(keras.layers.ReLU(6.0)(x))
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x), name="tiny")


@pytest.fixture
def noise():
    return np.random.default_rng(0).integers(0, 256, (9, 32, 32, 3), np.uint8)


def seen(rows, size):
    """Pictures of a catalog as `look` gives them."""
    return np.stack([features.look(catalog.folder_of(rows) / path, size) for path in rows.path])


def test_the_exported_network_answers_as_keras_does(network, noise, tmp_path):
    run = engine.engine(network, tmp_path)
    assert isinstance(run, engine.LiteRT)
    answers = np.stack(list(map(run, noise)))
    assert np.allclose(answers, network.predict_on_batch(noise.astype(np.float32)), atol=1e-5)
    assert np.array_equal(run(noise[3]), answers[3])


def test_an_exported_network_is_not_exported_again_unless_its_weights_change(network, noise, tmp_path, monkeypatch):
    engine.engine(network, tmp_path)
    monkeypatch.setattr(engine, "export", lambda model: pytest.fail("exported again"))
    engine.engine(network, tmp_path)
    weights = network.get_weights()
    with pytest.raises(pytest.fail.Exception):
        network.set_weights([weight + 1 for weight in weights])
        engine.engine(network, tmp_path)
    network.set_weights(weights)


def test_a_network_that_cannot_be_exported_runs_in_keras(network, noise, tmp_path, monkeypatch):
    def refuse(model):
        raise RuntimeError("no such operation")

    monkeypatch.setattr(engine, "export", refuse)
    run = engine.engine(network, tmp_path)
    assert isinstance(run, engine.Keras)
    answers = np.stack(list(map(run, noise)))
    assert np.allclose(answers, network.predict_on_batch(noise.astype(np.float32)), atol=1e-6)
    assert np.allclose(run(noise[3]), answers[3], atol=1e-6)


def test_a_damaged_export_is_replaced(network, noise, tmp_path):
    engine.engine(network, tmp_path)
    (file,) = tmp_path.glob("exported-*.tflite")
    file.write_bytes(b"no network")
    assert np.allclose(engine.engine(network, tmp_path)(noise[0]), network(noise[:1])[0], atol=1e-5)


def test_features_are_computed_once_per_content_and_follow_the_rows(fresh, network, tmp_path, monkeypatch):
    first = features.features(fresh, network, cache=tmp_path, progress=False)
    assert first.shape == (len(fresh), 8)
    monkeypatch.setattr(features, "engine", lambda *_: pytest.fail("computed again"))
    turned = fresh.iloc[::-1]
    assert np.array_equal(features.features(turned, network, cache=tmp_path, progress=False), first[::-1])


def test_a_new_picture_adds_its_own_features_alone(fresh, network, tmp_path, monkeypatch):
    some = fresh.iloc[:5]
    before = features.features(some, network, cache=tmp_path, progress=False)
    asked, original = [], engine.LiteRT.__call__
    monkeypatch.setattr(engine.LiteRT, "__call__", lambda self, one: asked.append(1) or original(self, one))
    both = features.features(fresh, network, cache=tmp_path, progress=False)
    assert np.array_equal(both[:5], before)
    assert len(asked) == len(fresh) - 5


def test_what_was_computed_before_a_kill_is_kept(fresh, network, tmp_path, monkeypatch):
    monkeypatch.setattr(features, "PORTION", 4)
    original, done = engine.LiteRT.__call__, []

    def stops(self, picture):
        if len(done) == 10:
            raise KeyboardInterrupt
        done.append(1)
        return original(self, picture)

    monkeypatch.setattr(engine.LiteRT, "__call__", stops)
    with pytest.raises(KeyboardInterrupt):
        features.features(fresh, network, cache=tmp_path, progress=False)
    with sqlite3.connect(tmp_path / "features.sqlite") as opened:
        assert opened.execute("SELECT count(*) FROM vectors").fetchone() == (8,)
    monkeypatch.setattr(engine.LiteRT, "__call__", original)
    assert features.features(fresh, network, cache=tmp_path, progress=False).shape == (len(fresh), 8)


def test_a_named_backbone_gives_its_own_features(folder, tmp_path):
    rows = catalog.read(folder).iloc[:3]
    found = features.features(rows, size=64, cache=tmp_path, progress=False)
    expected = backbones.backbone(size=64).predict_on_batch(seen(rows, 64))
    assert np.allclose(found, expected, atol=1e-4)


def test_an_unknown_backbone_is_refused(fresh, tmp_path):
    with pytest.raises(InputError, match="there is no backbone 'alexnet'"):
        features.features(fresh, "alexnet", cache=tmp_path, progress=False)


def test_vectors_come_back_in_the_order_asked_for_and_each_network_has_its_own(tmp_path):
    store, other = (Store(tmp_path / "v.sqlite", name) for name in ("one", "other"))
    assert store.keys() == set()
    store.put(["b", "a"], np.array([[2.0, 2], [1, 1]], np.float32))
    other.put(["a"], np.array([[7.0]], np.float16))
    store.put(["c"], np.array([[3.0, 3]], np.float32))
    assert store.keys() == {"a", "b", "c"}
    assert store.get(["c", "a", "b", "a"])[:, 0].tolist() == [3, 1, 2, 1]
    assert (other.keys(), other.get(["a"]).tolist(), other.get(["a"]).dtype) == ({"a"}, [[7.0]], np.float16)


def test_two_programs_fill_one_file_at_a_time(tmp_path):
    code = (
        "import sys, numpy as np; from sneakerlib.learning.features import Store; from pathlib import Path\n"
        "store = Store(Path(sys.argv[1]), 'n')\n"
        "for n in range(50): store.put([sys.argv[2] + str(n)], np.full((1, 500), n, np.float32))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "v.sqlite")]
    running = [subprocess.Popen([*command, name]) for name in "ab"]
    assert [one.wait(60) for one in running] == [0, 0]
    store = Store(tmp_path / "v.sqlite", "n")
    assert store.keys() == {f"{name}{n}" for name in "ab" for n in range(50)}
    assert store.get(["a7", "b49"])[:, 0].tolist() == [7, 49]


@pytest.mark.parametrize(("size", "kind", "error"), [(40, np.float16, 0.0005), (36, np.float32, 1e-6)])
def test_long_vectors_are_rounded_to_half_precision_and_no_further(fresh, tmp_path, size, kind, error):
    picture = keras.Input((size, size, 3))
    network = keras.Model(picture, keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(picture)))
    found = features.features(fresh, network, cache=tmp_path, progress=False)
    assert found.dtype == kind
    exact = seen(fresh, size).reshape(len(fresh), -1) / 255
    assert np.abs(found.astype(float) / np.maximum(exact, 1e-4) - 1)[exact > 0].max() <= error


def test_every_way_to_show_a_picture_gives_the_same_numbers(table, shoes, tmp_path):
    """Keras' data set on the prepared folder, a file, its bytes, a table: to the last digit."""
    labels, size = sorted(set(table.label)), 48
    model = networks.small_cnn(labels, size)
    history = pd.DataFrame({"val_accuracy": [0.5]}, index=pd.Index([1], name="epoch"))
    model_folder.save(model, tmp_path / "m", table, labels, history, "scratch")
    saved = model_folder.load(tmp_path / "m")
    prepared = pictures.prepare(table, tmp_path / "prepared", progress=False)
    data = keras.utils.image_dataset_from_directory(
        prepared / "test", image_size=(size, size), interpolation="area", shuffle=False, batch_size=None, verbose=0
    )
    given = {path.rsplit("/", 1)[1][:-4]: pixels.numpy() for path, (pixels, _) in zip(data.file_paths, data)}
    judged = saved.predictions(table, "test")
    rows = table.set_index("path").loc[judged.path]
    assert set(rows.sha256) == set(given)
    for path, sha256, answer in zip(rows.index, rows.sha256, judged.to_dict("records"), strict=True):
        file = shoes / path
        looks = [features.look(file, size), features.look(file.read_bytes(), size), saved.look(file), given[sha256]]
        assert all(np.array_equal(looks[0], each) for each in looks)
        shown = dict(zip(labels, saved.probabilities(saved.engine(given[sha256])[None])[0].tolist(), strict=True))
        wanted = {label: answer[f"p_{label}"] for label in labels}
        assert wanted == shown == saved.classify(file) == saved.classify(file.read_bytes())


def test_the_fingerprint_is_that_of_the_network_and_not_of_its_layers_names():
    def network(stride=1):
        keras.utils.set_random_seed(0)
        return keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Conv2D(2, 3, stride), keras.layers.Flatten()])

    one, same, other = network(), network(), network(stride=2)
    assert one.layers[0].name != same.layers[0].name
    assert engine.fingerprint(one) == engine.fingerprint(same) != engine.fingerprint(other)
    same.layers[0].set_weights([same.layers[0].get_weights()[0] + 1, np.zeros(2)])
    assert engine.fingerprint(one) != engine.fingerprint(same)


@pytest.mark.parametrize("kind", ["LiteRT", "Keras"])
def test_questions_from_many_threads_get_their_own_answers(network, noise, kind):
    run = engine.LiteRT(engine.export(network)) if kind == "LiteRT" else engine.Keras(network)
    many = np.concatenate([noise] * 10)
    with ThreadPoolExecutor(9) as pool:
        said = np.stack(list(pool.map(run, many)))
    assert np.allclose(said, network.predict_on_batch(many.astype(np.float32)), atol=1e-5)


@pytest.mark.parametrize("kind", ["LiteRT", "Keras"])
def test_after_a_question_that_cannot_be_answered_others_are(network, kind):
    run = engine.LiteRT(engine.export(network)) if kind == "LiteRT" else engine.Keras(network)
    for _ in range(run.lanes + 1):
        with pytest.raises(ValueError):
            run(np.zeros((3, 3)))
    assert run(np.zeros((32, 32, 3))).shape == network.output_shape[1:]


def test_an_export_that_cannot_be_kept_is_done_without(network, noise, tmp_path):
    (tmp_path / "file").touch()
    assert isinstance(engine.engine(network, tmp_path / "file"), engine.LiteRT)


def test_the_whole_picture_is_squeezed_into_the_square():
    halves = np.zeros((20, 60, 3), np.uint8)
    halves[:, 30:] = 255
    square = features.look(Image.fromarray(halves), 32)
    assert square.shape == (32, 32, 3)
    assert square.dtype == np.float32
    assert square[:, :12].max() == 0
    assert square[:, 20:].min() == 255
