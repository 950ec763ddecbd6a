import contextlib

import numpy as np
import pytest
from PIL import Image

from sneakerlib import InputError
from sneakerlib.learning import networks, training
from sneakerlib.learning.quiet import keras

LABELS = ["one", "two"]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A prepared folder of two classes that are told apart by their brightness: 24 pictures to learn from, 8 others."""
    out, rng = tmp_path_factory.mktemp("prepared"), np.random.default_rng(0)
    for split, count in (("train", 12), ("val", 4)):
        for label, brightest in zip(LABELS, (64, 256), strict=True):
            (out / split / label).mkdir(parents=True)
            for number in range(count):
                picture = Image.fromarray(rng.integers(0, brightest, (40, 50, 3), np.uint8))
                picture.save(out / split / label / f"{number}.jpg")
    return out


def small(size=32):
    """A network with dropout and batch normalisation that trains in no time, for pictures of any size if need be."""
    inputs = keras.Input((size, size, 3))
    x = keras.layers.Conv2D(4, 3, strides=2)(keras.layers.Rescaling(1 / 255)(inputs))
    x = keras.layers.Dropout(0.3)(
        keras.layers.GlobalAveragePooling2D()(keras.layers.BatchNormalization(momentum=0.5)(x))
    )
    return keras.Model(inputs, keras.layers.Dense(2, name="logits")(x))


def trained(prepared, folder, seed=0, sizes=(32, 32), val=True, **options):
    """All weights of a small network after some epochs, as a new process would have them, and the history."""
    training.seed_everything(seed)
    model = small(sizes[0] if len(set(sizes)) == 1 else None)
    pictures = prepared
    if not val:
        pictures = folder / "without"
        pictures.mkdir(parents=True)
        (pictures / "train").symlink_to(prepared / "train")
    options = {"layers": training.changes(seed, moved=True), "rate": 0.01, "progress": False} | options
    history = training.fit(model, pictures, LABELS, sizes, folder=folder, seed=seed, **options)
    return np.concatenate([weight.ravel() for weight in model.get_weights()]), history, model


def test_every_epoch_has_an_order_and_a_size_of_its_own(prepared, tmp_path, monkeypatch):
    seen, original = [], training.batches

    def watched(folder, labels, size, seed=None):
        data = original(folder, labels, size, seed)
        if seed is not None:
            seen.append(np.concatenate([np.asarray(pictures) for pictures, _ in data]))
        return data

    monkeypatch.setattr(training, "batches", watched)
    trained(prepared, tmp_path / "a", sizes=(8, 8, 12))
    assert [pictures.shape for pictures in seen] == [(24, 8, 8, 3), (24, 8, 8, 3), (24, 12, 12, 3)]
    assert not np.array_equal(seen[0], seen[1])
    assert np.allclose(np.sort(seen[0].sum((1, 2, 3))), np.sort(seen[1].sum((1, 2, 3))))


def test_a_class_without_pictures_in_a_split_keeps_its_number(prepared, tmp_path):
    (tmp_path / "val").mkdir()
    (tmp_path / "val/two").symlink_to(prepared / "val/two")
    ((_, targets),) = training.batches(tmp_path / "val", LABELS, 8)
    assert np.array_equal(targets, [[0, 1]] * 4)


def test_same_seed_same_weights_another_seed_others(prepared, tmp_path):
    first = trained(prepared, tmp_path / "a")[0]
    assert np.array_equal(first, trained(prepared, tmp_path / "b")[0])
    assert not np.array_equal(first, trained(prepared, tmp_path / "c", seed=1)[0])


def test_training_learns_and_keeps_the_best_epoch(prepared, tmp_path):
    _, history, model = trained(prepared, tmp_path / "a", sizes=[32] * 8, layers=())
    assert list(history.columns) == ["loss", "accuracy", "val_loss", "val_accuracy", "kept"]
    assert history.loss.iloc[-1] < history.loss.iloc[0]
    val = training.batches(prepared / "val", LABELS, 32)
    right = model.predict(val, verbose=0).argmax(1) == [0] * 4 + [1] * 4
    assert right.mean() == pytest.approx(history.val_accuracy.max())
    assert history.val_accuracy[history.kept].tolist() == [history.val_accuracy.max()]


class Stopped(BaseException):
    """What kills a training here."""


@pytest.fixture(scope="module")
def undisturbed(prepared, tmp_path_factory):
    """What comes out of a training that nobody stops."""
    sizes = ((24, 24, 32, 32), (24, 32))
    return {size: trained(prepared, tmp_path_factory.mktemp("whole"), sizes=size)[:2] for size in sizes}


@pytest.mark.parametrize(("sizes", "at"), [((24, 24, 32, 32), 2), ((24, 32), 0)])
@pytest.mark.parametrize(
    ("file", "after"),
    [("best.weights.h5", False), ("history.csv", False), ("state.weights.h5", False), ("state.weights.h5", True)],
)
def test_a_training_that_was_stopped_goes_on_to_the_same_weights(
    prepared, tmp_path, monkeypatch, undisturbed, sizes, at, file, after
):
    """Also across sizes; stopped in the first or the third epoch, before or after a file was put in place."""
    whole, history = undisturbed[sizes]
    original, written = training.runs.replacing, []

    @contextlib.contextmanager
    def dying(path):
        dies = path.name == file and written.count("state.weights.h5") >= at
        with original(path) as beside:
            yield beside
            if dies and not after:
                raise Stopped
        written.append(path.name)
        if dies:
            raise Stopped

    with monkeypatch.context() as patched:
        for module in (training.runs, training.tables):
            patched.setattr(module, "replacing", dying)
        with pytest.raises(Stopped):
            trained(prepared, tmp_path / "c", sizes=sizes)
    resumed, again, _ = trained(prepared, tmp_path / "c", sizes=sizes)
    assert np.array_equal(whole, resumed)
    assert history.equals(again)


def test_without_validation_the_last_epoch_is_kept(prepared, tmp_path):
    _, history, _ = trained(prepared, tmp_path / "a", val=False)
    assert history.kept.tolist() == [False, True]
    assert history.val_accuracy.isna().all()


def test_class_weights_let_every_class_count_alike():
    targets = np.array([0] * 30 + [1] * 10)
    weights = training.balanced(targets)
    assert weights[0] * 30 == pytest.approx(weights[1] * 10)
    assert np.mean([weights[target] for target in targets]) == pytest.approx(1)


def test_class_weights_change_what_is_learned(prepared, tmp_path):
    plain, weighted = (trained(prepared, tmp_path / f"{one}", class_weights=one)[0] for one in (None, {0: 1.5, 1: 0.5}))
    assert not np.array_equal(plain, weighted)


def test_one_bar_tells_that_it_compiles_and_what_comes_out(prepared, tmp_path, monkeypatch):
    bars = []

    class Shown:
        def __init__(self, items, total, doing, show=True):
            self.total, self.n, self.said = total, 0, [doing]
            bars.append(self)

        def set_description(self, text, **_):
            self.said.append(text)

        def set_postfix(self, scores, **_):
            self.said.append(str(scores))

        def update(self, count):
            self.n += count

        def close(self):
            self.said.append("closed")

    monkeypatch.setattr(training.runs, "watch", Shown)
    trained(prepared, tmp_path / "a", progress=True)
    (bar,) = bars
    assert bar.n == bar.total
    assert "compiling" in bar.said[0] and "val_accuracy" in bar.said[-2] and bar.said[-1] == "closed"


def test_logs_without_tensorboard_are_an_error_that_says_what_to_install(prepared, tmp_path, monkeypatch):
    monkeypatch.setattr(training.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install tensorboard"):
        trained(prepared, tmp_path / "a", logs=tmp_path)


def test_tensorboard_shows_the_curves_of_the_history(prepared, tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed: pip install tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util import tensor_util

    _, history, _ = trained(prepared, tmp_path / "a", logs=tmp_path / "logs")
    for folder, column in (("train", "accuracy"), ("validation", "val_accuracy")):
        found = EventAccumulator(str(tmp_path / "logs" / folder)).Reload().Tensors("epoch_accuracy")
        shown = [float(tensor_util.make_ndarray(event.tensor_proto)) for event in found]
        assert shown == pytest.approx(history[column].tolist(), abs=1e-6)


def test_an_empty_split_is_named(tmp_path):
    with pytest.raises(InputError, match=r"no pictures in .*train: split the catalog"):
        training.batches(tmp_path / "train", LABELS, 8)


@pytest.mark.parametrize("moved", [False, True])
def test_augmentation_changes_training_pictures_only(moved):
    changes = keras.Sequential(training.changes(0, moved))
    picture = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype("float32")
    assert np.array_equal(changes(picture, training=False), picture)
    assert not np.allclose(changes(picture, training=True), picture)


def test_the_small_cnn_takes_the_pictures_of_the_prepared_folder(prepared, tmp_path):
    history = training.fit(networks.small_cnn(LABELS, 16), prepared, LABELS, [16], 0.01, tmp_path / "a", progress=False)
    assert history.loss.notna().all()
