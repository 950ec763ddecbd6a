"""Fine-tuning: a network that knows ImageNet learns to look at what matters here."""

import itertools
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from sneakerlib import InputError, augment, engines, heads, models, pipeline, training
from sneakerlib.catalog import usable
from sneakerlib.pipeline import Batches, Pixels
from sneakerlib.quiet import keras

RATE = 7e-4  # peak, of the whole network
SIZES = (96, 128, 160)  # pixels, the small ones first
LARGER = 1.4  # times the size it was tuned at, a network describes best: on validation 0.897 against 0.879, 23 classes
SHARES = (3, 2, 1)  # of the epochs that each size gets
MEASURED = 4  # steps at each size, to know what an epoch costs
FORWARD = 1 / 3  # of the cost of a training step is its forward pass, all that validation takes
MOST = 24  # epochs that a budget of minutes may buy: more brought nothing


def plan(epochs: int, sizes: tuple[int, ...] = SIZES) -> list[tuple[int, int]]:
    """Share epochs out among picture sizes, 3 to 2 to 1, at least one for the last.

    Args:
        epochs: In all, at least 1.
        sizes: Up to three, in pixels, in the order of training. Defaults to 96, 128, 160.

    Returns:
        Size and epochs of each stage that has any.

    >>> plan(6), plan(1), plan(9)
    ([(96, 3), (128, 2), (160, 1)], [(160, 1)], [(96, 5), (128, 2), (160, 2)])
    """
    shares = SHARES[-len(sizes) :]
    bounds = [round(epochs * sum(shares[at:]) / sum(shares)) for at in range(len(sizes))]  # epochs from this size on
    bounds = [max(1, bound) for bound in bounds]
    counts = [here - later for here, later in itertools.pairwise([*bounds, 0])]
    return [(size, count) for size, count in zip(sizes, counts, strict=True) if count > 0]


def larger(size: int) -> int:
    """The pixels at which a network describes best that was tuned at `size`."""
    return round(LARGER * size)


def affordable(seconds: dict[int, float], start: float, minutes: float) -> int:
    """The most epochs that fit into a budget.

    Args:
        seconds: What an epoch costs at each size.
        start: Seconds that compiling one size takes.
        minutes: The budget.

    Returns:
        Epochs for `plan`, 1 to `MOST`.
    """
    for epochs in range(MOST, 1, -1):
        stages = plan(epochs, tuple(seconds))
        if sum(start + count * seconds[size] for size, count in stages) <= 60 * minutes:
            return epochs
    return 1


def _epoch_0(history: pd.DataFrame, model: keras.Model) -> pd.DataFrame:
    """The history of a solved head as the start of a training."""
    return history.set_index(pd.Index([0], name="epoch")).assign(pixels=model.input_shape[1], kept=False)


Build = Callable[[int], keras.Model]  # a network for a picture size


def fine_tune(
    build: Build,
    catalog: pd.DataFrame,
    labels: list[str],
    stages: list[tuple[int, int]] | None = None,
    rate: float = RATE,
    augmentation: keras.Sequential | None = None,
    balanced: bool = False,
    seed: int = 0,
    cache: str | Path | None = None,
    checkpoint: str | Path | None = None,
    logs: str | Path | None = None,
    progress: bool = True,
) -> tuple[keras.Model, pd.DataFrame]:
    """Solve the head, then train the whole network from there: on small pictures first, on large ones at the end.

    The head comes first because a random one would shake the ImageNet weights apart (Kumar et al. 2022, "Fine-Tuning
    can Distort Pretrained Features"). Batch normalisation stays frozen: a small batch has a poor idea of the mean.
    Small pictures first is progressive resizing (Howard 2018, fast.ai's DAWNBench entry).

    Args:
        build: Gives the network for a picture size, such as `lambda size: models.classifier(models.backbone(size=size),
            labels)`.
        catalog: The split catalog. Without validation pictures, training goes to the end.
        labels: The classes, in the order of the logits.
        stages: Picture size and epochs, one after another. Defaults to `plan(6)`.
        rate: Peak learning rate. Defaults to 7e-4.
        augmentation: From `augment`. Defaults to `augment.crops`.
        balanced: Let every class count alike. Defaults to False.
        seed: Of the order of pictures and their changes. Defaults to 0.
        cache: Folder of decoded and described pictures. Defaults to the user's cache folder.
        checkpoint: See `training.fit`. Defaults to none.
        logs: See `training.fit`. Defaults to none.
        progress: Print a line per epoch. Defaults to True.

    Returns:
        The network, and its history with one row per epoch; epoch 0 is the solved head (at the first size).
    """
    made = [_stage(build, catalog, labels, size, epochs, seed, cache, progress) for size, epochs in stages or plan(6)]
    first = made[0].model
    described = heads.describe(catalog, labels, models.features(first), cache=cache, progress=progress)
    start = _epoch_0(heads.fit_linear(first, described, balanced=balanced), first)
    tuned = training.fit_stages(
        made,
        rate,
        augmentation=augment.crops(seed) if augmentation is None else augmentation,
        balanced=balanced,
        checkpoint=checkpoint,
        logs=logs,
        progress=progress,
    )
    return made[-1].model, pd.concat([start, tuned])[list(tuned)]


