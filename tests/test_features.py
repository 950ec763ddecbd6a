import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from sneakerlib import InputError, catalog
from sneakerlib.learning import engines, networks, ridge
from sneakerlib.learning.cache import Store, Vectors
from sneakerlib.learning.quiet import keras
from sneakerlib.pictures import as_seen


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
def pictures():
    return np.random.default_rng(0).integers(0, 256, (9, 32, 32, 3), np.uint8)


def test_the_exported_network_answers_as_keras_does(network, pictures, tmp_path):
    engine = engines.engine(network, tmp_path)
    assert isinstance(engine, engines.LiteRT)
    answers = np.stack(list(engine.map(lambda at: pictures[at], range(len(pictures)))))
    assert np.allclose(answers, network.predict_on_batch(pictures.astype(np.float32)), atol=1e-5)
    assert np.array_equal(engine(pictures[3]), answers[3])


def test_an_exported_network_is_not_exported_again_unless_its_weights_change(network, pictures, tmp_path, monkeypatch):
    engines.engine(network, tmp_path)
    monkeypatch.setattr(engines, "export", lambda model: pytest.fail("exported again"))
    engines.engine(network, tmp_path)
    weights = network.get_weights()
    with pytest.raises(pytest.fail.Exception):
        network.set_weights([weight + 1 for weight in weights])
        engines.engine(network, tmp_path)
    network.set_weights(weights)


def test_a_network_that_cannot_be_exported_runs_in_keras(network, pictures, tmp_path, monkeypatch):
    def refuse(model):
        raise RuntimeError("no such operation")

    monkeypatch.setattr(engines, "export", refuse)
    engine = engines.engine(network, tmp_path)
    assert isinstance(engine, engines.Keras)
    answers = np.stack(list(engine.map(lambda at: pictures[at], range(len(pictures)))))
    assert np.allclose(answers, network.predict_on_batch(pictures.astype(np.float32)), atol=1e-6)
    assert np.allclose(engine(pictures[3]), answers[3], atol=1e-6)


def test_a_damaged_export_is_replaced(network, pictures, tmp_path):
    engines.engine(network, tmp_path)
    (file,) = tmp_path.glob("exported-*.tflite")
    file.write_bytes(b"no network")
    assert np.allclose(engines.engine(network, tmp_path)(pictures[0]), network(pictures[:1])[0], atol=1e-5)


def test_features_are_computed_once_per_content_and_follow_the_rows(fresh, network, tmp_path, monkeypatch):
    first = engines.features(fresh, network, cache=tmp_path, progress=False)
    assert first.shape == (len(fresh), 8)
    monkeypatch.setattr(engines, "engine", lambda *_: pytest.fail("computed again"))
    turned = fresh.iloc[::-1]
    assert np.array_equal(engines.features(turned, network, cache=tmp_path, progress=False), first[::-1])


def test_a_new_picture_adds_its_own_features_alone(fresh, network, tmp_path, monkeypatch):
    some = fresh.iloc[:5]
    before = engines.features(some, network, cache=tmp_path, progress=False)
    asked, original = [], engines.LiteRT.__call__
    monkeypatch.setattr(engines.LiteRT, "__call__", lambda self, one: asked.append(1) or original(self, one))
    both = engines.features(fresh, network, cache=tmp_path, progress=False)
    assert np.array_equal(both[:5], before)
    assert len(asked) == len(fresh) - 5


def test_what_was_computed_before_a_kill_is_kept(fresh, network, tmp_path, monkeypatch):
    monkeypatch.setattr(engines, "PORTION", 4)
    original, done = engines.LiteRT.__call__, []

    def stops(self, picture):
        if len(done) == 10:
            raise KeyboardInterrupt
        done.append(1)
        return original(self, picture)

    monkeypatch.setattr(engines.LiteRT, "__call__", stops)
    with pytest.raises(KeyboardInterrupt):
        engines.features(fresh, network, cache=tmp_path, progress=False)
    with sqlite3.connect(tmp_path / "features.sqlite") as opened:
        assert opened.execute("SELECT count(*) FROM vectors").fetchone() == (8,)
    monkeypatch.setattr(engines.LiteRT, "__call__", original)
    assert engines.features(fresh, network, cache=tmp_path, progress=False).shape == (len(fresh), 8)


def test_a_named_backbone_gives_its_own_features(folder, tmp_path):
    rows = catalog.read(folder).iloc[:3]
    found = engines.features(rows, size=64, cache=tmp_path, progress=False)
    from sneakerlib import pictures

    pixels = np.stack([pictures.fit(pictures.open_rgb(folder / path), 64) for path in rows.path])
    expected = networks.backbone(size=64).predict_on_batch(pixels.astype(np.float32))
    assert np.allclose(found, expected, atol=1e-4)


def test_an_unknown_backbone_is_refused(fresh, tmp_path):
    with pytest.raises(InputError, match="there is no backbone 'alexnet'"):
        engines.features(fresh, "alexnet", cache=tmp_path, progress=False)


