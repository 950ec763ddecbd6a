"""Training by gradient steps: plain `fit` with Keras' own callbacks, stopped and resumed without loss."""

import contextlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.utils.class_weight import compute_class_weight

from sneakerlib import InputError, runs
from sneakerlib.learning.features import decoded
from sneakerlib.learning.quiet import keras

BATCH = 32
SMALLEST = 32  # pixels: a network halves them five times
# Fine-tuning sees small pictures first (progressive resizing, Howard 2018, fast.ai's DAWNBench entry): of the size, and
# of the epochs.
SMALL_FIRST = {0.6: 3, 0.8: 2, 1.0: 1}


def seed_everything(seed: int) -> None:
    """Make training repeat itself: same seed, same machine, same versions, same weights."""
    import tensorflow as tf

    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def changes(seed: int, moved: bool = False) -> list[keras.Layer]:
    """Layers that mirror and relight pictures of 0 to 255 in training; and, if they may be `moved`, crop them.

    Turning and zooming interpolate, so a network that learns its own normalisation sees small pictures blurred in
    training and sharp afterwards: on validation pictures at 64 pixels, one seed, a CNN from scratch reached 0.71 with
    light alone, 0.55 with turning, zooming and shifting as well, 0.67 without changes.
    """
    light = [
        keras.layers.RandomFlip("horizontal", seed=seed),
        keras.layers.RandomBrightness(0.1, value_range=(0, 255), seed=seed + 1),
        keras.layers.RandomContrast(0.2, value_range=(0, 255), seed=seed + 2),
    ]
    zoom = keras.layers.RandomZoom((-0.2, 0.0), fill_mode="nearest", seed=seed + 3)  # to 80 % of the side at the least
    return [*light, zoom, keras.layers.RandomTranslation(0.1, 0.1, "nearest", seed=seed + 4)] if moved else light


