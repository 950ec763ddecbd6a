import io

import numpy as np
import pytest
from conftest import save
from PIL import Image, ImageCms

from sneakerlib import InputError, catalog
from sneakerlib.pictures import open_rgb, prepare, standard, to_rgb


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "LAB", "I", "F", "I;16"])
def test_every_mode_of_pillow_becomes_rgb(mode):
    assert to_rgb(Image.new(mode, (3, 2))).mode == "RGB"


@pytest.mark.parametrize("mode", ["LA", "RGBA", "PA"])
def test_transparent_becomes_white(mode):
    assert to_rgb(Image.new("RGBA", (2, 2), (0, 0, 0, 0)).convert(mode)).getpixel((0, 0)) == (255, 255, 255)


def test_a_palette_with_transparency_becomes_white_where_it_is_transparent(tmp_path):
    picture = Image.new("P", (2, 1))
    picture.putpalette([10, 20, 30, 200, 0, 0])
    picture.putpixel((1, 0), 1)
    picture.save(tmp_path / "a.png", transparency=0)
    shown = open_rgb(tmp_path / "a.png")
    assert shown.getpixel((0, 0)) == (255, 255, 255)
    assert shown.getpixel((1, 0)) == (200, 0, 0)


def test_sixteen_bits_are_scaled_not_clipped(tmp_path):
    Image.fromarray(np.array([[0, 32896, 65535]], np.uint16)).save(tmp_path / "deep.png")
    assert [open_rgb(tmp_path / "deep.png").getpixel((x, 0))[0] for x in range(3)] == [0, 128, 255]


def test_a_picture_that_lies_on_its_side_is_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    save("red", tmp_path / "a.jpg", size=(40, 20), exif=exif)
    assert open_rgb(tmp_path / "a.jpg").size == (20, 40)


def test_extension_and_name_do_not_matter(tmp_path):
    save("blue", tmp_path / "a.png").rename(tmp_path / "no-extension")
    assert open_rgb(tmp_path / "no-extension").getpixel((0, 0)) == (0, 0, 255)
    assert open_rgb((tmp_path / "no-extension").read_bytes()).size == (40, 30)


def test_a_large_jpeg_decodes_smaller_when_asked_but_never_too_small(tmp_path):
    save("green", tmp_path / "large.jpg", size=(1600, 1200))
    assert 300 <= max(open_rgb(tmp_path / "large.jpg", longest=300).size) < 1600


@pytest.mark.parametrize("content", [b"", b"<!doctype html>", b"\xff\xd8\xff\xe0 broken", b"RIFF\0\0\0\0WEBPVP8 "])
def test_what_is_no_picture_is_refused_in_one_line_that_names_it(tmp_path, content):
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.jpg cannot be read as a picture .*replace it") as error:
        open_rgb(tmp_path / "a.jpg")
    assert "\n" not in str(error.value)


def test_a_truncated_jpeg_is_refused(tmp_path):
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (80, 80, 3), np.uint8)).save(buffer, "JPEG")
    with pytest.raises(InputError, match="cannot be read"):
        open_rgb(buffer.getvalue()[: len(buffer.getvalue()) // 2])


def test_a_decompression_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(InputError, match="exceeds limit"):
        open_rgb(save("red", tmp_path / "bomb.png"))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"there is no file .*nowhere"):
        open_rgb(tmp_path / "nowhere.jpg")


def test_strangers_may_send_pictures_but_nothing_that_takes_long_or_does_more():
    eps, wide, plain = io.BytesIO(), io.BytesIO(), io.BytesIO()
    Image.new("RGB", (8, 8)).save(eps, "EPS")
    Image.new("1", (5001, 5000)).save(wide, "PNG")
    Image.new("L", (64, 64)).save(plain, "JPEG", progressive=True)
    jpeg = plain.getvalue()
    scan = jpeg.index(b"\xff\xda")
    scans = jpeg[:scan] + jpeg[scan:-2] * 70 + jpeg[-2:]
    for content, reason in (
        (eps.getvalue(), "not a picture"),
        (wide.getvalue(), "more than 25 million pixels"),
        (scans, "a JPEG in very many scans"),
    ):
        with pytest.raises(InputError, match=f"^this file cannot be read as a picture .{reason}"):
            standard(content, 32, name="this file", strange=True)
    assert Image.open(io.BytesIO(standard(scans, 32))).size == (32, 32)  # a file of one's own may be odd
    photograph = io.BytesIO()
    Image.new("RGB", (6000, 5000), "red").save(photograph, "JPEG")
    small = Image.open(io.BytesIO(standard(photograph.getvalue(), 32, strange=True)))
    assert small.getpixel((0, 0)) == (254, 0, 0)  # brought down as it is read


def test_an_opened_picture_and_its_file_are_seen_alike():
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8))
    buffer = io.BytesIO()
    noise.save(buffer, "PNG")
    assert standard(noise, 24) == standard(buffer.getvalue(), 24)


