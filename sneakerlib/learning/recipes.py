"""Whole trainings by name, from a catalog to a model folder: what `sneakerlib train` runs."""

import hashlib
import json
import math
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from sneakerlib import InputError, pictures
from sneakerlib.catalog import class_numbers, usable
from sneakerlib.learning import augmentation, confidence, heads, model_folder, networks, training
from sneakerlib.learning.backbones import OFFLINE, backbone
from sneakerlib.learning.features import features
from sneakerlib.learning.quiet import keras
from sneakerlib.runs import cache_folder

# Size of the pictures in pixels and passes over them, unless told otherwise; 0 for what is solved, not trained.
RECIPES = {"second-order": (288, 0), "frozen": (224, 0), "fine-tune": (160, 6), "scratch": (64, 30)}
SMALLEST = 32  # pixels: a network halves them five times
MANY = 12_000  # training pictures from which second moments get fewer channels: memory and time stay linear
FEWER_NUMBERS = 96 * 97  # a picture, of two maps: their products take 350 MB, however many pictures there are
RATES = {"scratch": 4e-3, "fine-tune": 7e-4}  # peaks; scratch on the sample's validation: 0.72, with 2e-3 0.68
# Fine-tuning sees small pictures first (progressive resizing, Howard 2018, fast.ai's DAWNBench entry): of the size, and
# of the epochs.
SMALL_FIRST = {0.6: 3, 0.8: 2, 1.0: 1}
LARGER = 1.4  # times the size it was tuned at, a network describes best: on validation 0.897 against 0.879, 23 classes


@dataclass(frozen=True)
class Options:
    """What may be chosen of a training.

    Attributes:
        recipe: `second-order` (a head in closed form on second moments of a frozen backbone), `frozen` (a linear head
            on it), `fine-tune` (the whole backbone) or `scratch` (small CNN).
        backbone: See `backbones.backbone`; `scratch` has none.
        size: Picture size in pixels; None is the recipe's own.
        epochs: Passes over the training pictures; None is the recipe's own.
        seed: Same seed, same machine, same versions, same numbers.
        class_weights: Let every class count alike, however many pictures it has.
        final: Once everything is chosen, learn from validation pictures as well. The history still tells what came out
            without them.
        logs: A folder for TensorBoard.
    """

    recipe: str = "second-order"
    backbone: str = OFFLINE
    size: int | None = None
    epochs: int | None = None
    seed: int = 0
    class_weights: bool = False
    final: bool = False
    logs: str | None = None


def checked(options: Options) -> Options:
    """The options with the recipe's own numbers filled in; an InputError if one of them is wrong."""
    if options.recipe not in RECIPES:
        raise InputError(f"there is no recipe {options.recipe!r}: use {', '.join(RECIPES)}")
    size, epochs = RECIPES[options.recipe]
    for name in ("epochs", "logs") if not epochs else ():
        if getattr(options, name) is not None:
            raise InputError(f"the recipe {options.recipe} is solved, not trained by epochs: leave --{name} out")
    options = replace(options, size=options.size or size, epochs=epochs if options.epochs is None else options.epochs)
    if options.size < SMALLEST:
        raise InputError(f"size {options.size} is too small: use at least {SMALLEST} pixels")
    if options.epochs < 1 and epochs:
        raise InputError(f"epochs must be at least 1, not {options.epochs}")
    return options


