"""Whole trainings by name, from a catalog to a model folder: what `sneakerlib train` runs."""

import hashlib
import json
import shutil
from pathlib import Path

import pandas as pd
from scipy.special import softmax

from sneakerlib import (
    InputError,
    auto,
    calibration,
    cookbook,
    engines,
    evaluation,
    heads,
    modelfolder,
    models,
    ridge,
    training,
)
from sneakerlib.cache import cache_folder
from sneakerlib.catalog import usable
from sneakerlib.quiet import keras

SMALLEST = 8  # pixels: less than a blot


def train(
    catalog: pd.DataFrame,
    recipe: str,
    out: str | Path,
    backbone: str = models.OFFLINE,
    size: int | str | None = None,
    epochs: int | None = None,
    seed: int = 0,
    cache: str | Path | None = None,
    progress: bool = True,
    minutes: float | None = None,
    flip: bool = False,
    regions: bool = False,
    trim: bool = False,
    balanced: bool = False,
    final: bool = False,
    logs: str | Path | None = None,
) -> pd.DataFrame:
    """Train by a recipe and save the model folder. Stopped at any time, the same call goes on.

    Args:
        catalog: The split catalog.
        recipe: `linear` (pixels only, the baseline), `scratch` (small CNN), `frozen` (linear head on a backbone as it
            is), `second-order` (the same on second moments), `fine-tune-top` (the last blocks), `fine-tune` (the whole
            backbone), `tuned-second-order` (second moments of a fine-tuned backbone and of it as it was), or `auto`:
            whichever of the three best ones is best on validation, within a number of minutes.
        out: The model folder to write.
        backbone: See `models.backbone`; for second-order recipes several, with commas between. Defaults to
            `efficientnet-lite0`; `linear` and `scratch` have none.
        size: Picture size in pixels; for second-order recipes several. Defaults to the recipe's own.
        epochs: Passes over the training pictures. Defaults to the recipe's own.
        seed: Same seed, same machine, same versions, same numbers. Defaults to 0.
        cache: Folder of decoded pictures and features. Defaults to the user's cache folder.
        progress: Show bars and a line per epoch. Defaults to True.
        minutes: A budget, for `auto` (5 unless told otherwise), `fine-tune` and `tuned-second-order`; what it buys
            depends on the machine's speed. Defaults to none.
        flip: Answer for the mean of a picture and its mirror image. Defaults to False.
        regions: For second-order recipes: describe the middle and both halves of a picture by themselves. Defaults to
            False.
        trim: For second-order recipes: look at what stands out from a picture's border as well, see `trim.Trim`.
            Defaults to False.
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
    modelfolder.check_target(out)
    backbones, sizes = tuple(str(backbone).split(",")), _sizes(size)
    given = {"backbone": len(backbones) > 1, "size": len(sizes) > 1, "epochs": epochs, "minutes": minutes}
    _fits(recipe, given | {"flip": flip, "regions": regions, "trim": trim, "logs": logs})
    row = cookbook.RECIPES["tuned-second-order" if recipe == "auto" else recipe]
    epochs = row.epochs if epochs is None else epochs
    sizes = sizes or (row.size,)
    if min(sizes) < SMALLEST:
        raise InputError(f"size {min(sizes)} is too small: use at least {SMALLEST} pixels")
    if epochs < 1 and row.epochs:
        raise InputError(f"epochs must be at least 1, not {epochs}")
    if minutes is not None and not minutes > 0:
        raise InputError(f"minutes must be more than 0, not {minutes:g}")
    cache = Path(cache or cache_folder())
    settings = {"backbones": backbones, "sizes": sizes, "epochs": epochs, "minutes": minutes}
    settings |= {"flip": flip, "regions": regions, "trim": trim, "balanced": balanced, "final": final}
    checkpoint = cache / f"training-{_digest(catalog, recipe, settings, seed)}"
    task = cookbook.Task(
        catalog, labels, seed=seed, cache=cache, checkpoint=checkpoint, logs=logs, progress=progress, **settings
    )
    training.seed_everything(seed)
    if recipe == "auto":
        recipe, model, history, settings = auto.best(task)
    else:
        model, history = row.run(task)
    modelfolder.save(model, out, catalog, labels, history, recipe, seed, settings)
    if not settings["final"]:  # else no picture is left that it has not learned
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
        vectors = heads.vectors(rows, models.features(model), cache=task.cache, progress=False)
        logits = ridge.answers(vectors, kernel) + bias
    else:
        logits = engines.answers(engines.engine(model, out), model.input_shape[1], rows, task.progress)
    seen = evaluation.as_predictions(rows, task.labels, softmax(logits.astype(float), axis=1))
    temperature, noise = calibration.scaling(seen)
    threshold = calibration.sure_above(calibration.tempered(seen, temperature))
    modelfolder.calibrate(out, temperature, threshold, noise)


def check(recipe: str) -> None:
    """Raise an InputError if there is no recipe of this name."""
    if recipe != "auto" and recipe not in cookbook.RECIPES:
        raise InputError(f"there is no recipe {recipe!r}: use auto, {', '.join(cookbook.RECIPES)}")


def _sizes(size: int | str | None) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in str(size).split(",")) if size is not None else ()
    except ValueError as error:
        raise InputError(f"size {size!r} is no number of pixels: use 224, or 224,288 for second-order") from error


def _fits(recipe: str, given: dict) -> None:
    """Raise an InputError for an option that the recipe would pass over."""
    if recipe == "auto":
        wrong = {"epochs": "auto decides by minutes", "logs": "auto trains several models"}
        why = {name: wrong[name] for name in wrong if given[name]}
    else:
        row = cookbook.RECIPES[recipe]
        why = {} if row.several else {name: f"{recipe} takes one {name}" for name in ("backbone", "size")}
        why |= {} if row.epochs else {"epochs": f"the recipe {recipe} is solved, not trained by epochs"}
        why |= {} if row.budget else {"minutes": f"the recipe {recipe} takes no budget of minutes"}
        why |= {} if row.flip else {"flip": f"the recipe {recipe} does not look at mirror images"}
        why |= {} if row.regions else {"regions": f"the recipe {recipe} does not look at regions of a picture"}
        why |= {} if row.trim else {"trim": f"the recipe {recipe} does not trim pictures"}
        why |= {} if row.epochs and recipe != "fine-tune-top" else {"logs": f"the recipe {recipe} writes no logs"}
        why = {name: reason for name, reason in why.items() if given[name] not in (None, False)}
    for name, reason in why.items():
        raise InputError(f"{reason}: leave --{name} out" if "one" not in reason.split() else f"{reason}: give one")


def _digest(catalog: pd.DataFrame, recipe: str, settings: dict, seed: int) -> str:
    """Sixteen hex digits for a training: of the same pictures in the same way, so that it may be gone on with."""
    rows = usable(catalog)[["sha256", "label", "split"]].sort_values(["sha256", "label"]).to_csv(index=False)
    how = json.dumps([recipe, settings, seed, keras.__version__], default=str)
    return hashlib.sha256((rows + how).encode()).hexdigest()[:16]
