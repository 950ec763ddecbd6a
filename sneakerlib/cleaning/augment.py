"""Changed copies of training pictures, in which a shoe stays the same shoe, for classes that are too small."""

import hashlib
import io
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from sneakerlib import InputError, check_number
from sneakerlib import catalog as catalogs
from sneakerlib.pictures import QUALITY, encoded, standard
from sneakerlib.runs import replacing, watch

# imgaug 0.4.0 is no longer kept up: it asks NumPy for a table of types that NumPy 2 has dropped, and hands OpenCV maps
# that NumPy 2 has made float64 (NEP 50). Both are mended here, so import it from here.
if not hasattr(np, "sctypes"):
    np.sctypes = {  # noqa: NPY201 - put back, not used
        "int": [np.int8, np.int16, np.int32, np.int64],
        "uint": [np.uint8, np.uint16, np.uint32, np.uint64],
        "float": [np.float16, np.float32, np.float64, np.longdouble],
    }
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # remarks on its own old syntax
    import imgaug
    from imgaug import augmenters as iaa

_shift_maps = iaa.ElasticTransformation._generate_shift_maps.__func__
iaa.ElasticTransformation._generate_shift_maps = classmethod(
    lambda *args, **kwargs: tuple(shifts.astype(np.float32, copy=False) for shifts in _shift_maps(*args, **kwargs))
)

CHANGES = iaa.Sequential(  # the same as in notebook 02, which shows them one by one
    [
        iaa.Sometimes(0.5, iaa.Fliplr(1)),
        iaa.Sometimes(0.3, iaa.ElasticTransformation(alpha=(0, 30), sigma=5, mode="nearest")),
        iaa.Sometimes(0.5, iaa.Affine(rotate=(-15, 15), mode="edge")),
        iaa.Sometimes(0.5, iaa.Affine(scale={"x": (0.9, 1.1), "y": (0.9, 1.1)}, mode="edge")),
        iaa.Sometimes(0.5, iaa.Crop(percent=(0, 0.1))),
        iaa.Sometimes(0.3, iaa.Cutout(size=0.2, squared=False, cval=(0, 255), fill_per_channel=True)),
    ]
)


def changed(picture: Image.Image, seed: int, augmenter: iaa.Augmenter = CHANGES) -> Image.Image:
    """One changed copy of an RGB picture: same seed, same copy, whatever was made before."""
    imgaug.seed(seed)  # of the whole library: a seed given to an augmenter does not make it reproducible
    return Image.fromarray(augmenter(image=np.asarray(picture)))


def write(catalog: pd.DataFrame, out: str | Path, per_class: int, seed: int = 0, progress: bool = True) -> pd.DataFrame:
    """Write a picture folder in which small classes are filled up with changed copies of their training pictures.

    Args:
        catalog: A split catalog. Its usable pictures come along in standard form, each in its split.
        out: The new picture folder; also gets `catalog.csv`. What is there already is kept, so a second call goes on.
        per_class: Training pictures per class at the least.
        seed: Same seed, same copies. Defaults to 0.
        progress: Show a bar. Defaults to True.

    Returns:
        The catalog of the folder. `original` is the path that a picture was made from. Copies are training pictures in
        the group of their original; no copy of a validation or test picture is made.

    Raises:
        InputError: If there is nothing to copy, or `out` is the folder of the originals.
    """
    out, folder = Path(out), catalogs.folder_of(catalog)
    rows = catalogs.usable(catalog).drop_duplicates(["label", "sha256"])
    train = rows[rows.split.eq("train")]
    check_number("per_class", per_class)
    if train.empty:
        raise InputError("the catalog has no training pictures: split it first with `sneakerlib split`")
    if out.resolve() == folder.resolve():
        raise InputError(f"{out} holds the originals, which stay as they are: name another folder")
    jobs, made = [(row, None) for row in rows.to_dict("records")], []
    for _, group in train.sort_values("sha256").groupby("label"):
        originals = group.to_dict("records")
        wanted = range(per_class - len(originals))
        jobs += [(originals[number % len(originals)], number // len(originals)) for number in wanted]
    for row, number in watch(jobs, len(jobs), "augmenting", progress):
        form = f"{row['label']}/{row['sha256'][:16]}"
        file = out / f"{form}.jpg" if number is None else out / f"{form}-{seed}-{number}.jpg"
        if not file.exists():
            content = standard(folder / row["path"])
            if number is not None:
                own = hashlib.sha256(f"{seed}:{number}:{row['sha256']}".encode()).digest()[:4]  # whatever the order
                copy = changed(Image.open(io.BytesIO(content)), int.from_bytes(own))
                content = encoded(copy, format="JPEG", quality=QUALITY)
            with replacing(file) as beside:
                beside.write_bytes(content)
        origin = {"original": row["path"] if number is None else f"{form}.jpg"}
        made.append(row | catalogs.facts(file, out) | origin)
    table = catalogs.blank(made, out)
    catalogs.save(table, out / catalogs.COLLECTED)
    return table
