"""The recipes: from a task to a trained model and its history. A new one is a function and a line in `RECIPES`."""

import dataclasses
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from sneakerlib import augment, heads, modelfolder, models, pipeline, training, tuning
from sneakerlib.catalog import usable
from sneakerlib.quiet import keras
from sneakerlib.runs import write_json

SMALLEST_NETWORK = 32  # pixels that a backbone can halve five times
MANY = 12_000  # training pictures from which second moments get fewer channels: memory and time stay linear
FEWER_NUMBERS = 96 * 97  # a picture, of two maps: their products take 350 MB, however many pictures there are


@dataclass(frozen=True)
class Task:
    """What a recipe works on and how.

    Attributes:
        catalog: The split catalog.
        labels: The classes, in the order of the logits.
        backbones: Names; see `models.backbone`. Several are for `second-order` only.
        sizes: Picture sizes in pixels. Several are for `second-order` only.
        epochs: Passes over the training pictures; 0 for recipes that solve.
        minutes: A budget for recipes that can use one, or None.
        flip: Answer for a picture and its mirror image, and take the mean.
        regions: Describe three regions of the picture by themselves; for second-order recipes.
        trim: Look at what stands out from the picture's border as well; for second-order recipes.
        balanced: Let every class count alike.
        final: Train on validation pictures, too, once everything is chosen.
        seed: Of everything drawn by lot.
        cache: Folder of decoded and described pictures.
        checkpoint: Folder of a training that can be resumed.
        logs: Folder for TensorBoard, or None.
        progress: Show bars and a line per epoch.
    """

    catalog: pd.DataFrame
    labels: list[str]
    backbones: tuple[str, ...]
    sizes: tuple[int, ...]
    epochs: int
    minutes: float | None
    flip: bool
    regions: bool
    trim: bool
    balanced: bool
    final: bool
    seed: int
    cache: Path
    checkpoint: Path
    logs: str | Path | None
    progress: bool

    def describe(self, model: keras.Model) -> heads.Described:
        """Training and validation pictures as a model sees them before its head."""
        return heads.describe(
            self.catalog, self.labels, models.features(model), cache=self.cache, progress=self.progress
        )

    def build(self, size: int) -> keras.Model:
        """A linear head on the backbone, for pictures of this size."""
        return models.classifier(models.backbone(self.backbones[0], size), self.labels)


Trained = tuple[keras.Model, pd.DataFrame]  # the model and its history


def _linear(task: Task) -> Trained:
    model = models.linear(task.labels, task.sizes[0])
    return model, heads.fit_linear(model, task.describe(model), balanced=task.balanced, final=task.final)


def _scratch(task: Task) -> Trained:
    def trained(catalog: pd.DataFrame, checkpoint: Path) -> Trained:
        model = models.scratch(task.labels, task.sizes[0])
        pixels = pipeline.pack(catalog, task.sizes[0], task.cache, task.progress)
        train, val = pipeline.learned_and_judged(catalog, pixels, task.labels, task.seed)
        changes, options = augment.light(task.seed), {"balanced": task.balanced, "progress": task.progress}
        return model, training.fit(
            model, train, val, task.epochs, augmentation=changes, checkpoint=checkpoint, logs=task.logs, **options
        )

    return _trained(task, trained)


Train = Callable[[pd.DataFrame, Path], Trained]  # from a catalog and a folder for checkpoints


def _trained(task: Task, train: Train) -> Trained:
    """Train; and if asked to, once more on validation pictures, too: the history still tells the score without them."""
    model, history = _seeded(task, train)
    return (_finally(task, train) if task.final else model), history


def _seeded(task: Task, train: Train) -> Trained:
    training.seed_everything(task.seed)
    return train(task.catalog, task.checkpoint)


def _finally(task: Task, train: Train) -> keras.Model:
    """Trained on all that is not for the test."""
    training.seed_everything(task.seed)
    return train(_all_learned(task.catalog), task.checkpoint / "final")[0]


def _all_learned(catalog: pd.DataFrame) -> pd.DataFrame:
    """The catalog with validation pictures among the training pictures."""
    return catalog.assign(split=catalog.split.replace("val", "train"))


def _frozen(task: Task) -> Trained:
    name, size = task.backbones[0], task.sizes[0]
    model = task.build(size)
    described = heads.describe(task.catalog, task.labels, name, size, task.cache, task.progress)
    return model, heads.fit_linear(model, described, balanced=task.balanced, final=task.final)


def _second_order(task: Task) -> Trained:
    parts = [models.backbone(name, size) for name in task.backbones for size in task.sizes]
    return _solve_second_order(task, parts)


