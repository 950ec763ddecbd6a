"""Training by gradient steps: one stage or several, with the best epoch kept, stopped and resumed without loss."""

import importlib.util
import json
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.utils.class_weight import compute_class_weight

from sneakerlib import InputError
from sneakerlib.learning import memory
from sneakerlib.learning.pipeline import Batches
from sneakerlib.learning.quiet import keras
from sneakerlib.runs import replacing, watched


def seed_everything(seed: int) -> None:
    """Make training repeat itself: same seed, same machine, same versions, same weights."""
    keras.utils.set_random_seed(seed)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()


@dataclass(frozen=True)
class Stage:
    """A part of a training with pictures of one size.

    Attributes:
        model: Takes pictures of that size; built like those of the other stages, whose weights it takes over.
        train: Training batches.
        val: Validation batches, or None if all pictures are trained on.
        epochs: Passes over the training pictures.
    """

    model: keras.Model
    train: Batches
    val: Batches | None
    epochs: int


class Progress(keras.callbacks.Callback):
    """One line per epoch: scores, seconds, time left. The first step compiles the network, and the line says so.

    Args:
        work: What each epoch costs, in any unit, such as pixels.
    """

    def __init__(self, work: list[float]):
        super().__init__()
        self.work, self.start, self.shown = np.array(work, float), None, 0.0

    def on_train_begin(self, logs=None):
        """Start the clock."""
        if self.start is None:
            self.start, self.first = time.monotonic(), None
            print("compiling the network: the first step takes longest …", flush=True)

    def on_epoch_begin(self, epoch, logs=None):
        """Note which epoch it is: after a stop it is not the first."""
        self.epoch, self.first = epoch, epoch if self.first is None else self.first

    def on_train_batch_end(self, batch, logs=None):
        """Move the bar, now and then, if somebody watches."""
        now = time.monotonic()
        if watched() and now - self.shown > 2:
            share = (batch + 1) / self.params["steps"]
            bar = ("#" * round(20 * share)).ljust(20, "·")
            print(f"\repoch {self.epoch + 1:>3}/{len(self.work)} {bar} {self._left(share)} s left ", end="", flush=True)
            self.shown = now

    def on_epoch_end(self, epoch, logs=None):
        """Print the line."""
        scores = "  ".join(f"{name} {value:.3f}" for name, value in (logs or {}).items())
        spent = time.monotonic() - self.start
        begin = "\r" if watched() else ""
        print(f"{begin}epoch {epoch + 1:>3}/{len(self.work)}  {scores}  {spent:.0f} s, {self._left(1)} s left")
        sys.stdout.flush()

    def _left(self, share: float) -> str:
        """Seconds to go, when this share of the epoch is done."""
        done = self.work[self.first : self.epoch].sum() + share * self.work[self.epoch]
        total = self.work[self.first :].sum()
        return f"{(time.monotonic() - self.start) / done * (total - done):.0f}"


class Keeper(keras.callbacks.Callback):
    """Keeps the state of a training after every epoch, in memory and, if asked to, on disk; and its best epoch.

    The best is the one with the highest validation accuracy; of equals the later, whose rate was smaller. Without
    validation it is the last.

    Args:
        folder: Where the state is written to and found again. Defaults to nowhere.
        compared: The first epoch that counts: earlier ones see smaller pictures.
    """

    def __init__(self, folder: str | Path | None, compared: int):
        super().__init__()
        self.file = Path(folder) / "state.npz" if folder else None
        self.compared, self.history, self.state, self.best = compared, [], None, None
        if self.file and self.file.is_file():
            with np.load(self.file) as saved:
                self.history = json.loads(str(saved["history"]))
                self.state, self.best = ([saved[f"{kind}{at}"] for at in range(saved[kind])] for kind in ("s", "b"))

    @property
    def done(self) -> int:
        """Epochs so far."""
        return len(self.history)

    @property
    def kept(self) -> int:
        """Which epoch is the best so far, counted from 0."""
        scores = [(row.get("val_accuracy", 0.0), at) for at, row in enumerate(self.history)]
        return max(scores[self.compared :] or scores[-1:])[1]

    def restore(self, network: keras.Model) -> None:
        """Put the state into a network: weights, what the optimizer remembers, what random layers draw next."""
        network.optimizer.build(network.trainable_variables)
        for variable, value in zip(_variables(network), self.state or [], strict=bool(self.state)):
            variable.assign(value)

    def on_epoch_end(self, epoch, logs=None):
        """Keep everything."""
        self.history.append({name: float(value) for name, value in logs.items()})
        self.state = [keras.ops.convert_to_numpy(variable).copy() for variable in _variables(self.model)]
        if self.kept == self.done - 1:
            self.best = self.model.layers[-1].get_weights()
        if self.file:
            lists = {"s": self.state, "b": self.best}
            arrays = {f"{kind}{at}": array for kind, some in lists.items() for at, array in enumerate(some)}
            counts = {kind: len(some) for kind, some in lists.items()}
            with replacing(self.file) as beside:
                np.savez(beside, history=json.dumps(self.history), **counts, **arrays)


def _variables(network: keras.Model) -> list:
    return [*network.variables, *network.optimizer.variables]