def test_vectors_come_back_in_the_order_asked_for_and_each_network_has_its_own(tmp_path):
    store, other = (Store(tmp_path / "v.sqlite", name) for name in ("one", "other"))
    assert store.keys() == set()
    store.put(["b", "a"], np.array([[2.0, 2], [1, 1]], np.float32))
    other.put(["a"], np.array([[7.0]], np.float16))
    store.put(["c"], np.array([[3.0, 3]], np.float32))
    assert store.keys() == {"a", "b", "c"}
    assert store.get(["c", "a", "b", "a"])[:, 0].tolist() == [3, 1, 2, 1]
    assert (other.keys(), other.get(["a"]).tolist(), other.get(["a"]).dtype) == ({"a"}, [[7.0]], np.float16)


def test_vectors_that_stay_in_their_file_are_chosen_like_rows_of_an_array(tmp_path, monkeypatch):
    monkeypatch.setattr("sneakerlib.learning.cache.ASKED", 3)
    rng, keys = np.random.default_rng(0), [f"{number}" for number in range(10)]
    array = rng.normal(size=(10, 6)).astype(np.float16)
    store = Store(tmp_path / "v.sqlite", "n")
    store.put(keys, array)
    vectors = Vectors(store, [*keys[::-1], "3"])
    wanted = np.concatenate([array[::-1], array[3:4]])
    assert (len(vectors), vectors.shape) == (11, (11, 6))
    for rows in (slice(2, 9), np.array([5, 1, 1]), np.arange(11) % 2 == 0, slice(4, 4)):
        assert np.array_equal(np.asarray(vectors[rows], np.float32), wanted[rows].astype(np.float32))
    targets = np.arange(11) % 2
    for solved, reference in zip(
        (ridge.Dual(vectors, targets), ridge.Primal(vectors, targets)), (wanted, wanted), strict=True
    ):
        kernel = solved.solve(0.3)
        assert np.allclose(kernel, ridge.solver(reference, targets).solve(0.3), atol=1e-4)
        assert np.allclose(ridge.answers(vectors, kernel), reference.astype(np.float32) @ kernel, atol=1e-5)


def test_two_programs_fill_one_file_at_a_time(tmp_path):
    code = (
        "import sys, numpy as np; from sneakerlib.learning.cache import Store; from pathlib import Path\n"
        "store = Store(Path(sys.argv[1]), 'n')\n"
        "for n in range(50): store.put([sys.argv[2] + str(n)], np.full((1, 500), n, np.float32))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "v.sqlite")]
    running = [subprocess.Popen([*command, name]) for name in "ab"]
    assert [one.wait(60) for one in running] == [0, 0]
    store = Store(tmp_path / "v.sqlite", "n")
    assert store.keys() == {f"{name}{n}" for name in "ab" for n in range(50)}
    assert store.get(["a7", "b49"])[:, 0].tolist() == [7, 49]


def test_long_vectors_are_rounded_to_half_precision_and_no_further(fresh, tmp_path):
    picture = keras.Input((40, 40, 3))
    network = keras.Model(picture, keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(picture)))
    found = engines.features(fresh, network, cache=tmp_path, progress=False)
    assert isinstance(found, Vectors)
    folder = catalog.folder_of(fresh)
    exact = np.stack([as_seen(folder / path, 40).reshape(-1) / 255 for path in fresh.path])
    assert np.abs(np.asarray(found, np.float64) / np.maximum(exact, 1e-4) - 1)[exact > 0].max() <= 0.0005


def test_the_fingerprint_is_that_of_the_network_and_not_of_its_layers_names():
    def network(stride=1):
        keras.utils.set_random_seed(0)
        return keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Conv2D(2, 3, stride), keras.layers.Flatten()])

    one, same, other = network(), network(), network(stride=2)
    assert one.layers[0].name != same.layers[0].name
    assert engines.fingerprint(one) == engines.fingerprint(same) != engines.fingerprint(other)
    same.layers[0].set_weights([same.layers[0].get_weights()[0] + 1, np.zeros(2)])
    assert engines.fingerprint(one) != engines.fingerprint(same)


def test_questions_from_many_threads_are_put_to_keras_together(network, pictures):
    asked, engine = [], engines.Keras(network)
    engine._ask, plain = lambda batch: asked.append(len(batch)) or plain(batch), engine._ask
    with engine.turn, ThreadPoolExecutor(9) as pool:
        answers = [pool.submit(engine, picture) for picture in pictures]
        while engine.waiting.qsize() < 9:  # all of them come while another question is answered
            pass
        engine.turn.release()
        said = np.stack([answer.result() for answer in answers])
        engine.turn.acquire()
    assert asked == [9]
    assert np.allclose(said, network.predict_on_batch(pictures.astype(np.float32)), atol=1e-6)


def test_a_question_that_keras_cannot_answer_is_an_error_for_everybody_who_asked_with_it(network):
    engine = engines.Keras(network)
    with pytest.raises(ValueError):
        engine(np.zeros((3, 3)))
    assert engine(np.zeros((32, 32, 3))).shape == network.output_shape[1:]


def test_an_export_that_cannot_be_kept_is_done_without(network, pictures, tmp_path):
    (tmp_path / "file").touch()
    assert isinstance(engines.engine(network, tmp_path / "file"), engines.LiteRT)
