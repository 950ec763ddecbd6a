"""Random changes that leave a shoe the same shoe: as layers that run in training, and as files for small classes."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from sneakerlib import InputError
from sneakerlib import catalog as catalogs
from sneakerlib.cleaning.standardise import QUALITY, standardise
from sneakerlib.runs import replacing, watch


def augmenters() -> dict:
    """Every imgaug augmenter that the recipes are made of, by name: what an earlier library of ours offered."""
    from sneakerlib.cleaning.imgaug_compat import iaa

    return {
        "distort": iaa.ElasticTransformation(alpha=(0, 30), sigma=5),
        "flip": iaa.Fliplr(1),
        "crop": iaa.Crop(percent=(0, 0.1)),
        "erase": iaa.Cutout(size=0.2, squared=False, cval=(0, 255), fill_per_channel=True),
        "rotate": iaa.Affine(rotate=(-15, 15), mode="edge"),
        "resize": iaa.Affine(scale={"x": (0.9, 1.1), "y": (0.9, 1.1)}, mode="edge"),
        # the recipe of the Keras cat-and-dog tutorial that a workshop used
        "rotate-30": iaa.Affine(rotate=(-30, 30), mode="edge"),
        "shift": iaa.Affine(translate_percent={"x": (-0.2, 0.2), "y": (-0.2, 0.2)}, mode="edge"),
        "zoom": iaa.Affine(scale=(0.8, 1.2), mode="edge"),
    }


# Augmenters and how often each is applied, one after another.
RECIPES = {
    "standard": {"flip": 0.5, "distort": 0.3, "rotate": 0.5, "resize": 0.5, "crop": 0.5, "erase": 0.3},
    "workshop": {"flip": 0.5, "rotate-30": 1, "shift": 1, "zoom": 1},
}


def recipe(name: str = "standard"):
    """One of `RECIPES` as an imgaug augmenter; raises an InputError if there is none of this name."""
    from sneakerlib.cleaning.imgaug_compat import iaa

    if name not in RECIPES:
        raise InputError(f"there is no recipe {name!r}: use {', '.join(RECIPES)}")
    parts = augmenters()
    return iaa.Sequential([iaa.Sometimes(often, parts[part]) for part, often in RECIPES[name].items()])


def changed(picture: Image.Image, augmenter, seed: int) -> Image.Image:
    """One changed copy of an RGB picture: same seed, same copy, whatever was made before."""
    from sneakerlib.cleaning.imgaug_compat import imgaug

    imgaug.seed(seed)  # of the whole library: a seed given to an augmenter does not make it reproducible
    return Image.fromarray(augmenter(image=np.asarray(picture)))


def plan(catalog: pd.DataFrame, per_class: int) -> pd.DataFrame:
    """What it takes to have `per_class` training pictures of each class: label, train, copies."""
    train = catalogs.usable(catalog, "train").groupby("label").size()
    copies = (per_class - train).clip(0)
    return pd.DataFrame({"label": train.index, "train": train.to_numpy(), "copies": copies.to_numpy()})


def write(
    catalog: pd.DataFrame,
    out: str | Path,
    per_class: int,
    name: str = "standard",
    seed: int = 0,
    progress: bool = True,
) -> pd.DataFrame:
    """Write a picture folder in which small classes are filled up with changed copies of their training pictures.

    Args:
        catalog: A split catalog. Its pictures come along in standard form, each in its split.
        out: The new picture folder; also gets `catalog.csv`. What is there already is kept, so a second call goes on.
        per_class: Training pictures per class at the least.
        name: A key of `RECIPES`. Defaults to `standard`.
        seed: Same seed, same copies. Defaults to 0.
        progress: Show a bar. Defaults to True.

    Returns:
        The catalog of the folder. Copies are training pictures, share their original's group, and say whose copy they
        are in `original`; no copy of a validation or test picture is made.
    """
    augmenter = recipe(name)
    if per_class < 1:
        raise InputError(f"{per_class} pictures per class are none: use at least 1")
    if not len(catalogs.usable(catalog, "train")):
        raise InputError("the catalog has no training pictures: split it first with `sneakerlib split`")
    table = standardise(catalog, out, progress=progress)
    jobs = []
    for row in plan(table, per_class).itertuples():
        originals = table[table.label.eq(row.label) & table.split.eq("train")].sort_values("sha256")
        jobs += [(originals.iloc[number % len(originals)], number // len(originals)) for number in range(row.copies)]
    rows = []
    for original, number in watch(iter(jobs), len(jobs), "augmenting", progress):
        file = Path(out) / original.label / f"{Path(original.path).stem}-{name}-{seed}-{number}.jpg"
        if not file.exists():
            own = hashlib.sha256(f"{seed}:{number}:{original.sha256}".encode()).digest()[:4]  # whatever the order
            with Image.open(Path(out) / original.path) as picture, replacing(file) as beside:
                copy = changed(picture.convert("RGB"), augmenter, int.from_bytes(own))
                copy.save(beside, "JPEG", quality=QUALITY)
        rows.append(dict(original) | catalogs.facts(file, Path(out)) | {"original": original.path})
    whole = pd.concat([table, pd.DataFrame(rows, columns=table.columns)], ignore_index=True).fillna("")
    whole = whole.drop_duplicates("path").sort_values("path", ignore_index=True)
    whole.attrs["folder"] = str(out)
    catalogs.save(whole, Path(out) / catalogs.COLLECTED)
    return whole
