"""The one way to open a picture, its standard form, and the prepared folder of pictures in that form."""

import contextlib
import io
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageCms, ImageOps

from sneakerlib import InputError
from sneakerlib.runs import replacing, watch

WHITE = (255, 255, 255)
LONGEST = 320  # pixels of the standard form's longer side: the largest networks here look at 288 and 299
QUALITY = 95  # of its JPEG: nothing of it can be seen, and a file takes a fifth of a PNG
# What a stranger's file may be: no format whose reader starts another program (EPS) or fetches its parts.
FROM_THE_WEB = ["JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"]
MOST_DECODED = 25_000_000  # pixels of a stranger's picture, once a large JPEG was brought down: 100 MB with alpha
JPEG_SCAN = b"\xff\xda"  # the marker of a scan, which cannot occur within one
MOST_SCANS = 64  # progressive JPEGs have about ten; each may be a few bytes long and take as long as the whole picture
EXIF_ORIENTATION = 0x0112  # the tag that says how the camera was held


def folder_of(table: pd.DataFrame) -> Path:
    """The picture folder that the paths of a catalog, or of a table made from one, start from."""
    if "folder" not in table.attrs:
        raise InputError("this table does not know its picture folder: make it with catalog.read or catalog.load")
    return Path(table.attrs["folder"])


def standard(
    source: str | Path | bytes | Image.Image, longest: int = LONGEST, name: str | None = None, strange: bool = False
) -> bytes:
    """The standard form of a picture, in which every network gets it: upright, in sRGB, over white, small, a JPEG.

    Args:
        source: See `open_rgb`, as for `name`, `strange` and errors; or a picture that has been opened.
        longest: Longer side in pixels at the most; smaller pictures are not enlarged. Defaults to 320.
        name: Defaults to the path.
        strange: Defaults to False.
    """
    opened = isinstance(source, Image.Image)
    picture = to_rgb(source).copy() if opened else open_rgb(source, 2 * longest, name, strange)
    picture.thumbnail((longest, longest), Image.LANCZOS)
    return encoded(picture, format="JPEG", quality=QUALITY)


def prepare(catalog: pd.DataFrame, out: str | Path, longest: int = LONGEST, progress: bool = True) -> Path:
    """Write every usable picture in its standard form: `out/{train,val,test}/{label}/{sha256}.jpg`.

    As Keras, torchvision and fastai read it. The folder follows from the catalog, so don't edit it: after a change of
    the catalog the same call writes what is new, removes what no longer belongs there, and leaves the rest as it is.

    Args:
        catalog: The split catalog, which knows its picture folder; the originals stay as they are.
        out: The prepared folder.
        longest: Longer side in pixels at the most. Defaults to 320. Another number prepares all pictures anew.
        progress: Show a bar. Defaults to True.

    Returns:
        `out`.

    Raises:
        InputError: If a picture cannot be read, or `out` holds something else.
    """
    out, folder, mark = Path(out), folder_of(catalog), Path(out) / f".longest-{longest}"
    rows = catalog[catalog.issue.eq("") & catalog.split.ne("")].drop_duplicates(["split", "label", "sha256"])
    wanted = {out / row.split / row.label / f"{row.sha256}.jpg": folder / row.path for row in rows.itertuples()}
    there = {file for file in out.rglob("*") if file.is_file()} if out.is_dir() else set()
    if there and not list(out.glob(".longest-*")):
        raise InputError(f"{out} holds something else: name a new folder for the prepared pictures")
    kept = there & set(wanted) if mark in there else set()
    for file in there - kept - {mark}:
        file.unlink()
    out.mkdir(parents=True, exist_ok=True)
    mark.touch()

    def write(file: Path) -> None:
        content = standard(wanted[file], longest)
        with replacing(file) as beside:
            beside.write_bytes(content)

    new = [file for file in wanted if file not in kept]
    with quietly(), ThreadPoolExecutor() as pool:
        for _ in watch(pool.map(write, new), len(new), "preparing", progress):
            pass
    for place in sorted((place for place in out.rglob("*") if place.is_dir()), reverse=True):
        if not any(place.iterdir()):
            place.rmdir()
    return out


