"""Whole trainings by name, from a catalog to a model folder: what `sneakerlib train` runs."""

import hashlib
import json
import math
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import softmax

from sneakerlib import InputError, check_number, pictures
from sneakerlib.catalog import class_numbers, usable
from sneakerlib.learning import confidence, heads, model_folder, networks, training
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
    defaults = dict(zip(("size", "epochs"), RECIPES[options.recipe], strict=True))
    for name in ("epochs", "logs") if not defaults["epochs"] else ():
        if getattr(options, name) is not None:
            raise InputError(f"the recipe {options.recipe} is solved, not trained by epochs: leave --{name} out")
    options = replace(options, **{name: own for name, own in defaults.items() if getattr(options, name) is None})
    for name in ("size", "seed", *(["epochs"] * bool(defaults["epochs"]))):
        check_number(name, getattr(options, name))
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
    recipe = {"second-order": _second_order, "frozen": _frozen, "fine-tune": _fine_tune, "scratch": _scratch}
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

    def described(self, network: keras.Model | str, size: int, *splits: str) -> tuple:
        """Features, class numbers and groups of the pictures of some splits."""
        rows = usable(self.catalog).query("split in @splits")
        found = features(rows, network, size, self.cache, self.progress)
        return found, class_numbers(rows.label, self.labels), rows.group.where(rows.group.ne(""), rows.path)

    def stepwise(self, model: keras.Model, sizes: list[int], final: bool = False) -> pd.DataFrame:
        """Train by steps, see `training.fit`; a final one learns validation pictures, so none is left to judge it."""
        options, place = self.options, self.unfinished / ("final" if final else "steps")
        rows = self.catalog.assign(split=self.catalog.split.replace("val", "train")) if final else self.catalog
        folder = pictures.prepare(rows, self.unfinished / "prepared", progress=self.progress)
        targets = class_numbers(usable(rows, "train").label, self.labels)
        weights = training.balanced(targets) if options.class_weights else None
        changes = training.changes(options.seed, moved=options.recipe == "fine-tune")
        how = (options.seed, changes, weights, options.logs, self.progress)
        return training.fit(model, folder, self.labels, sizes, RATES[options.recipe], place, *how)

    def headed(self, model: keras.Model, network: keras.Model | str, solve: Callable) -> tuple:
        """A model gets the head that `solve` finds on what a network says of the pictures; see `Trained`."""
        size, balanced = model.input_shape[1], self.options.class_weights
        learned, targets, groups = self.described(network, size, "train")
        unseen, wanted, _ = self.described(network, size, "val")
        (kernel, bias), scores = solve(learned, targets, groups, balanced)
        said, logits = (heads.answers(seen, kernel) + bias for seen in (learned, unseen))
        scores |= {"accuracy": _accuracy(said, targets), "val_accuracy": _accuracy(logits, wanted), "kept": True}
        if self.options.final:
            (kernel, bias), _ = solve(*self.described(network, size, "train", "val"), balanced, scores.get("strength"))
        model.get_layer("logits").set_weights([kernel, bias])
        return model, pd.DataFrame(scores, index=pd.Index([1], name="epoch")), logits


Trained = tuple[keras.Model, pd.DataFrame, np.ndarray | None]  # with the validation pictures' logits, where known


def _accuracy(logits: np.ndarray, targets: np.ndarray) -> float:
    """How many are right; not a number without pictures."""
    return float((logits.argmax(axis=1) == targets).mean()) if len(targets) else float("nan")


def _logistic(learned: np.ndarray, targets: np.ndarray, groups: pd.Series, balanced: bool, _=None) -> tuple:
    return heads.logistic(learned, targets, balanced), {}


def _ridge(learned, targets: np.ndarray, groups: pd.Series, balanced: bool, strength: float | None = None) -> tuple:
    """Leaving one out chooses the penalty, unless it is known, and how sure the head is."""
    ridge = heads.Ridge(learned, targets, balanced)
    strength, left_out = (strength, ridge.left_out(strength, groups)) if strength else ridge.chosen(groups)
    kernel = ridge.kernel(strength)
    kernel /= confidence.fit_temperature(left_out, targets, confidence.label_noise(left_out, targets))
    scores = {"strength": strength, "left_out_accuracy": _accuracy(left_out, targets)}
    return (kernel, np.zeros(kernel.shape[1], np.float32)), scores


def _frozen(task: _Task) -> Trained:
    model = networks.classifier(backbone(task.options.backbone, task.options.size), task.labels)
    return task.headed(model, task.options.backbone, _logistic)


def _second_order(task: _Task, trunk: keras.Model | None = None) -> Trained:
    many = len(usable(task.catalog, "train")) > MANY
    fewer = {"channels": int(math.sqrt(FEWER_NUMBERS / len(networks.REGIONS)))} if many else {}
    model = networks.second_order(trunk or backbone(task.options.backbone, task.options.size), task.labels, **fewer)
    return task.headed(model, networks.before_head(model), _ridge)


def _scratch(task: _Task) -> Trained:
    model, sizes = networks.small_cnn(task.labels, task.options.size), [task.options.size] * task.options.epochs
    start = model.get_weights()
    history = task.stepwise(model, sizes)
    if task.options.final:
        model.set_weights(start)
        task.stepwise(model, sizes, final=True)
    return model, history, None


def _fine_tune(task: _Task) -> Trained:
    """The whole network, from a solved head on; then, if validation prefers it, second moments of what came out.

    The head comes first because a random one would shake the ImageNet weights apart (Kumar et al. 2022, "Fine-Tuning
    can Distort Pretrained Features"). Batch normalisation stays frozen: a small batch has a poor idea of the mean.
    """
    options, sizes = task.options, training.sizes_of(task.options.size, task.options.epochs)
    tuned = networks.classifier(backbone(options.backbone, None), task.labels)
    for layer in tuned.layers:
        layer.trainable = not isinstance(layer, keras.layers.BatchNormalization)
    learned, targets, _ = task.described(options.backbone, sizes[0], "train")
    tuned.get_layer("logits").set_weights(heads.logistic(learned, targets, options.class_weights))
    start = tuned.get_weights()
    history = task.stepwise(tuned, sizes).assign(pixels=sizes)
    if history.val_accuracy.notna().any():
        larger = backbone(options.backbone, round(LARGER * options.size))
        larger.set_weights(tuned.get_weights()[:-2])  # all but the head
        model, scores, logits = _second_order(task, larger)
        better = scores.val_accuracy.item() > model_folder.best_accuracy(history)
        row = scores.reindex(columns=history.columns).assign(pixels=larger.input_shape[1], kept=False)
        history = pd.concat([history, row.set_axis([history.index[-1] + 1])]).rename_axis("epoch")
        if better:
            return model, history.assign(kept=history.index == history.index[-1]), logits
    if options.final:
        tuned.set_weights(start)
        task.stepwise(tuned, sizes, final=True)
    model = networks.classifier(backbone(options.backbone, options.size), task.labels)
    model.set_weights(tuned.get_weights())
    return model, history, None