def fit(
    model: keras.Model,
    train: Batches,
    val: Batches | None,
    epochs: int,
    rate: float = 4e-3,
    smoothing: float = 0.1,
    augmentation: keras.Sequential | None = None,
    balanced: bool = False,
    checkpoint: str | Path | None = None,
    logs: str | Path | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Train every weight that is trainable, and keep the epoch with the best validation accuracy.

    Args:
        model: Any of `models`, changed in place.
        train: Training batches.
        val: Validation batches; they choose the epoch. None trains to the end.
        epochs: Passes over the training pictures.
        rate: Peak learning rate of AdamW, reached after a tenth of the steps, then falling along a cosine to zero.
            Defaults to 4e-3: 0.72 on the sample's validation pictures against 0.68 with 2e-3, one seed each.
        smoothing: Label smoothing; it forgives some wrong labels. Defaults to 0.1 (Szegedy et al. 2016).
        augmentation: From `augment`, applied to training pictures only. Defaults to none.
        balanced: Let every class count alike, however many pictures it has. Defaults to False.
        checkpoint: A folder that gets the state after every epoch; a later call with the same arguments goes on from
            there, to the same weights as if nothing had happened. Defaults to none.
        logs: A folder for TensorBoard. Defaults to none.
        progress: Print a line per epoch. Defaults to True.

    Returns:
        History with one row per epoch: loss, accuracy, val_loss, val_accuracy, pixels (size of the pictures), kept
        (whether the model has the weights of this epoch).

    Raises:
        InputError: If logs are wanted and TensorBoard is not installed.
    """
    stages = [Stage(model, train, val, epochs)]
    return fit_stages(stages, rate, smoothing, augmentation, balanced, checkpoint, logs, progress)


def fit_stages(
    stages: list[Stage],
    rate: float,
    smoothing: float = 0.1,
    augmentation: keras.Sequential | None = None,
    balanced: bool = False,
    checkpoint: str | Path | None = None,
    logs: str | Path | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Train stage after stage under one schedule of the learning rate; the last stage's model ends up trained.

    Small pictures first is called progressive resizing: most of the way is gone at a fraction of the price.

    Args:
        stages: What comes one after another; each takes over weights and the optimizer's memory.
        rate: See `fit`.
        smoothing: See `fit`. Defaults to 0.1.
        augmentation: See `fit`. Defaults to none.
        balanced: See `fit`. Defaults to False.
        checkpoint: See `fit`. Defaults to none.
        logs: See `fit`. Defaults to none.
        progress: See `fit`. Defaults to True.

    Returns:
        See `fit`.
    """
    _warn_of_a_slow_backend()
    memory.keep()
    steps = sum(stage.epochs * len(stage.train) for stage in stages)
    warm_up = max(1, steps // 10)
    schedule = keras.optimizers.schedules.CosineDecay(
        rate / 100, max(1, steps - warm_up), warmup_target=rate, warmup_steps=warm_up
    )
    keeper = Keeper(checkpoint, compared=sum(stage.epochs for stage in stages[:-1]))
    work = [stage.model.input_shape[1] ** 2 for stage in stages for _ in range(stage.epochs)]
    callbacks = [keeper, *([Progress(work)] if progress else []), *_tensorboard(logs)]
    end = 0
    for stage in stages:
        end += stage.epochs
        if keeper.done >= end:
            continue
        network = augmented(stage.model, augmentation)
        network.compile(
            optimizer=keras.optimizers.AdamW(schedule, weight_decay=1e-4),
            loss=keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing),
            metrics=["accuracy"],
            jit_compile=False,  # XLA is ten times slower for convolutions on a CPU
        )
        keeper.restore(network)
        stage.train.restart(keeper.done)
        network.fit(
            stage.train,
            validation_data=stage.val,
            initial_epoch=keeper.done,
            epochs=end,
            verbose=0,
            shuffle=False,  # the batches have an order of their own, which a stop does not change
            class_weight=class_weights(stage.train.targets) if balanced else None,
            callbacks=callbacks,
        )
    stages[-1].model.set_weights(keeper.best)
    history = pd.DataFrame(keeper.history, index=pd.RangeIndex(1, keeper.done + 1, name="epoch"))
    history = history.reindex(columns=["loss", "accuracy", "val_loss", "val_accuracy"])
    sizes = [stage.model.input_shape[1] for stage in stages for _ in range(stage.epochs)]
    return history.assign(pixels=sizes, kept=np.arange(keeper.done) == keeper.kept)


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


def augmented(model: keras.Model, augmentation: keras.Sequential | None) -> keras.Sequential:
    """A network that changes pictures at random before a model sees them, in training only.

    The layers of the augmentation are copied: a layer belongs to pictures of one size.
    """
    before = [layer.from_config(layer.get_config()) for layer in (augmentation.layers if augmentation else [])]
    return keras.Sequential([keras.Input(model.input_shape[1:]), *before, model])


def class_weights(targets: np.ndarray) -> dict[int, float]:
    """How much a picture of each class counts, so that every class counts alike and the mean picture as 1."""
    classes = np.unique(targets)
    return dict(zip(classes.tolist(), compute_class_weight("balanced", classes=classes, y=targets).tolist()))


def _tensorboard(logs: str | Path | None) -> list:
    if not logs:
        return []
    if not importlib.util.find_spec("tensorboard"):
        raise InputError("TensorBoard is not installed: pip install tensorboard, or leave its logs out")
    return [keras.callbacks.TensorBoard(str(logs))]