def train(
    catalog: pd.DataFrame,
    out: str | Path,
    options: Options | None = None,
    cache: str | Path | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Train by a recipe and save the model folder. Stopped at any time, the same call goes on.

    Args:
        catalog: The split catalog.
        out: The model folder to write.
        options: What was chosen. Defaults to the recipe `second-order` with its own numbers.
        cache: Folder of features, prepared pictures and unfinished trainings. Defaults to the user's cache folder.
        progress: Show bars. Defaults to True.

    Returns:
        The history: a row per epoch, or per penalty that was tried.

    Raises:
        InputError: If an option is wrong, or there are fewer than two classes.
    """
    options, labels = checked(options or Options()), sorted(usable(catalog).label.unique())
    if len(labels) < 2:
        raise InputError(
            f"telling classes apart needs two of them, found {', '.join(labels) or 'none'}: add another sub-folder"
        )
    model_folder.check_target(out)
    training.seed_everything(options.seed)
    task = _Task(catalog, labels, options, Path(cache or cache_folder()), progress)
    recipe = {"second-order": _second_order, "frozen": _frozen, "fine-tune": _fine_tune, "scratch": _scratch}
    model, history = recipe[options.recipe](task)
    model_folder.save(model, out, catalog, labels, history, options.recipe, options.seed, asdict(options))
    if len(usable(catalog, "val")) and not options.final:
        seen = model_folder.load(out).predictions(catalog, "val")
        logits, targets = confidence.log_probabilities(seen, labels), class_numbers(seen.label, labels)
        noise = heads.label_noise(logits, targets)
        temperature = confidence.fit_temperature(logits, targets, noise)
        threshold = confidence.fit_threshold(confidence.temperature_scaled(seen, temperature), noise=noise)
        model_folder.calibrate(out, temperature, threshold, noise)
    shutil.rmtree(task.unfinished, ignore_errors=True)
    return history


@dataclass(frozen=True)
class _Task:
    """A training: of which pictures, to tell what apart, how."""

    catalog: pd.DataFrame
    labels: list[str]
    options: Options
    cache: Path
    progress: bool

    @property
    def unfinished(self) -> Path:
        """Where what can be resumed lies: the same pictures in the same way share it."""
        rows = usable(self.catalog)[["sha256", "label", "split"]].sort_values(["sha256", "label"]).to_csv(index=False)
        how = json.dumps([asdict(self.options), keras.__version__])
        return self.cache / f"training-{hashlib.sha256((rows + how).encode()).hexdigest()[:16]}"

    def backbone(self, size: int | None = None) -> keras.Model:
        return backbone(self.options.backbone, size or self.options.size)

    def described(self, network: keras.Model | str, size: int, *splits: str):
        """Features, class numbers and groups of the pictures of some splits."""
        rows = usable(self.catalog)
        rows = rows[rows.split.isin(splits)]
        found = features(rows, network, size, self.cache, self.progress)
        return found, class_numbers(rows.label, self.labels), rows.group.where(rows.group.ne(""), rows.path)

    def stepwise(self, model: keras.Model, sizes: list[int], changes: keras.Sequential) -> pd.DataFrame:
        """Train by steps, and if asked to, once more on validation pictures, too; see `training.fit`."""
        options, start = self.options, model.get_weights()
        folder = pictures.prepare(self.catalog, self.unfinished / "prepared", progress=self.progress)
        how = {"rate": RATES[options.recipe], "augmentation": changes, "seed": options.seed, "progress": self.progress}
        how |= {"class_weights": options.class_weights, "logs": options.logs, "epochs": options.epochs}

        def fit(name: str, learned: list[str], judged: bool) -> pd.DataFrame:
            data = training.Dataset([folder / split for split in learned], self.labels, sizes, options.seed)
            val = training.Dataset([folder / "val"], self.labels, sizes[-1:]) if judged else None
            return training.fit(model, data, val, folder=self.unfinished / name, **how)

        history = fit("steps", ["train"], (folder / "val").is_dir())
        if options.final:
            model.set_weights(start)
            fit("final", ["train", "val"], False)
        return history


Trained = tuple[keras.Model, pd.DataFrame]  # the model and its history


def _history(rows: list[dict], first: int = 1) -> pd.DataFrame:
    return pd.DataFrame(rows, index=pd.RangeIndex(first, first + len(rows), name="epoch"))


def _accuracy(logits: np.ndarray, targets: np.ndarray) -> float:
    """How many are right; not a number if there are none, as when all pictures are learned from."""
    return float((logits.argmax(axis=1) == targets).mean()) if len(targets) else float("nan")


def _frozen(task: _Task) -> Trained:
    name, size, weights = task.options.backbone, task.options.size, task.options.class_weights
    learned, targets, _ = task.described(name, size, "train")
    unseen, wanted, _ = task.described(name, size, "val")
    kernel, bias = heads.logistic(learned, targets, weights)
    scores = {"accuracy": _accuracy(learned @ kernel + bias, targets), "val_accuracy": float("nan")}
    scores["val_accuracy"] = _accuracy(unseen @ kernel + bias, wanted)
    if task.options.final:
        learned, targets, _ = task.described(name, size, "train", "val")
        kernel, bias = heads.logistic(learned, targets, weights)
    model = networks.classifier(task.backbone(), task.labels)
    model.get_layer("logits").set_weights([kernel, bias])
    return model, _history([scores | {"kept": True}])


def _second_order(task: _Task) -> Trained:
    return _solved(task, task.backbone(), task.options.final)


def _solved(task: _Task, trunk: keras.Model, final: bool) -> Trained:
    """A ridge head on second moments; leaving one out chooses its penalty and says how sure it may be."""
    many = len(usable(task.catalog, "train")) > MANY
    fewer = {"channels": int(math.sqrt(FEWER_NUMBERS / len(networks.REGIONS)))} if many else {}
    model = networks.second_order(trunk, task.labels, **fewer)
    part, size = networks.before_head(model), trunk.input_shape[1]
    learned, targets, groups = task.described(part, size, "train")
    ridge = heads.Ridge(learned, targets, task.options.class_weights)
    strength, left_out = ridge.chosen(groups)
    kernel = ridge.kernel(strength)
    unseen, wanted, _ = task.described(part, size, "val")
    scores = {"strength": strength, "accuracy": _accuracy(heads.answers(learned, kernel), targets)}
    scores |= {"left_out_accuracy": _accuracy(left_out, targets)}
    scores |= {"val_accuracy": _accuracy(heads.answers(unseen, kernel), wanted), "kept": True}
    if final:
        learned, targets, groups = task.described(part, size, "train", "val")
        ridge = heads.Ridge(learned, targets, task.options.class_weights)
        kernel, left_out = ridge.kernel(strength), ridge.left_out(strength, groups)
    # ridge answers from -1 to 1, which is too flat for probabilities
    temperature = confidence.fit_temperature(left_out, targets, heads.label_noise(left_out, targets))
    model.get_layer("logits").set_weights([kernel / temperature, np.zeros(kernel.shape[1], np.float32)])
    return model, _history([scores])


def _scratch(task: _Task) -> Trained:
    model = networks.small_cnn(task.labels, task.options.size)
    sizes = [task.options.size] * task.options.epochs
    return model, task.stepwise(model, sizes, augmentation.light(task.options.seed))


def _fine_tune(task: _Task) -> Trained:
    """The whole network, from a solved head on; then, if validation prefers it, second moments of what came out.

    The head comes first because a random one would shake the ImageNet weights apart (Kumar et al. 2022, "Fine-Tuning
    can Distort Pretrained Features"). Batch normalisation stays frozen: a small batch has a poor idea of the mean.
    """
    options, sizes = task.options, sizes_of(task.options.size, task.options.epochs)
    tuned = networks.classifier(backbone(options.backbone, None), task.labels)
    for layer in tuned.layers:
        layer.trainable = not isinstance(layer, keras.layers.BatchNormalization)
    learned, targets, _ = task.described(options.backbone, sizes[0], "train")
    kernel, bias = heads.logistic(learned, targets, options.class_weights)
    tuned.get_layer("logits").set_weights([kernel, bias])
    history = task.stepwise(tuned, sizes, augmentation.crops(options.seed)).assign(pixels=sizes)
    model = networks.classifier(task.backbone(), task.labels)
    model.set_weights(tuned.get_weights())
    for size in (options.size, round(LARGER * options.size)) if history.val_accuracy.notna().any() else ():
        trunk = task.backbone(size)
        trunk.set_weights(tuned.get_weights()[:-2])  # all but the head
        second, scores = _solved(task, trunk, options.final)
        row = scores.reindex(columns=history.columns).assign(pixels=size, kept=False)
        row.index = pd.RangeIndex(history.index[-1] + 1, history.index[-1] + 2, name="epoch")
        better = scores.val_accuracy.iloc[0] > model_folder.best_accuracy(history)
        history = pd.concat([history, row])
        if better:
            model, history["kept"] = second, history.index == history.index[-1]
    return model, history


def sizes_of(size: int, epochs: int) -> list[int]:
    """The size of the pictures in each epoch of fine-tuning: small ones first, the wanted size at least once, last.

    >>> sizes_of(160, 6), sizes_of(160, 1)
    ([96, 96, 96, 128, 128, 160], [160])
    """
    total, sizes = sum(SMALL_FIRST.values()), []
    for share, part in SMALL_FIRST.items():
        sizes += [max(SMALLEST, round(share * size))] * round(epochs * part / total)
    return [*[*sizes, *[size] * epochs][: epochs - 1], size]
