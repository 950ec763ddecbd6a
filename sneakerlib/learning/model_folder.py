"""The model folder: a trained network with all that is needed to use it, and the record of what it was trained on.

Beside its parts it may hold `exported-….tflite`, the network in a faster form, which is made again where it is missing,
and `examples.npz`, small training pictures to show (see `examples`).
"""

import hashlib
import json
import platform
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from scipy.special import softmax

from sneakerlib import InputError
from sneakerlib import catalog as catalogs
from sneakerlib.learning.confidence import as_predictions
from sneakerlib.learning.engine import Engine, engine
from sneakerlib.learning.features import answers, look
from sneakerlib.runs import replacing, write_json
from sneakerlib.tables import write_csv

PARTS = ("model.keras", "labels.json", "history.csv", "catalog.csv", "card.md")
LIBRARIES = ("sneakerlib", "keras", "numpy", "pillow")


@dataclass(frozen=True)
class Saved:
    """A loaded model folder.

    Attributes:
        model: RGB pictures of 0 to 255, (batch, size, size, 3), to logits (batch, classes).
        labels: The classes, in the order of the logits.
        size: Height and width in pixels that the model wants.
        temperature: Divides the logits before the softmax; 1 leaves them as they are.
        info: Everything else in `labels.json`: backbone, recipe, seed, versions, the data's fingerprint.
        history: One row per epoch.
        catalog: The pictures it was trained with, and in which split each was.
        folder: Where it was loaded from.
    """

    model: Any
    labels: list[str]
    size: int
    temperature: float
    info: dict
    history: pd.DataFrame
    catalog: pd.DataFrame
    folder: Path

    @cached_property
    def engine(self) -> Engine:
        """The fastest exact way to ask the model; what it is exported to is kept in the model folder."""
        return engine(self.model, self.folder)

    def sure(self, answer: dict[str, float]) -> bool:
        """Whether an answer of `classify` may be given, or "not sure" would be better."""
        return max(answer.values()) >= self.info.get("abstain_below", 0)

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Softmax of the logits at this model's temperature, in float64 so that each row sums to 1 within 1e-12."""
        return softmax(logits.astype(np.float64) / self.temperature, axis=1)

    def look(self, picture: str | Path | bytes | Image.Image, **how) -> np.ndarray:
        """A picture as the model sees it: see `features.look`; arguments as for `classify`."""
        return look(picture, self.size, **how)

    def classify(self, picture: str | Path | bytes | Image.Image, **how) -> dict[str, float]:
        """Name what is on a picture.

        Args:
            picture: A path, the bytes of a picture file, or a picture that has been opened.
            how: `name` and `strange` of `pictures.standard`.

        Returns:
            The probability per class, the likeliest first.

        Raises:
            InputError: If it cannot be read as a picture.
        """
        logits = self.engine(self.look(picture, **how))
        row = self.probabilities(logits[None])[0]
        return {self.labels[at]: float(row[at]) for at in np.argsort(-row, kind="stable")}

    def predictions(self, catalog: pd.DataFrame, split: str | None = "test") -> pd.DataFrame:
        """What the model says of every picture of a split.

        Args:
            catalog: The table; pictures of classes that the model does not know are left out.
            split: `train`, `val`, `test`, or None for all usable rows. Defaults to `test`.

        Returns:
            One row per picture: path, label, predicted, confidence, correct, and one `p_<class>` column per class;
            these sum to 1.

        Raises:
            InputError: If no picture is left.
        """
        rows = catalogs.usable(catalog, split)
        rows = rows[rows.label.isin(self.labels)]
        if rows.empty:
            raise InputError(f"no usable pictures of the model's classes in split {split or 'all'}: see the catalog")
        folder = catalogs.folder_of(rows)
        logits = np.stack(list(answers(self.engine, self.size, (folder / path for path in rows.path), len(rows))))
        return as_predictions(rows, self.labels, self.probabilities(logits))


def check_target(folder: str | Path) -> None:
    """Raise an InputError if saving there would replace something that is no model folder."""
    folder = Path(folder)
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir()) and not (folder / "labels.json").is_file()):
        raise InputError(f"{folder} exists and is no model folder: name a new one for the model")


