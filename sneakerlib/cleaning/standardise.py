"""Copy a folder's pictures into one form: upright, RGB in sRGB, small, JPEG. Read faster ever after."""

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageCms, ImageOps

from sneakerlib import InputError
from sneakerlib import catalog as catalogs
from sneakerlib.catalog import folder_of, usable
from sneakerlib.pictures import as_seen, quietly, to_rgb
from sneakerlib.runs import replacing, watch

LONGEST = 256  # pixels: what an earlier project shrank to, which "almost doubled" its training speed
QUALITY = 90  # of the JPEG: differences are invisible, and a file takes a sixth of a PNG


def standardise(
    catalog: pd.DataFrame, out: str | Path, longest: int = LONGEST, quality: int = QUALITY, progress: bool = True
) -> pd.DataFrame:
    """Write a standard copy of every usable picture; the originals stay as they are.

    Args:
        catalog: The pictures; those with an issue are left out.
        out: The new picture folder. Copies that are there already are kept, so that a second call goes on.
        longest: Longer side in pixels at the most; smaller pictures are not enlarged. Defaults to 256.
        quality: Of the JPEG, 1 to 95. Defaults to 90.
        progress: Show a bar. Defaults to True.

    Returns:
        The catalog of the copies: label, origin, group and split as before, and `original`, the path it was made from.

    Raises:
        InputError: If `out` is the folder of the originals, or a number is out of range.
    """
    out, folder = Path(out), folder_of(catalog)
    if out.resolve() == folder.resolve():
        raise InputError(f"{out} holds the originals, which stay as they are: name another folder")
    if longest < 1 or not 1 <= quality <= 95:
        raise InputError(f"longest {longest} and quality {quality}: at least 1 pixel, and 1 to 95, are wanted")
    rows = usable(catalog)
    names = [f"{row.label}/{row.sha256[:16]}-{longest}q{quality}.jpg" for row in rows.itertuples()]

    def copy(pair: tuple[str, str]) -> dict:
        original, name = folder / pair[0], out / pair[1]
        if not name.exists():
            with replacing(name) as beside:
                standard(original, longest).save(beside, "JPEG", quality=quality)
        return catalogs.facts(name, out)

    with quietly(), ThreadPoolExecutor() as pool:
        made = pool.map(copy, zip(rows.path, names, strict=True))
        facts = pd.DataFrame(list(watch(made, len(rows), "copying", progress)), index=rows.index)
    table = rows.assign(original=rows.path, **{column: facts[column] for column in catalogs.FACTS})
    table = table.drop_duplicates("path").sort_values("path", ignore_index=True)
    table.attrs["folder"] = str(out)
    return catalogs.validate(table, str(out))


def standard(file: str | Path, longest: int = LONGEST) -> Image.Image:
    """One picture in the standard form: upright, its colours in sRGB, transparency over white, shrunk.

    Args:
        file: The original.
        longest: Longer side in pixels at the most. Defaults to 256.
    """
    with quietly(), Image.open(file) as image:
        image.draft(image.mode, (2 * longest, 2 * longest))  # a large JPEG is decoded at a fraction of its size
        image.load()
        picture = ImageOps.exif_transpose(image)
        profile = image.info.get("icc_profile")
    picture = to_rgb(_in_srgb(picture, profile))
    picture.thumbnail((longest, longest), Image.LANCZOS)
    return picture


def _in_srgb(picture: Image.Image, profile: bytes | None) -> Image.Image:
    """Translate the colours that a profile describes; a broken profile, or one of another kind, is passed over."""
    if not profile or picture.mode not in ("RGB", "CMYK"):
        return picture
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        return ImageCms.profileToProfile(picture, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return picture


def mean_pictures(catalog: pd.DataFrame, size: int = 96, most: int = 200) -> dict[str, Image.Image]:
    """The average picture of every class: what its pictures have in common, such as view and background.

    Args:
        catalog: The pictures; those with an issue are left out.
        size: Height and width in pixels. Defaults to 96.
        most: Pictures per class that are averaged, the first of them. Defaults to 200.
    """
    folder, means = folder_of(catalog), {}
    for label, rows in usable(catalog).groupby("label"):
        total = sum(as_seen(folder / path, size).astype(float) for path in rows.path.head(most))
        means[label] = Image.fromarray((total / min(most, len(rows))).round().astype(np.uint8))
    return means