class Dataset:
    """Pictures of prepared folders as `batches` of 32, as `image_dataset_from_directory` decodes them.

    Args:
        folders: Such as `prepared/train`: a sub-folder per class.
        labels: The classes, in the order of the class numbers.
        sizes: Height and width of the pictures in pixels, for each epoch; of validation pictures a single one.
        seed: Of the order in each epoch, which depends on nothing else but the variable `epoch`. Defaults to sorted.
    """

    def __init__(self, folders: list[Path], labels: list[str], sizes: Sequence[int], seed: int | None = None):
        import tensorflow as tf

        files = sorted(file for folder in folders for file in folder.glob("*/*.jpg"))
        if not files:
            raise InputError(f"no pictures in {folders[0]}: split the catalog and prepare it again")
        self.targets = np.array([labels.index(file.parent.name) for file in files])
        self.seed, self.epochs, self.steps = seed, len(sizes), -(-len(files) // BATCH)
        self.epoch = tf.Variable(0, trainable=False)
        order = [np.arange(len(files)) for _ in sizes]
        if seed is not None:
            order = [np.random.default_rng([seed, at]).permutation(rows) for at, rows in enumerate(order)]
        paths, wanted = tf.constant(list(map(str, files))), tf.one_hot(self.targets, len(labels))
        order, pixels = tf.constant(np.stack(order)), tf.constant(list(sizes))
        shape = (None, None, 3) if len(set(sizes)) > 1 else (sizes[0], sizes[0], 3)

        def one(_):
            rows = order[self.epoch]
            return tf.data.Dataset.from_tensor_slices((rows, tf.fill(tf.shape(rows), pixels[self.epoch])))

        def read(at, size):  # without the variable: what reads one does not run in parallel
            return tf.ensure_shape(decoded(tf.io.read_file(paths[at]), size), shape), wanted[at]

        data = tf.data.Dataset.range(1).flat_map(one).map(read, tf.data.AUTOTUNE).batch(BATCH)
        self.batches = data.apply(tf.data.experimental.assert_cardinality(self.steps)).prefetch(tf.data.AUTOTUNE)


class Reseed(keras.callbacks.Callback):
    """Lets the order of pictures, and all that layers draw by lot, depend on seed and epoch alone: no backup has it."""

    def __init__(self, data: Dataset):
        super().__init__()
        self.data = data

    def on_epoch_begin(self, epoch, logs=None):
        """Set them."""
        self.data.epoch.assign(epoch)
        states = [variable for variable in self.model.variables if variable.name == "seed_generator_state"]
        for at, state in enumerate(states):
            state.assign(np.array([self.data.seed + at, epoch], state.dtype))


class Backup(keras.callbacks.BackupAndRestore):
    """Keras' backup; which epoch comes next is what the optimizer has counted, so the two cannot disagree."""

    def on_train_begin(self, logs=None):
        """Go on from the last backup or the one before; if the very first was cut off, begin again."""
        Path(self._training_metadata_path).unlink(missing_ok=True)  # not needed, and it may have been cut off, too
        with contextlib.suppress(*[] if Path(self._prev_weights_path).is_file() else [OSError]):
            super().on_train_begin(logs)

    def _load_model(self):
        super()._load_model()
        self.model._initial_epoch = int(self.model.optimizer.iterations) // self.params["steps"]


class Bar(keras.callbacks.Callback):
    """One bar for the whole training, with the time left. The first step compiles the network, and the bar says so."""

    bar = None

    def on_epoch_begin(self, epoch, logs=None):
        """Begin where the backup left off."""
        if not self.bar:
            total = (self.params["epochs"] - epoch) * self.params["steps"] * BATCH
            self.bar = runs.watch(None, total, "compiling the network: the first step takes longest")

    def on_train_batch_end(self, batch, logs=None):
        """Move on."""
        self.bar.set_description("training", refresh=False)
        self.bar.update(BATCH)

    def on_epoch_end(self, epoch, logs=None):
        """Show the scores."""
        self.bar.set_postfix({name: f"{value:.3f}" for name, value in logs.items() if "acc" in name}, refresh=False)

    def on_train_end(self, logs=None):
        """Away with it: the history says what came out."""
        if self.bar:
            self.bar.close()


def fit(
    model: keras.Model,
    train: Dataset,
    val: Dataset | None,
    rate: float,
    folder: Path,
    layers: Sequence[keras.Layer] = (),
    class_weights: bool = False,
    logs: str | Path | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Train every weight that is trainable, in place; the epoch with the best validation accuracy is kept.

    Args:
        model: From pictures of 0 to 255 to logits.
        train: Training pictures, of as many epochs as there are to be.
        val: Validation pictures, which choose the epoch; None trains to the end.
        rate: Peak learning rate of AdamW, reached after a tenth of the steps, then falling along a cosine to zero.
        folder: Gets the state after every epoch: a later call goes on from there as if nothing had happened.
        layers: Change training pictures.
        class_weights: See `recipes.Options`.
        logs: See `recipes.Options`.
        progress: Show a bar.

    Returns:
        A row per epoch: loss, accuracy, val_loss, val_accuracy, kept (whether the model has this epoch's weights).
    """
    if logs and not importlib.util.find_spec("tensorboard"):
        raise InputError("TensorBoard is not installed: pip install tensorboard, or leave its logs out")
    folder.mkdir(parents=True, exist_ok=True)
    steps, best, table = train.epochs * train.steps, folder / "best.weights.h5", folder / "history.csv"
    warm_up = {"warmup_target": rate, "warmup_steps": max(1, steps // 10)}
    schedule = keras.optimizers.schedules.CosineDecay(rate / 100, max(1, steps - steps // 10), **warm_up)
    network = keras.Sequential([keras.Input(model.input_shape[1:]), *layers, model])
    network.compile(
        optimizer=keras.optimizers.AdamW(schedule, weight_decay=1e-4),
        loss=keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1),  # Szegedy et al. 2016
        metrics=["accuracy"],
        jit_compile=False,  # XLA is ten times slower for convolutions on a CPU
    )
    callbacks = [Reseed(train)]
    if val:
        so_far = _history(table).val_accuracy.max() if table.is_file() and table.stat().st_size else None
        options = {"monitor": "val_accuracy", "mode": "max", "save_best_only": True, "save_weights_only": True}
        callbacks += [keras.callbacks.ModelCheckpoint(best, initial_value_threshold=so_far, **options)]
    callbacks += [keras.callbacks.CSVLogger(table, append=True)]
    callbacks += [Bar()] * progress + [keras.callbacks.TensorBoard(str(logs))] * bool(logs)
    callbacks += [Backup(folder / "backup", delete_checkpoint=False, double_checkpoint=True)]  # last: all is written
    counts = balanced(train.targets) if class_weights else None
    how = {"epochs": train.epochs, "class_weight": counts, "callbacks": callbacks, "verbose": 0}
    network.fit(train.batches, validation_data=val and val.batches, shuffle=False, **how)  # the order is the data's own
    history = _history(table)
    if val:
        network.load_weights(best)
    return history.assign(kept=history.index == (history.val_accuracy.idxmax() if val else history.index[-1]))


def _history(table: Path) -> pd.DataFrame:
    """What was logged; an epoch that was begun again after a kill counts once."""
    rows = pd.read_csv(table).drop_duplicates("epoch", keep="last").set_index("epoch")
    rows.index = rows.index + 1
    return rows.reindex(columns=["loss", "accuracy", "val_loss", "val_accuracy"])


def sizes_of(size: int, epochs: int) -> list[int]:
    """The size of the pictures in each epoch of fine-tuning: small ones first, the wanted size at least once, last.

    >>> sizes_of(160, 6), sizes_of(160, 1)
    ([96, 96, 96, 128, 128, 160], [160])
    """
    total, sizes = sum(SMALL_FIRST.values()), []
    for share, part in SMALL_FIRST.items():
        sizes += [max(SMALLEST, round(share * size))] * round(epochs * part / total)
    return [*[*sizes, *[size] * epochs][: epochs - 1], size]


def balanced(targets: np.ndarray) -> dict[int, float]:
    """How much a picture of each class counts, so that every class counts alike and the mean picture as 1."""
    classes = np.unique(targets)
    return dict(zip(classes.tolist(), compute_class_weight("balanced", classes=classes, y=targets).tolist()))
