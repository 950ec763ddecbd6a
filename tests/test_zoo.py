"""Every kind of file that turns up in a picture folder is reported or handled: no crash, no hang, no warning."""

import io
import os
import struct
import time
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from sneakerlib import catalog
from sneakerlib.cleaning import audit
from sneakerlib.cleaning.look import look

NOISE = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
MODES = ["1", "L", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "I", "F", "LA", "PA", "I;16"]
GOOD, BAD = "good", "bad"


def encoded(picture, **options):
    buffer = io.BytesIO()
    picture.save(buffer, **options)
    return buffer.getvalue()


def png(width, height, rows=b"\x00" * 1000):
    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def zoo():
    """Name of a file: its bytes, and whether it can be used."""
    picture = Image.fromarray(NOISE)
    jpeg = encoded(picture, format="JPEG")
    files = {
        "plain.jpg": (jpeg, GOOD),
        "no_extension": (jpeg, GOOD),
        "png_really.jpg": (encoded(picture, format="PNG"), GOOD),
    }
    for mode in MODES:
        of_mode = Image.fromarray(NOISE[..., 0].astype(np.uint16) * 257) if mode == "I;16" else None
        of_mode = of_mode or (picture.convert("RGBA").convert(mode) if mode in ("LA", "PA") else picture.convert(mode))
        kind = "PNG" if mode in ("1", "L", "P", "RGB", "RGBA", "LA", "I;16") else "TIFF"
        if mode not in ("HSV", "PA"):  # no format keeps these
            files[f"mode_{mode.replace(';', '')}.{kind.lower()}"] = (encoded(of_mode, format=kind), GOOD)
    for kind in ("GIF", "WEBP", "BMP", "PPM", "TGA", "ICO", "JPEG2000"):
        files[f"kind.{kind.lower()}"] = (encoded(picture, format=kind), GOOD)
    frames = [Image.fromarray(np.roll(NOISE, shift, 1)) for shift in (0, 9, 18)]
    files["moving.gif"] = (encoded(frames[0], format="GIF", save_all=True, append_images=frames[1:]), GOOD)
    files["moving.webp"] = (encoded(frames[0], format="WEBP", save_all=True, append_images=frames[1:]), GOOD)
    files["transparent_palette.png"] = (encoded(picture.quantize(16), format="PNG", transparency=b"\x00\x80" * 8), GOOD)
    files["one_pixel.png"] = (encoded(Image.new("RGB", (1, 1)), format="PNG"), GOOD)
    files["line.png"] = (encoded(Image.new("RGB", (1, 30_000)), format="PNG"), GOOD)
    files["broken_profile.jpg"] = (encoded(picture, format="JPEG", icc_profile=b"not a profile at all"), GOOD)
    files["broken_exif.jpg"] = (encoded(picture, format="JPEG", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff"), GOOD)
    text = PngImagePlugin.PngInfo()
    text.add_text("a", "x" * 2_000_000, zip=True)
    files["long_text.png"] = (encoded(picture, format="PNG", pnginfo=text), None)
    files["truncated.jpg"] = (jpeg[: len(jpeg) // 2], BAD)
    files["truncated.png"] = (encoded(picture, format="PNG")[:-2000], BAD)
    files["header_only.jpg"] = (jpeg[:20], BAD)
    files["flipped.jpg"] = (jpeg[:300] + bytes(255 - byte for byte in jpeg[300:340]) + jpeg[340:], None)
    files["bomb.png"] = (png(60_000, 60_000), BAD)
    files["empty.jpg"] = (b"", BAD)
    files["zeros.jpg"] = (bytes(5000), BAD)
    files["page.jpg"] = (b"<!doctype html><p>404", BAD)
    files["drawing.svg"] = (b'<svg xmlns="http://www.w3.org/2000/svg"/>', BAD)
    files["text.txt"] = (b"shoes", BAD)
    files["film.mp4"] = (b"\x00\x00\x00\x18ftypmp42" + bytes(500), BAD)
    files["archive.jpg"] = (b"PK\x03\x04" + bytes(500), BAD)
    return files


@pytest.fixture(scope="module")
def cage(tmp_path_factory):
    folder = tmp_path_factory.mktemp("zoo")
    (folder / "one/directory.jpg").mkdir(parents=True)
    for name, (content, _) in zoo().items():
        (folder / "one" / name).write_bytes(content)
    (folder / "one/link_to_nowhere.jpg").symlink_to("nowhere.jpg")
    (folder / "one/locked.jpg").write_bytes(b"\xff\xd8 secret")
    (folder / "one/locked.jpg").chmod(0)
    with open(os.fsencode(folder) + b"/one/caf\xe9.jpg", "wb") as opened:  # noqa: PTH123 - no Path can name it
        opened.write(zoo()["plain.jpg"][0])
    return folder


@pytest.fixture(scope="module")
def findings(cage):
    return audit.audit(catalog.read(cage), cache=cage / "cache", progress=False)


@pytest.mark.parametrize("name", [name for name, (_, fate) in zoo().items() if fate])
def test_what_can_be_used_is_used_and_what_cannot_is_reported(findings, name):
    hopeless = findings[findings.issue.isin(["unreadable", "not-a-picture"])]
    assert (f"one/{name}" in set(hopeless.path)) == (zoo()[name][1] == BAD)


@pytest.mark.parametrize("name", ["one/link_to_nowhere.jpg", "one/locked.jpg", "one/caf\\xe9.jpg"])
def test_what_cannot_be_opened_is_reported(findings, name):
    assert set(findings[findings.path.eq(name)].issue) & {"unreadable", "not-a-picture"}


def test_what_is_odd_is_said(findings):
    said = findings.groupby("issue").path.agg(set)
    assert {"one/moving.gif", "one/moving.webp"} <= said["animated"]
    assert said["colour-profile"] == {"one/broken_profile.jpg"}
    assert {"one/one_pixel.png", "one/line.png"} <= said["small"]
    assert "one/line.png" in said["odd-aspect"]
    assert {"one/mode_CMYK.tiff", "one/mode_I16.png"} <= said["mode"]
    assert "one/plain.jpg" in said["exact-duplicate"]  # of one/no_extension


def test_a_whole_split_can_be_made_of_it(cage, tmp_path):
    table = catalog.read(cage)
    table = audit.apply(table, audit.audit(table, cache=cage / "cache", progress=False))
    catalog.save(catalog.split(table), tmp_path / "c.csv")
    assert len(catalog.load(tmp_path / "c.csv")) == len(table)
    assert not any("directory.jpg" in path for path in table.path)


@pytest.mark.parametrize("name", zoo())
def test_none_takes_long_or_warns(cage, name, recwarn, capfd):
    begun = time.monotonic()
    look(cage / "one" / name)
    assert time.monotonic() - begun < 2
    assert not list(recwarn)
    assert capfd.readouterr().err == ""
