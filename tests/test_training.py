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
    train = training.Dataset([prepared / "train"], LABELS, sizes, seed)
    judged = training.Dataset([prepared / "val"], LABELS, sizes[-1:]) if val else None
    options = {"layers": training.changes(seed, moved=True), "rate": 0.01, "progress": False} | options
    history = training.fit(model, train, judged, folder=folder, **options)
    return np.concatenate([weight.ravel() for weight in model.get_weights()]), history, model


def test_the_data_set_gives_what_keras_own_gives(prepared):
    ours = training.Dataset([prepared / "val"], LABELS, [24])
    theirs = keras.utils.image_dataset_from_directory(
        prepared / "val", label_mode="categorical", image_size=(24, 24), interpolation="area", shuffle=False, verbose=0
    )
    (pictures, targets), (wanted, same) = next(iter(ours.batches)), next(iter(theirs))
    assert np.array_equal(pictures, wanted) and np.array_equal(targets, same)
    assert ours.targets.tolist() == [0] * 4 + [1] * 4


def test_every_epoch_has_an_order_of_its_own_that_its_number_decides(prepared):
    data, again = (training.Dataset([prepared / "train"], LABELS, [8, 8, 12], seed=5) for _ in range(2))
    seen = {}
    for epoch in (0, 1, 2):
        data.epoch.assign(epoch)
        seen[epoch] = np.concatenate([np.asarray(pictures) for pictures, _ in data.batches])
    assert {epoch: pictures.shape for epoch, pictures in seen.items()} == {
        0: (24, 8, 8, 3),
        1: (24, 8, 8, 3),
        2: (24, 12, 12, 3),
    }
    assert not np.array_equal(seen[0], seen[1])
    assert np.allclose(np.sort(seen[0].sum((1, 2, 3))), np.sort(seen[1].sum((1, 2, 3))))
    again.epoch.assign(1)
    assert np.array_equal(seen[1], np.concatenate([np.asarray(pictures) for pictures, _ in again.batches]))


def test_same_seed_same_weights_another_seed_others(prepared, tmp_path):
    first = trained(prepared, tmp_path / "a")[0]
    assert np.array_equal(first, trained(prepared, tmp_path / "b")[0])
    assert not np.array_equal(first, trained(prepared, tmp_path / "c", seed=1)[0])


def test_training_learns_and_keeps_the_best_epoch(prepared, tmp_path):
    _, history, model = trained(prepared, tmp_path / "a", sizes=[32] * 8, layers=())
    assert list(history.columns) == ["loss", "accuracy", "val_loss", "val_accuracy", "kept"]
    assert history.loss.iloc[-1] < history.loss.iloc[0]
    val = training.Dataset([prepared / "val"], LABELS, [32])
    right = model.predict(val.batches, verbose=0).argmax(1) == val.targets
    assert right.mean() == pytest.approx(history.val_accuracy.max())
    assert history.val_accuracy[history.kept].tolist() == [history.val_accuracy.max()]


class Stopped(BaseException):
    """What kills a training here."""


@pytest.mark.parametrize(("sizes", "at"), [((32, 32, 32, 32), 2), ((24, 24, 32, 32), 2), ((24, 32), 0)])
@pytest.mark.parametrize("when", ["before the best is written", "before the backup", "after the backup"])
def test_a_training_that_was_stopped_goes_on_to_the_same_weights(prepared, tmp_path, monkeypatch, sizes, at, when):
    """Also across sizes; stopped in the first or the third epoch, at whichever moment."""
    whole, history, _ = trained(prepared, tmp_path / "whole", sizes=sizes)
    place = {
        "before the best is written": (keras.callbacks.ModelCheckpoint, "on_epoch_end", False),
        "before the backup": (training.Backup, "on_epoch_end", False),
        "after the backup": (training.Backup, "on_epoch_end", True),
    }
    kind, name, after = place[when]
    original = getattr(kind, name)

    def dying(self, epoch, logs=None):
        if epoch != at or after:
            original(self, epoch, logs)
        if epoch == at:
            raise Stopped

    with monkeypatch.context() as patched, pytest.raises(Stopped):
        patched.setattr(kind, name, dying)
        trained(prepared, tmp_path / "c", sizes=sizes)
    resumed, again, _ = trained(prepared, tmp_path / "c", sizes=sizes)
    assert np.array_equal(whole, resumed)
    assert history.equals(again)


def test_a_backup_that_was_cut_off_is_replaced_by_the_one_before(prepared, tmp_path):
    whole, history, _ = trained(prepared, tmp_path / "a", sizes=[32] * 3)
    (backup,) = (tmp_path / "a").rglob("latest.weights.h5")
    backup.write_bytes(backup.read_bytes()[:1000])
    again, same, _ = trained(prepared, tmp_path / "a", sizes=[32] * 3)
    assert np.array_equal(whole, again) and history.equals(same)


def test_if_the_first_backup_was_cut_off_training_begins_again(prepared, tmp_path, monkeypatch):
    whole, history, _ = trained(prepared, tmp_path / "whole")
    original = training.Backup._save_model

    def cut_off(self):
        original(self)
        for file in (tmp_path / "a/backup").iterdir():
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        raise Stopped

    with monkeypatch.context() as patched, pytest.raises(Stopped):
        patched.setattr(training.Backup, "_save_model", cut_off)
        trained(prepared, tmp_path / "a")
    again, same, _ = trained(prepared, tmp_path / "a")
    assert np.array_equal(whole, again) and history.equals(same)


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
    for file in sorted((prepared / "train/two").iterdir())[:2]:
        (tmp_path / "train/two").mkdir(parents=True, exist_ok=True)
        (tmp_path / "train/two" / file.name).write_bytes(file.read_bytes())
    (tmp_path / "train/one").symlink_to(prepared / "train/one")
    (tmp_path / "val").symlink_to(prepared / "val")
    plain, weighted = (trained(tmp_path, tmp_path / f"{one}", class_weights=one)[0] for one in (False, True))
    assert not np.array_equal(plain, weighted)


def test_one_bar_tells_that_it_compiles_and_what_comes_out(prepared, tmp_path, monkeypatch):
    bars = []

    class Shown:
        def __init__(self, items, total, doing, show=True):
            self.total, self.done, self.said = total, 0, [doing]
            bars.append(self)

        def set_description(self, text, **_):
            self.said.append(text)

        def set_postfix(self, scores, **_):
            self.said.append(str(scores))

        def update(self, count):
            self.done += count

        def close(self):
            self.said.append("closed")

    monkeypatch.setattr(training.runs, "watch", Shown)
    trained(prepared, tmp_path / "a", progress=True)
    (bar,) = bars
    assert bar.done == bar.total
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
        training.Dataset([tmp_path / "train"], LABELS, [8])


@pytest.mark.parametrize("moved", [False, True])
def test_augmentation_changes_training_pictures_only(moved):
    changes = keras.Sequential(training.changes(0, moved))
    picture = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype("float32")
    assert np.array_equal(changes(picture, training=False), picture)
    assert not np.allclose(changes(picture, training=True), picture)


def test_the_small_cnn_takes_the_pictures_of_the_prepared_folder(prepared, tmp_path):
    train = training.Dataset([prepared / "train"], LABELS, [16], 0)
    history = training.fit(networks.small_cnn(LABELS, 16), train, None, 0.01, tmp_path / "a", progress=False)
    assert history.loss.notna().all()
