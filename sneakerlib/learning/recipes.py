"""Whole trainings by name, from a catalog to a model folder: what `sneakerlib train` runs."""

import hashlib
import json
import math
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import softmax

from sneakerlib import InputError, pictures
from sneakerlib.catalog import class_numbers, usable
from sneakerlib.learning import augmentation, confidence, heads, model_folder, networks, training
from sneakerlib.learning.backbones import OFFLINE, backbone
from sneakerlib.learning.features import features
from sneakerlib.learning.quiet import keras
from sneakerlib.runs import cache_folder

# Size of the pictures in pixels and passes over them, unless told otherwise; 0 for what is solved, not trained.
RECIPES = {"second-order": (288, 0), "frozen": (224, 0), "fine-tune": (160, 6), "scratch": (64, 30)}
MANY = 12_000  # training pictures from which second moments get fewer channels: memory and time stay linear
FEWER_NUMBERS = 96 * 97  # a picture, of two maps: their products take 350 MB, however many pictures there are
RATES = {"scratch": 4e-3, "fine-tune": 7e-4}  # peaks; scratch on the sample's validation: 0.72, with 2e-3 0.68
LARGER = 1.4  # times the size it was tuned at, a network describes best: on validation 0.897 against 0.879, 23 classes


@dataclass(frozen=True)
class Options:
    """What may be chosen of a training.

    Attributes:
        recipe: `second-order` (a head in closed form on second moments of a frozen backbone), `frozen` (a linear head
            on it), `fine-tune` (the whole backbone) or `scratch` (small CNN).
        backbone: See `backbones.backbone`; `scratch` has none.
        size, epochs: Of the pictures in pixels; passes over the training pictures. None is the recipe's own.
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
    size = size if options.size is None else options.size
    options = replace(options, size=size, epochs=epochs if options.epochs is None else options.epochs)
    if options.size < training.SMALLEST:
        raise InputError(f"size {options.size} is too small: use at least {training.SMALLEST} pixels")
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
        found = ", ".join(labels) or "none"
        raise InputError(f"telling classes apart needs two of them, found {found}: add another sub-folder")
    model_folder.check_target(out)
    training.seed_everything(options.seed)
    task = _Task(catalog, labels, options, Path(cache or cache_folder()), progress)
    recipe = {"second-order": _solved, "frozen": _frozen, "fine-tune": _fine_tune, "scratch": _scratch}
    model, history, logits = recipe[options.recipe](task)
    model_folder.save(model, out, catalog, labels, history, options.recipe, options.seed, asdict(options))
    if len(rows := usable(catalog, "val")) and not options.final:
        if logits is None:
            logits = confidence.log_probabilities(model_folder.load(out).predictions(catalog, "val"), labels)
        noise = confidence.label_noise(logits, targets := class_numbers(rows.label, labels))
        temperature = confidence.fit_temperature(logits, targets, noise)
        seen = confidence.as_predictions(rows, labels, softmax(logits.astype(float) / temperature, axis=1))
        model_folder.calibrate(out, temperature, confidence.fit_threshold(seen, noise=noise), noise)
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
        kind = rows + json.dumps([asdict(self.options), keras.__version__])
        return self.cache / f"training-{hashlib.sha256(kind.encode()).hexdigest()[:16]}"

    def backbone(self, size: int | None = None) -> keras.Model:
        return backbone(self.options.backbone, size or self.options.size)

    def described(self, network: keras.Model | str, size: int, *splits: str):
        """Features, class numbers and groups of the pictures of some splits."""
        rows = usable(self.catalog).query("split in @splits")
        found = features(rows, network, size, self.cache, self.progress)
        return found, class_numbers(rows.label, self.labels), rows.group.where(rows.group.ne(""), rows.path)

    def stepwise(self, model: keras.Model, sizes: list[int], changes: keras.Sequential, final=False) -> pd.DataFrame:
        """Train by steps, see `training.fit`; a final one learns validation pictures, so none is left to judge it."""
        options, place = self.options, self.unfinished / ("final" if final else "steps")
        folder = pictures.prepare(self.catalog, self.unfinished / "prepared", progress=self.progress)
        learned = [folder / split for split in (("train", "val") if final else ("train",))]
        data = training.Dataset(learned, self.labels, sizes, options.seed)
        judged = not final and (folder / "val").is_dir()
        val = training.Dataset([folder / "val"], self.labels, sizes[-1:]) if judged else None
        how = (RATES[options.recipe], place, changes, options.seed, options.class_weights, options.logs, self.progress)
        return training.fit(model, data, val, options.epochs, *how)


Trained = tuple[keras.Model, pd.DataFrame, np.ndarray | None]  # with the validation pictures' logits, where known


def _history(**scores) -> pd.DataFrame:
    return pd.DataFrame(scores | {"kept": True}, index=pd.Index([1], name="epoch"))


def _accuracy(logits: np.ndarray, targets: np.ndarray) -> float:
    """How many are right; not a number without pictures."""
    return float((logits.argmax(axis=1) == targets).mean()) if len(targets) else float("nan")


def _frozen(task: _Task) -> Trained:
    name, size, weights = task.options.backbone, task.options.size, task.options.class_weights
    learned, targets, _ = task.described(name, size, "train")
    unseen, wanted, _ = task.described(name, size, "val")
    head = kernel, bias = heads.logistic(learned, targets, weights)
    said, logits = (heads.answers(seen, kernel) + bias for seen in (learned, unseen))
    history = _history(accuracy=_accuracy(said, targets), val_accuracy=_accuracy(logits, wanted))
    if task.options.final:
        head = heads.logistic(*task.described(name, size, "train", "val")[:2], weights)
    model = networks.classifier(task.backbone(), task.labels)
    model.get_layer("logits").set_weights(head)
    return model, history, logits


def _solved(task: _Task, trunk: keras.Model | None = None, final: bool | None = None) -> Trained:
    """A ridge head on second moments; leaving one out chooses its penalty, and how sure it is."""
    trunk, final = trunk or task.backbone(), task.options.final if final is None else final
    many = len(usable(task.catalog, "train")) > MANY
    fewer = {"channels": int(math.sqrt(FEWER_NUMBERS / len(networks.REGIONS)))} if many else {}
    model = networks.second_order(trunk, task.labels, **fewer)
    part, size = networks.before_head(model), trunk.input_shape[1]
    learned, targets, groups = task.described(part, size, "train")
    unseen, wanted, _ = task.described(part, size, "val")
    ridge = heads.Ridge(learned, targets, task.options.class_weights)
    strength, left_out = ridge.chosen(groups)
    kernel = ridge.kernel(strength)
    logits = heads.answers(unseen, kernel)
    history = _history(
        strength=strength,
        accuracy=_accuracy(heads.answers(learned, kernel), targets),
        left_out_accuracy=_accuracy(left_out, targets),
        val_accuracy=_accuracy(logits, wanted),
    )
    if final:
        learned, targets, groups = task.described(part, size, "train", "val")
        ridge = heads.Ridge(learned, targets, task.options.class_weights)
        kernel, left_out = ridge.kernel(strength), ridge.left_out(strength, groups)
    temperature = confidence.fit_temperature(left_out, targets, confidence.label_noise(left_out, targets))
    model.get_layer("logits").set_weights([kernel / temperature, np.zeros(kernel.shape[1], np.float32)])
    return model, history, logits / temperature


def _scratch(task: _Task) -> Trained:
    model = networks.small_cnn(task.labels, task.options.size)
    start, changes = model.get_weights(), augmentation.light(task.options.seed)
    sizes = [task.options.size] * task.options.epochs
    history = task.stepwise(model, sizes, changes)
    if task.options.final:
        model.set_weights(start)
        task.stepwise(model, sizes, changes, final=True)
    return model, history, None


def _fine_tune(task: _Task) -> Trained:
    """The whole network, from a solved head on; then, if validation prefers it, second moments of what came out.

    The head comes first because a random one would shake the ImageNet weights apart (Kumar et al. 2022, "Fine-Tuning
    can Distort Pretrained Features"). Batch normalisation stays frozen: a small batch has a poor idea of the mean.
    """
    options, sizes = task.options, training.sizes_of(task.options.size, task.options.epochs)
    tuned = networks.classifier(backbone(options.backbone, None), task.labels)
    changes = augmentation.crops(options.seed)
    for layer in tuned.layers:
        layer.trainable = not isinstance(layer, keras.layers.BatchNormalization)
    learned, targets, _ = task.described(options.backbone, sizes[0], "train")
    tuned.get_layer("logits").set_weights(heads.logistic(learned, targets, options.class_weights))
    start = tuned.get_weights()
    history, best = task.stepwise(tuned, sizes, changes).assign(pixels=sizes), None
    for size in (options.size, round(LARGER * options.size)) if history.val_accuracy.notna().any() else ():
        trunk = task.backbone(size)
        trunk.set_weights(tuned.get_weights()[:-2])  # all but the head
        model, scores, logits = _solved(task, trunk, final=False)
        better = scores.val_accuracy.item() > model_folder.best_accuracy(history)
        row = scores.reindex(columns=history.columns).assign(pixels=size, kept=False)
        history = pd.concat([history, row.set_axis([history.index[-1] + 1])]).rename_axis("epoch")
        if better:
            best, history["kept"] = (trunk, model, logits), history.index == history.index[-1]
    if best:
        return _solved(task, best[0], final=True)[0] if options.final else best[1], history, best[2]
    if options.final:
        tuned.set_weights(start)
        task.stepwise(tuned, sizes, changes, final=True)
    model = networks.classifier(task.backbone(), task.labels)
    model.set_weights(tuned.get_weights())
    return model, history, None
