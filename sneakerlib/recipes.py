"""Whole trainings by name, from a catalog to a model folder: what `sneakerlib train` runs."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from sneakerlib import InputError, augment, modelfolder, models, pipeline, training
from sneakerlib.catalog import usable


@dataclass(frozen=True)
class Recipe:
    """What a recipe does unless told otherwise: picture size in pixels, epochs (0: nothing is trained by steps)."""

    size: int
    epochs: int


SMALLEST = 8  # pixels: less than a blot
RECIPES = {
    "frozen": Recipe(size=224, epochs=0),
    "second-order": Recipe(size=224, epochs=0),
    "fine-tune": Recipe(size=160, epochs=4),
    "scratch": Recipe(size=64, epochs=30),
    "linear": Recipe(size=64, epochs=0),
}


def train(
    catalog: pd.DataFrame,
    recipe: str,
    out: str | Path,
    backbone: str = models.OFFLINE,
    size: int | None = None,
    epochs: int | None = None,
    seed: int = 0,
    cache: str | Path | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Train by a recipe and save the model folder.

    Args:
        catalog: The split catalog.
        recipe: `linear` (pixels only, the baseline), `scratch` (small CNN), `frozen` (linear head on a backbone as it
            is), `second-order` (the same on second moments) or `fine-tune` (the whole backbone).
        out: The model folder to write.
        backbone: See `models.backbone`. Defaults to `efficientnet-lite0`; `linear` and `scratch` have none.
        size: Picture size in pixels. Defaults to the recipe's own.
        epochs: Passes over the training pictures. Defaults to the recipe's own.
        seed: Same seed, same machine, same versions, same numbers. Defaults to 0.
        cache: Folder of decoded pictures. Defaults to the user's cache folder.
        progress: Show bars and a line per epoch. Defaults to True.

    Returns:
        The history: one row per epoch.

    Raises:
        InputError: If the recipe or backbone is unknown, or there are fewer than two classes.
    """
    if recipe not in RECIPES:
        raise InputError(f"there is no recipe {recipe!r}: use {', '.join(RECIPES)}")
    labels = sorted(usable(catalog).label.unique())
    if len(labels) < 2:
        raise InputError(
            f"telling classes apart needs two of them, found {', '.join(labels) or 'none'}: add another sub-folder"
        )
    modelfolder.check_target(out)
    if epochs is not None and not RECIPES[recipe].epochs:
        raise InputError(f"the recipe {recipe} is solved, not trained by epochs: leave --epochs out")
    size = RECIPES[recipe].size if size is None else size
    epochs = RECIPES[recipe].epochs if epochs is None else epochs
    if size < SMALLEST:
        raise InputError(f"size {size} is too small: use at least {SMALLEST} pixels")
    if epochs < 1 and RECIPES[recipe].epochs:
        raise InputError(f"epochs must be at least 1, not {epochs}")
    training.seed_everything(seed)
    if recipe == "linear":
        model = models.linear(labels, size)
    elif recipe == "scratch":
        model = models.scratch(labels, size)
    elif recipe == "second-order":
        model = models.second_order(models.backbone(backbone, size), labels)
    else:
        model = models.classifier(models.backbone(backbone, size), labels)
    if recipe == "second-order":
        history = training.fit_second_order(model, catalog, labels, cache, progress=progress)
    else:
        history = _train(model, recipe, catalog, labels, size, epochs, seed, cache, progress)
    modelfolder.save(model, out, catalog, labels, history, recipe, seed)
    return history


def _train(model, recipe, catalog, labels, size, epochs, seed, cache, progress) -> pd.DataFrame:
    """Train on batches of pixels."""
    pixels = pipeline.pack(catalog, size, cache, progress)
    train, val = (pipeline.batches(catalog, pixels, split, labels=labels, seed=seed) for split in ("train", "val"))
    if recipe in ("linear", "frozen"):
        return training.fit_linear(model, train, val)
    if recipe == "scratch":
        return training.fit(model, train, val, epochs, augmentation=augment.light(seed), progress=progress)
    return training.fine_tune(model, train, val, epochs, augmentation=augment.standard(seed), progress=progress)