def open_rgb(
    source: str | Path | bytes, longest: int | None = None, name: str | None = None, strange: bool = False
) -> Image.Image:
    """Decode a picture in full: upright, its colours in sRGB, transparent parts over white.

    Args:
        source: A path, or the bytes of a picture file. The file's name and extension don't matter.
        longest: Wanted longer side in pixels, a hint that lets large JPEGs decode at a fraction of the cost (the
            answer may be larger). Defaults to the full size.
        name: What to call it in an error. Defaults to the path.
        strange: It comes from somebody unknown: refuse formats that may do more than show a picture, and sizes that
            would take too long or too much memory. Defaults to False.

    Returns:
        A PIL picture of mode RGB.

    Raises:
        InputError: If this is not a picture, or a damaged one, or one of more than `PIL.Image.MAX_IMAGE_PIXELS`.
    """
    name = name or ("these bytes" if isinstance(source, bytes) else str(source))
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    try:
        with quietly(), Image.open(file, formats=from_the_web() if strange else None) as image:
            if longest:
                image.draft(image.mode, (longest, longest))
            if strange:
                _refuse_bombs(image, source)
            image.load()  # `verify()` would pass a truncated JPEG
            return to_rgb(_in_srgb(ImageOps.exif_transpose(image)))
    except FileNotFoundError as error:
        raise InputError(f"there is no file {name}: check the path") from error
    except Exception as error:  # Pillow's readers raise whatever a damaged header leads them to
        reason = _reason(error)
        raise InputError(f"{name} cannot be read as a picture ({reason}): replace it or leave it out") from error


def from_the_web() -> list[str]:
    """The formats that a stranger's file may have, by Pillow's names."""
    Image.init()
    return [name for name in FROM_THE_WEB if name in Image.OPEN]  # Pillow before 11.3 reads no AVIF


def _refuse_bombs(image: Image.Image, source: str | Path | bytes) -> None:
    """Raise for a picture whose header promises more work than a picture needs; called before it is decoded."""
    if image.width * image.height > MOST_DECODED:
        raise Image.DecompressionBombError(f"more than {MOST_DECODED / 1e6:g} million pixels")
    if image.format in ("JPEG", "MPO"):
        content = source if isinstance(source, bytes) else Path(source).read_bytes()
        if content.count(JPEG_SCAN) > MOST_SCANS:
            raise Image.DecompressionBombError("a JPEG in very many scans")


def screen(file: str | Path, most_pixels: int) -> dict:
    """Decode a file from the web, to know whether it is a whole picture.

    Args:
        file: The file; its name says nothing.
        most_pixels: Width times height; a larger picture is refused from its header, before it is decoded.

    Returns:
        See `header`.

    Raises:
        InputError: With a few words on why it is not a picture to keep.
    """
    try:
        with quietly(), Image.open(file, formats=from_the_web()) as image:
            seen = header(image)
            if image.width * image.height > most_pixels:
                raise Image.DecompressionBombError
            image.draft(image.mode, (64, 64))  # an eighth of a JPEG's size still reads every byte of it
            image.load()
            return seen
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputError(f"more than {most_pixels / 1e6:g} million pixels") from error
    except Exception as error:  # Pillow's readers raise whatever a damaged header leads them to
        reason = _reason(error)
        raise InputError(reason if reason == "not a picture" else f"damaged ({reason})") from error


def header(image: Image.Image) -> dict:
    """Width, height, mode and format, as the header has them."""
    return {fact: getattr(image, fact) for fact in ("width", "height", "mode", "format")}


@contextlib.contextmanager
def quietly():
    """Pillow's remarks on odd files kept from the reader; its warning of a bomb made an error.

    Python keeps one list of such filters for all threads: whoever opens pictures in threads does this around all of
    them, too, so that no thread puts back a list without the filters while another one is reading.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        warnings.filterwarnings("ignore", category=UserWarning, module="PIL")
        yield


def _reason(error: Exception) -> str:
    if isinstance(error, Image.UnidentifiedImageError):
        return "not a picture"
    return (str(error).splitlines() or [type(error).__name__])[0][:80]


def _in_srgb(picture: Image.Image) -> Image.Image:
    """Translate the colours that a profile describes; a broken profile, or one of another kind, is passed over."""
    profile = picture.info.get("icc_profile")
    if not profile or picture.mode not in ("RGB", "CMYK"):
        return picture
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        return ImageCms.profileToProfile(picture, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return picture


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert any mode to RGB: transparency over white, 16 and 32 bits per pixel scaled to 8."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        values = np.asarray(image).astype(np.float64)
        top = next((top for top in (1.0, 255.0, 65535.0) if values.max() <= top), values.max())
        top = 65535.0 if image.mode.startswith("I;16") else top
        image = Image.fromarray(np.clip(values / top * 255, 0, 255).round().astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, WHITE)
        ground.alpha_composite(image)
        image = ground
    return image.convert("RGB")


def encoded(image: Image.Image, **options) -> bytes:
    """A picture as the bytes of a file; the options are those of Pillow's `save`, `format` among them."""
    buffer = io.BytesIO()
    image.save(buffer, **options)
    return buffer.getvalue()