def test_the_standard_form_is_small_upright_and_over_white():
    picture = Image.new("RGBA", (800, 400), (0, 0, 0, 0))
    picture.paste((250, 0, 0, 255), (0, 0, 400, 400))
    exif = Image.Exif()
    exif[0x0112] = 3
    file = io.BytesIO()
    picture.save(file, "PNG", exif=exif)
    seen = Image.open(io.BytesIO(standard(file.getvalue())))
    assert (seen.format, seen.mode, seen.size) == ("JPEG", "RGB", (320, 160))
    pixels = np.asarray(seen, int)
    assert pixels[80, 20].min() > 250 and pixels[80, 300, 1] < 5 < 240 < pixels[80, 300, 0]
    small = Image.open(io.BytesIO(standard(Image.new("L", (30, 40)))))
    assert small.size == (30, 40)


def test_a_colour_profile_is_translated_and_a_broken_one_passed_over(tmp_path):
    """Pillow can make no RGB profile but sRGB; one with red and green exchanged stands in for a camera's own."""
    picture = Image.new("RGB", (64, 64), (200, 60, 30))
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for name, profile in {"same": srgb, "broken": b"broken"}.items():
        picture.save(tmp_path / f"{name}.png", icc_profile=profile)
        assert np.abs(np.asarray(open_rgb(tmp_path / f"{name}.png"), int) - (200, 60, 30)).max() <= 4
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
    assert np.array_equal(open_rgb(other), expected)
    assert not np.array_equal(np.asarray(expected)[0, 0], (200, 60, 30))


def test_the_prepared_folder_holds_every_usable_picture_once_and_the_originals_stay(table, shoes, tmp_path):
    before = {file: file.read_bytes() for file in shoes.rglob("*") if file.is_file()}
    out = prepare(table, tmp_path / "prepared", longest=96, progress=False)
    assert {file: file.read_bytes() for file in shoes.rglob("*") if file.is_file()} == before
    used = table[table.issue.eq("")]
    wanted = {f"{row.split}/{row.label}/{row.sha256}.jpg": shoes / row.path for row in used.itertuples()}
    made = {file.relative_to(out).as_posix(): file for file in out.rglob("*.jpg")}
    assert set(made) == set(wanted)
    for name, original in wanted.items():
        copy, expected = open_rgb(made[name]), open_rgb(original)
        expected.thumbnail((96, 96), Image.LANCZOS)
        assert copy.size == expected.size and max(copy.size) <= 96
        assert np.abs(np.asarray(copy, float) - np.asarray(expected, float)).mean() < 6


def test_only_what_changed_is_prepared_again(fresh, tmp_path):
    table = catalog.split(fresh, seed=0)
    out = prepare(table, tmp_path / "p", progress=False)
    times = {file: file.stat().st_mtime_ns for file in out.rglob("*.jpg")}
    changed = table.copy()
    changed.attrs = table.attrs
    train = changed.index[changed.split.eq("train")]
    changed.loc[train[0], ["issue", "split"]] = ["dropped", ""]
    changed.loc[train[1], "label"] = "three"
    prepare(changed, out, progress=False)
    now = {file: file.stat().st_mtime_ns for file in out.rglob("*.jpg")}
    gone, new = set(times) - set(now), set(now) - set(times)
    assert {file.stem for file in gone} == set(table.sha256[train[:2]])
    assert [file.parent.name for file in new] == ["three"]
    assert all(now[file] == times[file] for file in set(now) & set(times))
    assert prepare(table, out, longest=20, progress=False) == out
    assert {max(Image.open(file).size) for file in out.rglob("*.jpg")} == {20}


def test_a_folder_of_somebody_elses_is_not_prepared_into(fresh, tmp_path):
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(InputError, match="holds something else"):
        prepare(catalog.split(fresh, seed=0), tmp_path, progress=False)
    assert (tmp_path / "letter.txt").read_text() == "mine"