def _stage(build: Build, catalog, labels, size, epochs, seed, cache, progress) -> training.Stage:
    model = frozen_statistics(build(size))
    pixels = pipeline.pack(catalog, size, cache, progress)
    train, val = pipeline.learned_and_judged(catalog, pixels, labels, seed)
    return training.Stage(model, train, val, epochs)


def frozen_statistics(model: keras.Model) -> keras.Model:
    """The same model, its batch normalisation frozen: the statistics of a million pictures beat those of thirty-two."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False
    return model


def bought(
    build: Build,
    catalog: pd.DataFrame,
    labels: list[str],
    minutes: float,
    sizes: tuple[int, ...] = SIZES,
    cache: str | Path | None = None,
    progress: bool = True,
) -> list[tuple[int, int]]:
    """Measure a few steps at each size, and see which stages the minutes buy; what measuring takes is part of them.

    Args:
        build: See `fine_tune`.
        catalog: See `fine_tune`.
        labels: See `fine_tune`.
        minutes: The budget.
        sizes: In pixels. Defaults to 96, 128, 160.
        cache: See `fine_tune`.
        progress: Say what came out. Defaults to True.

    Returns:
        Stages for `fine_tune`.
    """
    begun, seconds, start = time.monotonic(), {}, 0.0
    for size in sizes:
        tried = _stage(build, catalog, labels, size, 1, 0, cache, progress)
        network = training.augmented(tried.model, augment.crops())
        network.compile("adamw", keras.losses.CategoricalCrossentropy(from_logits=True), jit_compile=False)
        clock = time.monotonic()
        network.train_on_batch(*tried.train[0])  # compiles
        start, clock = max(start, time.monotonic() - clock), time.monotonic()
        for at in range(1, MEASURED + 1):
            network.train_on_batch(*tried.train[at % len(tried.train)])
        steps = len(tried.train) + FORWARD * len(tried.val or [])
        seconds[size] = (time.monotonic() - clock) / MEASURED * steps
    epochs = affordable(seconds, start, minutes - (time.monotonic() - begun) / 60)
    if progress:
        print(f"{minutes:g} minutes buy {epochs} epochs: {', '.join(f'{c} at {s} px' for s, c in plan(epochs, sizes))}")
    return plan(epochs, sizes)


class Activations(Batches):
    """Batches of what the middle of a network says of pictures and of their mirror images, one of the two at random.

    As `Batches`, but `pixels.array` has the shape (pictures, 2, height, width, channels): as it is, and mirrored.
    """

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        chosen = self.order[index * self.batch_size : (index + 1) * self.batch_size]
        draw = np.random.default_rng([self.seed, self.epoch, index]).integers(0, 2, len(chosen))
        versions = draw if self.shuffle else np.zeros_like(draw)
        maps = self.pixels.array[self.rows[chosen], versions].astype(np.float32)
        return maps, np.eye(len(self.labels), dtype=np.float32)[self.targets[chosen]]


def fine_tune_top(
    model: keras.Model,
    catalog: pd.DataFrame,
    labels: list[str],
    epochs: int = 8,
    rate: float = RATE,
    balanced: bool = False,
    seed: int = 0,
    cache: str | Path | None = None,
    checkpoint: str | Path | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Train the last blocks and the head on what the frozen lower part says, which is worked out only once.

    The lower part is cut off at the last map of the second smallest size (`models.late_maps`). Pictures are changed in
    one way only, mirrored: each change would have to be described anew.

    Args:
        model: From `models.classifier`, changed in place.
        catalog: The split catalog.
        labels: The classes, in the order of the logits.
        epochs: Passes over the training pictures. Defaults to 8.
        rate: Peak learning rate. Defaults to 7e-4.
        balanced: Let every class count alike. Defaults to False.
        seed: Of the order of pictures. Defaults to 0.
        cache: Folder of activations. Defaults to the user's cache folder.
        checkpoint: See `training.fit`. Defaults to none.
        progress: Print a line per epoch. Defaults to True.

    Returns:
        History with one row per epoch; epoch 0 is the solved head.
    """
    maps = list(models.late_maps(model).values())
    if len(maps) < 2:
        raise InputError(f"{model.name} has no two feature maps of different sizes: use larger pictures")
    cut = maps[1]
    seen = keras.Model(model.input, keras.layers.Flatten()(cut), name=f"{model.name}-lower")
    both = [seen(model.input), seen(models.Mirror(name="mirror")(model.input))]
    lower = keras.Model(model.input, keras.layers.Concatenate()(both), name=f"{model.name}-lower-both")
    rows = usable(catalog)
    rows = rows[rows.split.isin(["train", "val"])]
    vectors = engines.features(rows, lower, cache=cache, progress=progress)
    array = vectors.reshape(len(rows), 2, *cut.shape[1:])
    pixels = Pixels(array, {path: at for at, path in enumerate(rows.path)}, model.input_shape[1])
    train, val = pipeline.learned_and_judged(rows, pixels, labels, seed, Activations)
    described = heads.describe(catalog, labels, models.features(model), cache=cache, progress=progress)
    start = _epoch_0(heads.fit_linear(model, described, balanced=balanced), model)
    top = frozen_statistics(keras.Model(cut, model.output, name=f"{model.name}-top"))
    tuned = training.fit(top, train, val, epochs, rate, balanced=balanced, checkpoint=checkpoint, progress=progress)
    return pd.concat([start, tuned])[list(tuned)]