def _solve_second_order(task: Task, parts: list[keras.Model]) -> Trained:
    channels = models.MOST_CHANNELS
    if len(usable(task.catalog, "train")) > MANY:
        views = len(parts) * (len(models.REGIONS) if task.regions else 1) * (2 if task.trim else 1)
        channels = int(math.sqrt(FEWER_NUMBERS / views))
    model = models.second_order(parts, task.labels, task.flip, channels, task.regions, task.trim)
    return model, heads.fit_second_order(model, task.describe(model), balanced=task.balanced, final=task.final)


def _fine_tune_top(task: Task) -> Trained:
    def trained(catalog: pd.DataFrame, checkpoint: Path) -> Trained:
        model = task.build(task.sizes[0])
        return model, tuning.fine_tune_top(
            model,
            catalog,
            task.labels,
            task.epochs,
            balanced=task.balanced,
            seed=task.seed,
            cache=task.cache,
            checkpoint=checkpoint,
            progress=task.progress,
        )

    return _trained(task, trained)


def _in_stages(task: Task) -> Train:
    """How the whole network is fine-tuned: in stages; with a budget as many epochs as it buys."""
    sizes = tuple(max(SMALLEST_NETWORK, round(task.sizes[0] * size / tuning.SIZES[-1])) for size in tuning.SIZES)
    stages = tuning.plan(task.epochs, sizes)
    if task.minutes is not None:

        def measure() -> list:
            options = {"cache": task.cache, "progress": task.progress}
            return tuning.bought(task.build, task.catalog, task.labels, task.minutes, sizes, **options)

        stages = _remembered(task.checkpoint / "stages.json", measure)

    def trained(catalog: pd.DataFrame, checkpoint: Path) -> Trained:
        return tuning.fine_tune(
            task.build,
            catalog,
            task.labels,
            stages,
            balanced=task.balanced,
            seed=task.seed,
            cache=task.cache,
            checkpoint=checkpoint,
            logs=task.logs,
            progress=task.progress,
        )

    return trained


def _fine_tune(task: Task) -> Trained:
    """The whole network; then the head that is best on validation: as it was trained, or solved on second moments."""
    train = _in_stages(task)
    tuned, history = _seeded(task, train)
    best, chosen = modelfolder.reached(history), None
    for size in (task.sizes[0], tuning.larger(task.sizes[0])):
        part = models.transplanted(tuned, task.build(size))
        model, attempts = _solve_second_order(dataclasses.replace(task, final=False), [part])
        row = attempts[attempts.kept].set_index(pd.Index([history.index[-1] + 1], name="epoch"))
        history = pd.concat([history, row.assign(pixels=size, kept=False)])[list(history)]
        if modelfolder.reached(attempts) > best:
            best, chosen, history.kept = modelfolder.reached(attempts), (part, model), history.index == row.index[0]
    if chosen:
        part, model = chosen
        return (_solve_second_order(task, [part])[0] if task.final else model), history
    model = _finally(task, train) if task.final else tuned
    return (models.mirrored(model) if task.flip else model), history


def _remembered(file: Path, measure: Callable[[], list]) -> list:
    """What was measured before a stop, or is measured now: after it, the same decision has to come out."""
    if not file.is_file():
        write_json(file, {"measured": measure()})
    return json.loads(file.read_text(encoding="utf-8"))["measured"]


def _tuned_second_order(task: Task) -> Trained:
    """A fine-tuned network under a second-order head, beside networks as they come."""
    size = tuning.SIZES[-1]
    tuned, _ = _seeded(task, _in_stages(dataclasses.replace(task, sizes=(size,))))
    parts = [models.transplanted(tuned, task.build(tuning.larger(size)))]
    parts += [models.backbone(name, size) for name in task.backbones for size in task.sizes]
    return _solve_second_order(task, parts)


@dataclass(frozen=True)
class Recipe:
    """What a recipe does, and with what unless told otherwise.

    Attributes:
        run: From a task to a trained model and its history.
        size: Of the pictures, in pixels.
        epochs: Passes over the training pictures; 0 where nothing is trained by steps.
        several: Whether it takes several backbones and sizes.
        budget: Whether it takes minutes.
        flip: Whether it can look at mirror images as well.
        regions: Whether it can describe regions of a picture by themselves.
        trim: Whether it can look at what stands out from a picture's border as well.
    """

    run: Callable[[Task], Trained]
    size: int
    epochs: int = 0
    several: bool = False
    budget: bool = False
    flip: bool = False
    regions: bool = False
    trim: bool = False


RECIPES = {
    "linear": Recipe(_linear, 64),
    "scratch": Recipe(_scratch, 64, epochs=30),
    "frozen": Recipe(_frozen, 224),
    "second-order": Recipe(_second_order, 224, several=True, flip=True, regions=True, trim=True),
    "fine-tune-top": Recipe(_fine_tune_top, 224, epochs=8),
    "fine-tune": Recipe(_fine_tune, 160, epochs=6, budget=True, flip=True),
    "tuned-second-order": Recipe(
        _tuned_second_order, 224, epochs=6, several=True, budget=True, flip=True, regions=True, trim=True
    ),
}
