import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sneakerlib import InputError, catalog, pictures
from sneakerlib.cleaning import audit, augment
from sneakerlib.sample.drawing import MODELS
from sneakerlib.sample.studio import photograph


@pytest.fixture(scope="module")
def picture():
    return photograph(MODELS[0], np.random.default_rng(0)).resize((160, 120))


@pytest.mark.parametrize("augmenter", augment.CHANGES)
def test_every_augmenter_changes_a_picture_and_keeps_its_form(picture, augmenter):
    copies = [augment.changed(picture, seed, augmenter) for seed in range(5)]
    assert all(copy.size == picture.size and copy.mode == "RGB" for copy in copies)
    assert any(np.abs(np.asarray(copy, int) - np.asarray(picture, int)).mean() > 0.5 for copy in copies)


def test_a_flip_is_a_flip(picture):
    flipped = augment.changed(picture, 0, augment.iaa.Fliplr(1))
    assert np.array_equal(np.asarray(flipped), np.asarray(picture)[:, ::-1])


def test_same_seed_same_copy_whatever_was_made_before(picture):
    first = [np.asarray(augment.changed(picture, seed)) for seed in range(6)]
    again = [np.asarray(augment.changed(picture, seed)) for seed in reversed(range(6))][::-1]
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert len({copy.tobytes() for copy in first}) > 3


def test_notebook_02_builds_the_same_changes(picture):
    book = json.loads((Path(__file__).parent.parent / "notebooks/02_cleaning.ipynb").read_text(encoding="utf-8"))
    (cell,) = ["".join(cell["source"]) for cell in book["cells"] if "iaa.Sequential" in "".join(cell["source"])]
    inline = {"iaa": augment.iaa}
    exec(cell, inline)
    for seed in range(10):
        copies = [augment.changed(picture, seed, way) for way in (inline["changes"], augment.CHANGES)]
        assert copies[0].tobytes() == copies[1].tobytes()


@pytest.fixture(scope="module")
def filled(table, tmp_path_factory):
    out = tmp_path_factory.mktemp("augment") / "out"
    return augment.write(table, out, per_class=20, progress=False), out


def test_only_training_pictures_are_copied_up_to_the_wanted_count(filled, table):
    made, _ = filled
    assert made[made.split.eq("train")].groupby("label").size().ge(20).all()
    copies = made[made.original.isin(made.path)]
    origin = made.set_index("path").loc[copies.original]
    train = table[table.split.eq("train")].label.value_counts()
    assert len(copies) == (20 - train).clip(0).sum() > 0
    assert set(copies.split) == set(origin.split) == {"train"}
    assert copies.group.tolist() == origin.group.tolist()
    assert made.groupby("group").split.nunique().eq(1).all()
    others = made[made.split.ne("train")]
    assert len(others) == len(table[table.split.isin(["val", "test"])].drop_duplicates("sha256"))


def test_the_folder_is_a_data_set_that_can_be_loaded_and_prepared(filled, tmp_path):
    made, out = filled
    loaded = catalog.load(out / "catalog.csv")
    assert loaded.path.tolist() == made.path.tolist()
    prepared = pictures.prepare(loaded, tmp_path / "prepared", progress=False)
    assert len(list(prepared.rglob("*.jpg"))) == len(made)


def test_pictures_come_along_in_standard_form_and_originals_stay(filled, table, shoes):
    made, out = filled
    forms = made[~made.original.isin(made.path)]
    assert set(made["mode"]) == {"RGB"}
    assert set(forms.original) == set(table[table.issue.eq("")].drop_duplicates("sha256").path)
    for row in forms.itertuples():
        assert (out / row.path).read_bytes() == pictures.standard(shoes / row.original)
    assert catalog.read(shoes).sha256.tolist() == table.sha256.tolist()


def test_a_second_call_writes_nothing_and_another_seed_other_copies(filled, table, tmp_path):
    made, out = filled
    times = {file: file.stat().st_mtime_ns for file in out.rglob("*.jpg")}
    again = augment.write(table, out, per_class=20, progress=False)
    assert {file: file.stat().st_mtime_ns for file in out.rglob("*.jpg")} == times
    assert again.sha256.tolist() == made.sha256.tolist()
    elsewhere = augment.write(table, tmp_path / "a", per_class=20, progress=False)
    assert elsewhere.sha256.tolist() == made.sha256.tolist()
    other = augment.write(table, tmp_path / "b", per_class=20, seed=1, progress=False)
    assert set(other.sha256) != set(made.sha256)


def test_what_cannot_be_meant_is_refused(table, fresh, tmp_path):
    with pytest.raises(InputError, match="of 1 or more"):
        augment.write(table, tmp_path / "a", 0)
    with pytest.raises(InputError, match="no training pictures"):
        augment.write(audit.apply(fresh, audit.audit(fresh, progress=False)), tmp_path / "a", 20)
    with pytest.raises(InputError, match="holds the originals"):
        augment.write(catalog.split(fresh), catalog.folder_of(fresh), 20)
    assert not (tmp_path / "a").exists()


def test_it_copes_with_a_picture_of_one_pixel_in_height():
    line = Image.new("RGB", (64, 1), "red")
    assert augment.changed(line, 0).size == (64, 1)
