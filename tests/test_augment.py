import numpy as np
import pytest
from PIL import Image

from sneakerlib import InputError, catalog
from sneakerlib.cleaning import audit, augment
from sneakerlib.learning import pipeline
from sneakerlib.sample.drawing import MODELS
from sneakerlib.sample.studio import photograph


@pytest.fixture(scope="module")
def picture():
    return photograph(MODELS[0], np.random.default_rng(0)).resize((160, 120))


@pytest.mark.parametrize("name", augment.augmenters())
def test_every_augmenter_changes_a_picture_and_keeps_its_form(picture, name):
    augmenter = augment.augmenters()[name]
    copies = [augment.changed(picture, augmenter, seed) for seed in range(5)]
    assert all(copy.size == picture.size and copy.mode == "RGB" for copy in copies)
    assert any(np.abs(np.asarray(copy, int) - np.asarray(picture, int)).mean() > 0.5 for copy in copies)


def test_a_flip_is_a_flip(picture):
    flipped = augment.changed(picture, augment.augmenters()["flip"], 0)
    assert np.array_equal(np.asarray(flipped), np.asarray(picture)[:, ::-1])


@pytest.mark.parametrize("name", augment.RECIPES)
def test_same_seed_same_copy_whatever_was_made_before(picture, name):
    one, other = augment.recipe(name), augment.recipe(name)
    first = [np.asarray(augment.changed(picture, one, seed)) for seed in range(6)]
    again = [np.asarray(augment.changed(picture, other, seed)) for seed in reversed(range(6))][::-1]
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert len({copy.tobytes() for copy in first}) > 3


@pytest.fixture(scope="module")
def filled(table, tmp_path_factory):
    out = tmp_path_factory.mktemp("augment") / "out"
    return augment.write(table, out, per_class=20, progress=False), out


def test_only_training_pictures_are_copied_up_to_the_wanted_count(filled, table):
    made, _ = filled
    assert made[made.split.eq("train")].groupby("label").size().ge(20).all()
    copies = made[made.original.isin(made.path)]
    origin = made.set_index("path").loc[copies.original]
    assert len(copies) == augment.plan(table, 20).copies.sum() > 0
    assert set(copies.split) == set(origin.split) == {"train"}
    assert copies.group.tolist() == origin.group.tolist()
    assert made.groupby("group").split.nunique().eq(1).all()
    others = made[made.split.ne("train")]
    assert len(others) == len(table[table.split.isin(["val", "test"])].drop_duplicates("sha256"))


def test_the_folder_is_a_data_set_that_can_be_loaded_and_packed(filled, tmp_path):
    made, out = filled
    loaded = catalog.load(out / "catalog.csv")
    assert loaded.path.tolist() == made.path.tolist()
    assert pipeline.pack(loaded, 16, tmp_path, progress=False).array.shape == (len(made), 16, 16, 3)


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
    with pytest.raises(InputError, match="there is no recipe 'magic': use standard, workshop"):
        augment.write(table, tmp_path / "a", 20, "magic")
    with pytest.raises(InputError, match="at least 1"):
        augment.write(table, tmp_path / "a", 0)
    with pytest.raises(InputError, match="no training pictures"):
        augment.write(audit.apply(fresh, audit.audit(fresh, progress=False)), tmp_path / "a", 20)
    assert not (tmp_path / "a").exists()


def test_it_copes_with_a_picture_of_one_pixel_in_height():
    line = Image.new("RGB", (64, 1), "red")
    assert augment.changed(line, augment.recipe("workshop"), 0).size == (64, 1)
