"""Fine-tuning: a network that knows ImageNet learns to look at what matters here."""

import itertools
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from sneakerlib.learning import augmentation as augmentations
from sneakerlib.learning import heads, networks, pipeline, training
from sneakerlib.learning.quiet import keras

RATE = 7e-4  # peak, of the whole network
SIZES = (96, 128, 160)  # pixels, the small ones first
LARGER = 1.4  # times the size it was tuned at, a network describes best: on validation 0.897 against 0.879, 23 classes
SHARES = (3, 2, 1)  # of the epochs that each size gets


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
        build: Gives the network for a picture size, such as `lambda size: networks.classifier(backbone(size=size),
            labels)`.
        catalog: The split catalog. Without validation pictures, training goes to the end.
        labels: The classes, in the order of the logits.
        stages: Picture size and epochs, one after another. Defaults to `plan(6)`.
        rate: Peak learning rate. Defaults to 7e-4.
        augmentation: From `augmentation`. Defaults to `augmentation.crops`.
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
    described = heads.describe(catalog, labels, networks.features(first), cache=cache, progress=progress)
    start = _epoch_0(heads.fit_linear(first, described, balanced=balanced), first)
    tuned = training.fit_stages(
        made,
        rate,
        augmentation=augmentations.crops(seed) if augmentation is None else augmentation,
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
