"""Training by gradient steps: plain `fit` with Keras' own callbacks, stopped and resumed without loss."""

import contextlib
import importlib.util
import warnings
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


class Dataset:
    """Pictures of prepared folders as a tf.data.Dataset, decoded as `image_dataset_from_directory` does.

    Args:
        folders: Such as `prepared/train`: a sub-folder per class.
        labels: The classes, in the order of the class numbers.
        sizes: Height and width of the pictures in pixels, for each epoch; of validation pictures a single one.
        seed: Of the order of the pictures in each epoch, which depends on nothing but this and the epoch's number.
            Defaults to none: sorted.

    Attributes:
        batches: A tf.data.Dataset of 32 pictures, 0 to 255, and one-hot targets.
        epoch: A variable; which epoch comes next.
    """

    def __init__(self, folders: list[Path], labels: list[str], sizes: Sequence[int], seed: int | None = None):
        import tensorflow as tf

        files = sorted(file for folder in folders for file in folder.glob("*/*.jpg"))
        if not files:
            raise InputError(f"no pictures in {folders[0]}: split the catalog and prepare it again")
        self.targets = np.array([labels.index(file.parent.name) for file in files])
        self.steps = -(-len(files) // BATCH)
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
    """Lets the order of pictures and all that layers draw by lot depend on the epoch's number alone.

    Keras' backup knows weights and optimizer, but not how far the random numbers were.

    Args:
        data: Training pictures.
        seed: Of the layers' random numbers.
    """

    def __init__(self, data: Dataset, seed: int):
        super().__init__()
        self.data, self.seed = data, seed

    def on_epoch_begin(self, epoch, logs=None):
        """Set them."""
        self.data.epoch.assign(epoch)
        states = [variable for variable in self.model.variables if variable.name == "seed_generator_state"]
        for at, state in enumerate(states):
            state.assign(np.array([self.seed + at, epoch], state.dtype))


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
    epochs: int,
    rate: float,
    folder: Path,
    augmentation: keras.Sequential | None = None,
    seed: int = 0,
    class_weights: bool = False,
    logs: str | Path | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Train every weight that is trainable; the epoch with the best validation accuracy is kept.

    Args:
        model: Changed in place.
        train: Training pictures, for as many epochs.
        val: Validation pictures, which choose the epoch; None trains to the end.
        epochs: Passes over the training pictures.
        rate: Peak learning rate of AdamW, reached after a tenth of the steps, then falling along a cosine to zero.
        folder: Gets the state after every epoch; a later call with the same arguments goes on from there, to the same
            weights as if nothing had happened.
        augmentation: Layers that change training pictures. Defaults to none.
        seed: Of the layers' random numbers. Defaults to 0.
        class_weights: Let every class count alike, however many pictures it has. Defaults to False.
        logs: A folder for TensorBoard. Defaults to none.
        progress: Show a bar. Defaults to True.

    Returns:
        History with one row per epoch: loss, accuracy, val_loss, val_accuracy, kept (whether the model has the weights
        of this epoch).

    Raises:
        InputError: If logs are wanted and TensorBoard is not installed.
    """
    if logs and not importlib.util.find_spec("tensorboard"):
        raise InputError("TensorBoard is not installed: pip install tensorboard, or leave its logs out")
    _warn_of_a_slow_backend()
    folder.mkdir(parents=True, exist_ok=True)
    steps, best, table = epochs * train.steps, folder / "best.weights.h5", folder / "history.csv"
    schedule = keras.optimizers.schedules.CosineDecay(
        rate / 100, max(1, steps - steps // 10), warmup_target=rate, warmup_steps=max(1, steps // 10)
    )
    changes = augmentation.layers if augmentation else []
    network = keras.Sequential([keras.Input(model.input_shape[1:]), *changes, model])
    network.compile(
        optimizer=keras.optimizers.AdamW(schedule, weight_decay=1e-4),
        loss=keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1),  # Szegedy et al. 2016
        metrics=["accuracy"],
        jit_compile=False,  # XLA is ten times slower for convolutions on a CPU
    )
    callbacks = [Reseed(train, seed)]
    if val:
        so_far = _history(table).val_accuracy.max() if table.is_file() and table.stat().st_size else None
        options = {"monitor": "val_accuracy", "mode": "max", "save_best_only": True, "save_weights_only": True}
        callbacks.append(keras.callbacks.ModelCheckpoint(best, initial_value_threshold=so_far, **options))
    callbacks += [keras.callbacks.CSVLogger(table, append=True)]
    callbacks += [Bar()] * progress + [keras.callbacks.TensorBoard(str(logs))] * bool(logs)
    callbacks += [Backup(folder / "backup", delete_checkpoint=False, double_checkpoint=True)]  # last: all is written
    network.fit(
        train.batches,
        validation_data=val and val.batches,
        epochs=epochs,
        verbose=0,
        shuffle=False,  # the batches have an order of their own, which a stop does not change
        class_weight=balanced(train.targets) if class_weights else None,
        callbacks=callbacks,
    )
    history = _history(table)
    if val:
        network.load_weights(best)
    kept = history.val_accuracy.idxmax() if val else history.index[-1]
    return history.assign(kept=history.index == kept)


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


def _warn_of_a_slow_backend() -> None:
    """JAX without a GPU trained 2.9 pictures a second of MobileNetV2 at 160 pixels, TensorFlow 24 to 29."""
    if keras.backend.backend() == "jax":
        import jax

        if all(device.platform == "cpu" for device in jax.devices()):
            warnings.warn(
                "Keras runs on JAX, which finds no GPU here and trains these networks about ten times more slowly than "
                "TensorFlow: set KERAS_BACKEND=tensorflow",
                stacklevel=4,
            )
