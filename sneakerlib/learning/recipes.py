"""Whole trainings by name, from a catalog to a model folder: what `sneakerlib train` runs."""

import hashlib
import json
import shutil
from pathlib import Path

import pandas as pd
from scipy.special import softmax

from sneakerlib import InputError
from sneakerlib.catalog import class_numbers, usable
from sneakerlib.learning import cookbook, engines, model_folder, networks, ridge, training
from sneakerlib.learning.quiet import keras
from sneakerlib.runs import cache_folder

SMALLEST = 8  # pixels: less than a blot


def train(
    catalog: pd.DataFrame,
    recipe: str,
    out: str | Path,
    backbone: str = networks.OFFLINE,
    size: int | None = None,
    epochs: int | None = None,
    seed: int = 0,
    cache: str | Path | None = None,
    progress: bool = True,
    balanced: bool = False,
    final: bool = False,
    logs: str | Path | None = None,
) -> pd.DataFrame:
    """Train by a recipe and save the model folder. Stopped at any time, the same call goes on.

    Args:
        catalog: The split catalog.
        recipe: `second-order` (a head in closed form on second moments of a frozen backbone), `frozen` (a linear head
            on it), `fine-tune` (the whole backbone), `scratch` (small CNN), or `linear` (pixels only, the baseline).
        out: The model folder to write.
        backbone: See `networks.backbone`. Defaults to `efficientnet-lite0`; `linear` and `scratch` have none.
        size: Picture size in pixels. Defaults to the recipe's own.
        epochs: Passes over the training pictures. Defaults to the recipe's own.
        seed: Same seed, same machine, same versions, same numbers. Defaults to 0.
        cache: Folder of decoded pictures and features. Defaults to the user's cache folder.
        progress: Show bars and a line per epoch. Defaults to True.
        balanced: Let every class count alike, however many pictures it has. Defaults to False.
        final: Once everything is chosen, train on validation pictures as well. The history still tells what came out
            without them. Defaults to False.
        logs: A folder for TensorBoard. Defaults to none.

    Returns:
        The history: one row per epoch.

    Raises:
        InputError: If the recipe or backbone is unknown, an option does not fit the recipe, or there are fewer than two
            classes.
    """
    labels = sorted(usable(catalog).label.unique())
    check(recipe)
    if len(labels) < 2:
        raise InputError(
            f"telling classes apart needs two of them, found {', '.join(labels) or 'none'}: add another sub-folder"
        )
    model_folder.check_target(out)
    row = cookbook.RECIPES[recipe]
    if not row.epochs:
        for name, value in {"epochs": epochs, "logs": logs}.items():
            if value is not None:
                raise InputError(f"the recipe {recipe} is solved, not trained by epochs: leave --{name} out")
    epochs = row.epochs if epochs is None else epochs
    size = row.size if size is None else size
    if size < SMALLEST:
        raise InputError(f"size {size} is too small: use at least {SMALLEST} pixels")
    if epochs < 1 and row.epochs:
        raise InputError(f"epochs must be at least 1, not {epochs}")
    cache = Path(cache or cache_folder())
    settings = {"backbone": backbone, "size": size, "epochs": epochs, "balanced": balanced, "final": final}
    checkpoint = cache / f"training-{_digest(catalog, recipe, settings, seed)}"
    task = cookbook.Task(
        catalog, labels, seed=seed, cache=cache, checkpoint=checkpoint, logs=logs, progress=progress, **settings
    )
    training.seed_everything(seed)
    model, history = row.run(task)
    model_folder.save(model, out, catalog, labels, history, recipe, seed, settings)
    if not final:  # else no picture is left that it has not learned
        _calibrate(out, task, model, solved=not cookbook.RECIPES[recipe].epochs)
    shutil.rmtree(checkpoint, ignore_errors=True)
    return history


def _calibrate(out: str | Path, task: cookbook.Task, model: keras.Model, solved: bool) -> None:
    """Say in the model folder how sure it may be, and below which confidence it is not sure, by validation pictures."""
    rows = usable(task.catalog, "val")
    if rows.empty:
        return
    if solved:  # what comes before the head was described already
        kernel, bias = model.get_layer("logits").get_weights()
        vectors = engines.features(rows, networks.features(model), cache=task.cache, progress=False)
        logits = ridge.answers(vectors, kernel) + bias
    else:
        logits = engines.answers(engines.engine(model, out), model.input_shape[1], rows, task.progress)
    logits = logits.astype(float)
    temperature = model_folder.fit_temperature(logits, class_numbers(rows.label, task.labels))
    seen = model_folder.as_predictions(rows, task.labels, softmax(logits / temperature, axis=1))
    model_folder.calibrate(out, temperature, model_folder.fit_threshold(seen))


def check(recipe: str) -> None:
    """Raise an InputError if there is no recipe of this name."""
    if recipe not in cookbook.RECIPES:
        raise InputError(f"there is no recipe {recipe!r}: use {', '.join(cookbook.RECIPES)}")


def _digest(catalog: pd.DataFrame, recipe: str, settings: dict, seed: int) -> str:
    """Sixteen hex digits for a training: of the same pictures in the same way, so that it may be gone on with."""
    rows = usable(catalog)[["sha256", "label", "split"]].sort_values(["sha256", "label"]).to_csv(index=False)
    how = json.dumps([recipe, settings, seed, keras.__version__], default=str)
    return hashlib.sha256((rows + how).encode()).hexdigest()[:16]
