import io

import numpy as np
import pytest
from conftest import save
from PIL import Image, ImageCms, ImageOps

from sneakerlib import InputError, catalog
from sneakerlib.cleaning import audit
from sneakerlib.cleaning.standardise import mean_pictures, standard, standardise
from sneakerlib.pictures import open_rgb


def test_copies_are_small_upright_rgb_jpegs_and_originals_stay(table, shoes, tmp_path):
    before = {file: file.stat().st_mtime_ns for file in shoes.rglob("*") if file.is_file()}
    made = standardise(table, tmp_path / "s", longest=96, progress=False)
    assert {file: file.stat().st_mtime_ns for file in shoes.rglob("*") if file.is_file()} == before
    assert len(made) == table[table.issue.eq("")].sha256.nunique()
    assert set(made["mode"]) == {"RGB"} and set(made["format"]) == {"JPEG"}
    assert made[["width", "height"]].max(axis=1).max() == 96
    origin = table.set_index("path").loc[made.original]
    for column in ("label", "split", "group"):
        assert made[column].tolist() == origin[column].tolist()
    for row in made.itertuples():
        copy, original = open_rgb(tmp_path / "s" / row.path), open_rgb(shoes / row.original)
        original.thumbnail((96, 96), Image.LANCZOS)
        assert copy.size == original.size
        assert np.abs(np.asarray(copy, float) - np.asarray(original, float)).mean() < 6


def test_a_second_call_writes_nothing_and_the_copies_make_a_catalog(table, tmp_path):
    first = standardise(table, tmp_path / "s", progress=False)
    times = {file: file.stat().st_mtime_ns for file in (tmp_path / "s").rglob("*.jpg")}
    again = standardise(table, tmp_path / "s", progress=False)
    assert again.equals(first)
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "s").rglob("*.jpg")} == times
    catalog.save(first, tmp_path / "c.csv")
    assert catalog.load(tmp_path / "c.csv").equals(first)
    assert not len(audit.audit(first, progress=False).query("issue == 'unreadable'"))


def test_small_pictures_are_not_enlarged(fresh, tmp_path):
    made = standardise(fresh, tmp_path / "s", progress=False)
    assert set(made.width) == {40}


def test_a_colour_profile_is_translated_and_a_broken_one_passed_over(tmp_path):
    """Pillow can make no RGB profile but sRGB; one with red and green exchanged stands in for a camera's own."""
    picture = Image.new("RGB", (64, 64), (200, 60, 30))
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    same = save("red", tmp_path / "same.png")
    picture.save(same, icc_profile=srgb)
    broken = tmp_path / "broken.jpg"
    picture.save(broken, icc_profile=b"broken", quality=95)
    for file in (same, broken):
        assert np.abs(np.asarray(standard(file), int) - (200, 60, 30)).max() <= 4
    swapped = bytearray(srgb)  # exchange the tags that say where red and green lie
    tags = int.from_bytes(swapped[128:132])
    at = {bytes(swapped[132 + 12 * n : 136 + 12 * n]): 132 + 12 * n for n in range(tags)}
    red, green = at[b"rXYZ"], at[b"gXYZ"]
    swapped[red : red + 4], swapped[green : green + 4] = swapped[green : green + 4], swapped[red : red + 4]
    other = tmp_path / "other.png"
    picture.save(other, icc_profile=bytes(swapped))
    expected = ImageCms.profileToProfile(
        picture, ImageCms.ImageCmsProfile(io.BytesIO(bytes(swapped))), ImageCms.createProfile("sRGB")
    )
    shown = np.asarray(standard(other))
    assert np.array_equal(shown, np.asarray(expected))
    assert not np.array_equal(shown[0, 0], (200, 60, 30))


def test_cmyk_and_rotation(tmp_path):
    picture = Image.new("RGB", (80, 40), "white")
    picture.paste((250, 0, 0), (0, 0, 40, 40))
    exif = Image.Exif()
    exif[0x0112] = 3
    picture.convert("CMYK").save(tmp_path / "a.jpg", exif=exif, quality=95)
    turned = np.asarray(standard(tmp_path / "a.jpg"), int)
    assert turned[20, 70, 1] < 60 < 200 < turned[20, 10, 1]
    assert (
        np.abs(turned - np.asarray(ImageOps.exif_transpose(Image.open(tmp_path / "a.jpg")).convert("RGB"), int)).max()
        < 30
    )


@pytest.mark.parametrize("options", [{"longest": 0}, {"quality": 0}, {"quality": 101}])
def test_numbers_out_of_range_are_refused(fresh, tmp_path, options):
    with pytest.raises(InputError, match="are wanted"):
        standardise(fresh, tmp_path / "s", **options)


def test_the_originals_are_never_overwritten(fresh, folder):
    with pytest.raises(InputError, match="holds the originals"):
        standardise(fresh, folder, progress=False)


def test_the_mean_picture_of_a_class_is_the_mean_of_its_pixels(tmp_path):
    for level in (0, 100, 200):
        save((level, 10, 20), tmp_path / "one" / f"{level}.png")
    save((7, 7, 7), tmp_path / "two" / "grey.png")
    means = mean_pictures(catalog.read(tmp_path), size=4)
    assert {label: picture.getpixel((1, 1)) for label, picture in means.items()} == {
        "one": (100, 10, 20),
        "two": (7, 7, 7),
    }
