"""The recipes: from a task to a trained model and its history. A new one is a function and a line in `RECIPES`."""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from sneakerlib.catalog import usable
from sneakerlib.learning import augmentation, heads, model_folder, networks, pipeline, training, tuning
from sneakerlib.learning.quiet import keras

SMALLEST_NETWORK = 32  # pixels that a backbone can halve five times
MANY = 12_000  # training pictures from which second moments get fewer channels: memory and time stay linear
FEWER_NUMBERS = 96 * 97  # a picture, of two maps: their products take 350 MB, however many pictures there are


@dataclass(frozen=True)
class Task:
    """What a recipe works on and how.

    Attributes:
        catalog: The split catalog.
        labels: The classes, in the order of the logits.
        backbone: Its name; see `networks.backbone`.
        size: Of the pictures, in pixels.
        epochs: Passes over the training pictures; 0 for recipes that solve.
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
    backbone: str
    size: int
    epochs: int
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
            self.catalog, self.labels, networks.features(model), cache=self.cache, progress=self.progress
        )

    def build(self, size: int) -> keras.Model:
        """A linear head on the backbone, for pictures of this size."""
        return networks.classifier(networks.backbone(self.backbone, size), self.labels)


Trained = tuple[keras.Model, pd.DataFrame]  # the model and its history


def _linear(task: Task) -> Trained:
    model = networks.linear(task.labels, task.size)
    return model, heads.fit_linear(model, task.describe(model), balanced=task.balanced, final=task.final)


def _scratch(task: Task) -> Trained:
    def trained(catalog: pd.DataFrame, checkpoint: Path) -> Trained:
        model = networks.scratch(task.labels, task.size)
        pixels = pipeline.pack(catalog, task.size, task.cache, task.progress)
        train, val = pipeline.learned_and_judged(catalog, pixels, task.labels, task.seed)
        changes, options = augmentation.light(task.seed), {"balanced": task.balanced, "progress": task.progress}
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
    name, size = task.backbone, task.size
    model = task.build(size)
    described = heads.describe(task.catalog, task.labels, name, size, task.cache, task.progress)
    return model, heads.fit_linear(model, described, balanced=task.balanced, final=task.final)


def _second_order(task: Task) -> Trained:
    return _solve_second_order(task, networks.backbone(task.backbone, task.size))


def _solve_second_order(task: Task, backbone: keras.Model) -> Trained:
    many = len(usable(task.catalog, "train")) > MANY
    channels = int(math.sqrt(FEWER_NUMBERS / len(networks.REGIONS))) if many else networks.MOST_CHANNELS
    model = networks.second_order(backbone, task.labels, channels)
    return model, heads.fit_second_order(model, task.describe(model), balanced=task.balanced, final=task.final)


def _in_stages(task: Task) -> Train:
    """How the whole network is fine-tuned: in stages, small pictures first."""
    sizes = tuple(max(SMALLEST_NETWORK, round(task.size * size / tuning.SIZES[-1])) for size in tuning.SIZES)
    stages = tuning.plan(task.epochs, sizes)

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
    best, chosen = model_folder.reached(history), None
    for size in (task.size, tuning.larger(task.size)):
        part = networks.transplanted(tuned, task.build(size))
        model, attempts = _solve_second_order(dataclasses.replace(task, final=False), part)
        row = attempts[attempts.kept].set_index(pd.Index([history.index[-1] + 1], name="epoch"))
        history = pd.concat([history, row.assign(pixels=size, kept=False)])[list(history)]
        if model_folder.reached(attempts) > best:
            best, chosen, history.kept = model_folder.reached(attempts), (part, model), history.index == row.index[0]
    if chosen:
        part, model = chosen
        return (_solve_second_order(task, part)[0] if task.final else model), history
    return (_finally(task, train) if task.final else tuned), history


@dataclass(frozen=True)
class Recipe:
    """What a recipe does, and with what unless told otherwise.

    Attributes:
        run: From a task to a trained model and its history.
        size: Of the pictures, in pixels.
        epochs: Passes over the training pictures; 0 where nothing is trained by steps.
    """

    run: Callable[[Task], Trained]
    size: int
    epochs: int = 0


RECIPES = {
    "second-order": Recipe(_second_order, 288),
    "frozen": Recipe(_frozen, 224),
    "fine-tune": Recipe(_fine_tune, 160, epochs=6),
    "scratch": Recipe(_scratch, 64, epochs=30),
    "linear": Recipe(_linear, 64),
}
