"""The recipe `auto`: ever costlier models while the time lasts; the best on validation is taken."""

import dataclasses
import time

import pandas as pd

from sneakerlib import engines, modelfolder, models, tuning
from sneakerlib.backbones import LITES
from sneakerlib.catalog import usable
from sneakerlib.cookbook import RECIPES, Task
from sneakerlib.quiet import keras
from sneakerlib.weights import installed

MINUTES = 5.0  # unless told otherwise
LARGE = 288  # pixels, for the costlier models: on real photographs 0.5 to 0.7 points better than 224
MEASURING = 30.0  # seconds that building and exporting a network takes, before it is known what describing will cost
LEAST_TUNING = 0.03  # seconds per training picture; in less time fine-tuning does not come far


def ways(backbones: tuple[str, ...]) -> list[tuple[str, dict]]:
    """What is tried, the cheapest first: recipes, and what they do otherwise than the task says.

    Args:
        backbones: What was asked for. The default one takes along its larger sisters, where they are installed.
    """
    if backbones == (models.OFFLINE,):
        backbones = tuple(name for name in LITES if installed(name))
    large = {"backbones": backbones, "sizes": (LARGE,), "regions": True}
    both = large | {"trim": True}
    return [("second-order", {}), ("second-order", large), ("second-order", both), ("tuned-second-order", both)]


def best(task: Task) -> tuple[str, keras.Model, pd.DataFrame, dict]:
    """Train one model after another, and take the one that is best on validation; of equals the cheaper.

    Args:
        task: What to train on.

    Returns:
        The recipe, the model, its history, and its settings with a list of what was tried.
    """
    begun, budget = time.monotonic(), 60 * (MINUTES if task.minutes is None else task.minutes)
    found, tried = None, []
    for recipe, changes in ways(task.backbones):
        one = dataclasses.replace(task, minutes=None, **changes)
        left = budget - (time.monotonic() - begun)
        cost = MEASURING if found else 0.0
        if found and left > MEASURING:
            cost = describing(one, recipe)
            left = budget - (time.monotonic() - begun)
        if RECIPES[recipe].budget:
            one = dataclasses.replace(one, minutes=max(0.0, left - cost) / 60)
            cost += LEAST_TUNING * len(usable(task.catalog, "train"))
        if found and cost > left:
            _say(
                task,
                f"{recipe} of {'+'.join(one.backbones)} would take {cost:.0f} s or more, {max(0, left):.0f} s are left",
            )
            continue
        model, history = RECIPES[recipe].run(one)
        score, spent = modelfolder.reached(history), round(time.monotonic() - begun, 1)
        settings = {"backbones": one.backbones, "sizes": one.sizes, "flip": one.flip}
        settings |= {"regions": one.regions, "trim": one.trim, "final": one.final}
        tried.append({"recipe": recipe, "val_accuracy": score, "seconds": spent, **settings})
        _say(task, f"{recipe} of {'+'.join(one.backbones)}: {score:.3f} on validation after {spent:.0f} s")
        if found is None or score > found[0]:
            found = score, recipe, model, history, settings
    _, recipe, model, history, settings = found
    return recipe, model, history, settings | {"tried": tried}


def describing(task: Task, recipe: str) -> float:
    """Seconds that describing the pictures will take, from a few of them that are described now."""
    rows = usable(task.catalog)
    rows = rows[rows.split.ne("test")]
    looks = [(name, size) for name in task.backbones for size in task.sizes]
    if recipe == "tuned-second-order":  # with the weights to come, it takes as long as with these
        looks.append((task.backbones[0], tuning.larger(tuning.SIZES[-1])))
    backbones = [models.backbone(name, size) for name, size in looks]
    network = models.second_order(backbones, task.labels, task.flip, regions=task.regions, trim=task.trim)
    network = models.features(network)
    return sum(engines.seconds(part, rows, task.cache) for part in models.parts(network))


def _say(task: Task, line: str) -> None:
    if task.progress:
        print(line, flush=True)
