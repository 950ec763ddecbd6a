"""Training by gradient steps: plain `fit`, epoch by epoch, stopped and resumed without loss."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.utils.class_weight import compute_class_weight

from sneakerlib import RANGES, InputError, runs, tables
from sneakerlib.learning.quiet import keras

BATCH = 32
SMALLEST, _ = RANGES["size"]
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


def batches(folder: Path, labels: list[str], size: int, seed: int | None = None):
    """The pictures of a folder, such as `prepared/train`, as `image_dataset_from_directory` gives them, 32 at a time.

    Args:
        folder: A sub-folder per class.
        labels: The classes, in the order of the class numbers; one without pictures there will do.
        size: Height and width of the pictures in pixels.
        seed: Of their order. Defaults to sorted.
    """
    if not any(folder.glob("*/*.jpg")):
        raise InputError(f"no pictures in {folder}: split the catalog and prepare it again")
    for label in labels:  # Keras wants a sub-folder of each
        (folder / label).mkdir(exist_ok=True)
    how = {"shuffle": seed is not None, "seed": seed, "interpolation": "area", "batch_size": BATCH, "verbose": False}
    labelled = {"label_mode": "categorical", "class_names": labels}
    return keras.utils.image_dataset_from_directory(folder, image_size=(size, size), **labelled, **how)


class Bar(keras.callbacks.Callback):
    """One bar for the whole training, with the time left. The first step compiles the network, and the bar says so.

    Args:
        epochs: Until which the bar goes, if one `fit` does not do them all. Defaults to those of the first `fit`.
    """

    def __init__(self, epochs: int | None = None):
        super().__init__()
        self.epochs, self.bar = epochs, None

    def on_epoch_begin(self, epoch, logs=None):
        """Begin with the first epoch that there is to do."""
        if not self.bar:
            total = ((self.epochs or self.params["epochs"]) - epoch) * self.params["steps"] * BATCH
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
        if not self.epochs or self.bar.n >= self.bar.total:
            self.bar.close()


def fit(
    model: keras.Model,
    pictures: Path,
    labels: list[str],
    sizes: Sequence[int],
    rate: float,
    folder: Path,
    seed: int = 0,
    layers: Sequence[keras.Layer] = (),
    class_weights: dict[int, float] | None = None,
    logs: str | Path | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Train every weight that is trainable, in place; the epoch with the best validation accuracy is kept.

    One `fit` of Keras per epoch: so each may have pictures of another size, and what lies in `folder` after it is all
    that the next one depends on.

    Args:
        model: From pictures of 0 to 255 to logits.
        pictures: The prepared folder: `train`, and `val` to choose the epoch; without that one the last epoch is kept.
        labels: The classes, in the order of the logits.
        sizes: Height and width of the pictures in pixels, for each epoch.
        rate: Peak learning rate of AdamW, reached after a tenth of the steps, then falling along a cosine to zero.
        folder: Gets the state after every epoch: a later call goes on from there as if nothing had happened.
        seed: With the number of an epoch it decides the order of the pictures and what layers draw by lot.
        layers: Change training pictures.
        class_weights: How much a picture of each class counts, see `balanced`. Defaults to 1.
        logs: See `recipes.Options`.
        progress: Show a bar.

    Returns:
        A row per epoch: loss, accuracy, val_loss, val_accuracy, kept (whether the model has this epoch's weights).
    """
    if logs and not importlib.util.find_spec("tensorboard"):
        raise InputError("TensorBoard is not installed: pip install tensorboard, or leave its logs out")
    state, best, table = folder / "state.weights.h5", folder / "best.weights.h5", folder / "history.csv"
    val = batches(pictures / "val", labels, sizes[-1]) if (pictures / "val").is_dir() else None
    each = len(batches(pictures / "train", labels, sizes[0]))
    steps = each * len(sizes)
    warm_up = {"warmup_target": rate, "warmup_steps": max(1, steps // 10)}
    schedule = keras.optimizers.schedules.CosineDecay(rate / 100, max(1, steps - steps // 10), **warm_up)
    network = keras.Sequential([keras.Input(model.input_shape[1:]), *layers, model])
    network.compile(
        optimizer=keras.optimizers.AdamW(schedule, weight_decay=1e-4),
        loss=keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1),  # Szegedy et al. 2016
        metrics=["accuracy"],
        jit_compile=False,  # XLA is ten times slower for convolutions on a CPU
    )
    network.optimizer.build(network.trainable_variables)
    history = pd.DataFrame(columns=["loss", "accuracy", "val_loss", "val_accuracy"], dtype=float).rename_axis("epoch")
    if state.is_file():
        network.load_weights(state)  # of the optimizer, too: it counts the steps
        history = pd.read_csv(table, index_col="epoch", engine="python")  # to the last digit
    done = int(network.optimizer.iterations) // each
    history = history.head(done)  # a kill may have come between the two
    callbacks = [Bar(len(sizes))] * progress + [keras.callbacks.TensorBoard(str(logs), write_graph=False)] * bool(logs)
    for epoch in range(done, len(sizes)):
        for at, drawn in enumerate(one for one in network.variables if one.name == "seed_generator_state"):
            drawn.assign(np.array([seed + at, epoch], drawn.dtype))
        order = int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])
        train = batches(pictures / "train", labels, sizes[epoch], order)
        how = {"callbacks": callbacks, "class_weight": class_weights, "shuffle": False, "verbose": 0}
        said = network.fit(train, validation_data=val, initial_epoch=epoch, epochs=epoch + 1, **how).history
        history.loc[epoch + 1] = pd.Series({name: values[0] for name, values in said.items()})
        if val and history.val_accuracy.idxmax() == epoch + 1:
            with runs.replacing(best) as beside:
                model.save_weights(beside)
        tables.write_csv(table, history)
        with runs.replacing(state) as beside:
            network.save_weights(beside)
    if val:
        model.load_weights(best)
    return history.assign(kept=history.index == (history.val_accuracy.idxmax() if val else len(sizes)))


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