def save(
    model,
    folder: str | Path,
    catalog: pd.DataFrame,
    labels: list[str],
    history: pd.DataFrame,
    recipe: str,
    seed: int = 0,
    settings: dict | None = None,
) -> Path:
    """Write the model folder in one step; an earlier one of that name is replaced.

    Args:
        model: A Keras model with a layer `logits` at its end, trained.
        folder: Where to.
        catalog: The split catalog that it was trained on.
        labels: The classes, in the order of the logits.
        history: One row per epoch or attempt: `val_accuracy`, and `kept`, the row that the model was left with.
        recipe: How it was trained, such as `frozen`, `fine-tune` or `scratch`.
        seed: The seed it was trained with. Defaults to 0.
        settings: What else was chosen, and what was tried, for the record. Defaults to nothing.

    Raises:
        InputError: If something else is there.
    """
    check_target(folder)
    used = catalogs.usable(catalog)
    rows = used[["path", "label", "sha256", "split"]].sort_values("path").to_csv(index=False, lineterminator="\n")
    info = {
        "labels": list(labels),
        "size": model.input_shape[1],
        "temperature": 1.0,
        "abstain_below": 0.0,
        "label_noise": 0.0,
        "backbone": model.name,
        "recipe": recipe,
        "settings": settings or {},
        "val_accuracy": best_accuracy(history),
        "parameters": model.count_params(),
        "seed": seed,
        "pictures": {split: int(count) for split, count in used.split.value_counts().sort_index().items()},
        "data": hashlib.sha256(rows.encode()).hexdigest(),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}},
    }
    with replacing(folder) as beside:
        beside.mkdir()
        model.save(beside / "model.keras")
        write_json(beside / "labels.json", info)
        write_csv(beside / "history.csv", history.rename_axis("epoch"))
        catalogs.save(catalog, beside / "catalog.csv", home=folder)
        (beside / "card.md").write_text(_card(info), encoding="utf-8")
    return Path(folder)


def calibrate(folder: str | Path, temperature: float, abstain_below: float, label_noise: float = 0.0) -> None:
    """Write into a model folder how sure the model may be; its answers keep their order.

    Args:
        folder: The model folder.
        temperature: Divides the logits before the softmax; see `fit_temperature`.
        abstain_below: Confidence below which the answer is "not sure"; see `fit_threshold`.
        label_noise: Share of the labels that were taken to be wrong, for the record. Defaults to 0.
    """
    file = Path(folder) / "labels.json"
    info = json.loads(file.read_text(encoding="utf-8"))
    write_json(file, info | {"temperature": temperature, "abstain_below": abstain_below, "label_noise": label_noise})


def best_accuracy(history: pd.DataFrame) -> float | None:
    """The validation accuracy of the epoch, or the penalty, that a model was left with; else the highest one.

    None without validation pictures.
    """
    kept = history.val_accuracy[history.kept.astype(bool)] if "kept" in history else history.val_accuracy
    return float(kept.max()) if kept.notna().any() else None


def _card(info: dict) -> str:
    counts = ", ".join(f"{count} {split}" for split, count in info["pictures"].items())
    score = "not known: there were no validation pictures."
    if info["val_accuracy"] is not None:
        score = f"{info['val_accuracy']:.3f}; it chose the epoch or the penalty, so it flatters."
    return (
        f"# {info['backbone']}, {info['recipe']}\n\n"
        f"Tells {len(info['labels'])} classes apart: {', '.join(info['labels'])}.\n\n"
        f"- Input: RGB pictures of {info['size']} x {info['size']} pixels, 0 to 255.\n"
        "- Output: logits; their softmax gives probabilities.\n"
        f"- Pictures: {counts}. Which one was in which split: `catalog.csv`.\n"
        f"- Validation accuracy: {score}\n"
        f"- Parameters: {info['parameters']:,}. Seed: {info['seed']}.\n\n"
        "It answers with one of its classes whatever it is shown, also for a picture that is none of them.\n"
    )


def check(folder: str | Path) -> None:
    """Raise an InputError if the model folder is missing, or a part of it is."""
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"there is no model folder {folder}: train one with `sneakerlib train IMAGES --out {folder}`")
    if missing := [part for part in PARTS if not (folder / part).is_file()]:
        missing = ", ".join(missing)
        raise InputError(f"the model folder {folder} lacks {missing}: train it again or copy the whole folder")


def load(folder: str | Path | Saved) -> Saved:
    """Load a model folder; what has been loaded is handed back.

    Raises:
        InputError: If it is missing, or a part of it is missing or damaged.
    """
    if isinstance(folder, Saved):
        return folder
    check(folder := Path(folder))
    try:
        info = json.loads((folder / (part := "labels.json")).read_text(encoding="utf-8"))
        labels, size, temperature = list(info.pop("labels")), info.pop("size"), info.pop("temperature")
        history = pd.read_csv(folder / (part := "history.csv"), index_col="epoch")
    except (ValueError, KeyError, TypeError, AttributeError) as error:  # cut, emptied, or something else altogether
        raise InputError(f"{folder / part} is damaged ({error}): train the model again or copy it anew") from error
    from sneakerlib.learning.networks import keras  # late: a missing part is named without waiting for TensorFlow

    try:
        model = keras.saving.load_model(folder / "model.keras", compile=False, safe_mode=True)
    except Exception as error:  # a broken zip, a strange layer, another Keras: each raises something else
        raise InputError(f"{folder / 'model.keras'} cannot be loaded: train the model again or copy it anew") from error
    if len(labels) != model.output_shape[-1]:
        many = f"{len(labels)} labels for {model.output_shape[-1]} answers"
        raise InputError(f"{folder / 'labels.json'} is damaged ({many}): train the model again or copy it anew")
    return Saved(model, labels, size, temperature, info, history, catalogs.load(folder / "catalog.csv"), folder)
