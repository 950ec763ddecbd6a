import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression

from sneakerlib import InputError, catalog
from sneakerlib.cleaning import audit
from sneakerlib.pictures import open_rgb
from sneakerlib.sample import dataset, loopback
from sneakerlib.sample.drawing import MODELS
from sneakerlib.sample.studio import off_topic, photograph
from sneakerlib.scraping.web import FetchError, Web


def bytes_of(folder: Path) -> dict:
    return {
        file.relative_to(folder).as_posix(): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()
    }


def test_same_seed_same_bytes_and_another_seed_other_bytes(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        dataset.make(tmp_path / name, classes=2, per_class=12, seed=seed, progress=False)
    assert bytes_of(tmp_path / "a") == bytes_of(tmp_path / "b")
    assert set(bytes_of(tmp_path / "a").values()).isdisjoint(
        content for path, content in bytes_of(tmp_path / "c").items() if path.endswith(".jpg") and len(content) > 2000
    )


def test_the_truth_names_every_file_and_its_content(shoes):
    truth = dataset.truth(shoes)
    files = {path: content for path, content in bytes_of(shoes).items() if "/" in path}
    assert set(truth.path) == set(files)
    assert all(hashlib.sha256(files[row.path]).hexdigest() == row.sha256 for row in truth.itertuples())


def test_every_kind_of_defect_is_planted_once_per_file(shoes):
    truth = dataset.truth(shoes)
    assert set(truth.defect) == {"", *dataset.INSTEAD, *dataset.EXTRAS, *dataset.TWINS}
    assert not truth.path.duplicated().any()
    assert truth.defect.eq("wrong-label").sum() == round(dataset.INSTEAD["wrong-label"] / 100 * 60)


def test_planted_defects_are_what_they_are_called(shoes):
    truth = dataset.truth(shoes)
    first = truth[truth.defect.ne("")].drop_duplicates("defect").set_index("defect")
    modes = {"grey": "L", "grey-alpha": "LA", "palette": "P", "rgba": "RGBA", "cmyk": "CMYK", "16-bit": "I;16"}
    for defect, mode in modes.items():
        assert Image.open(shoes / first.path[defect]).mode == mode
    for defect in ("truncated", "html", "empty"):
        with pytest.raises(InputError):
            open_rgb(shoes / first.path[defect])
    assert Image.open(shoes / first.path["exif-rotated"]).getexif()[0x0112] == 6
    sharp, odd = truth[truth.defect.eq("")].path, ["dark", "blurry"]
    light, detail = (
        {path: measure(np.asarray(open_rgb(shoes / path).convert("L"), float)) for path in [*sharp, *first.path[odd]]}
        for measure in (lambda grey: np.percentile(grey, 99), lambda grey: np.abs(np.diff(grey)).mean())
    )
    assert light[first.path["dark"]] < 70 < min(light[path] for path in sharp)
    assert detail[first.path["blurry"]] < 0.75 * np.median([detail[path] for path in sharp])
    assert "." not in first.path["no-extension"]
    assert first.path["upper-case"].endswith(".JPG")
    wrong = truth[truth.defect.eq("wrong-label")]
    assert wrong.label.ne(wrong.true_label).all()


def test_copies_are_copies(shoes):
    truth = dataset.truth(shoes).set_index("path")
    for defect, same_label in (("exact-duplicate", True), ("contradictory-duplicate", False)):
        for row in truth[truth.defect.eq(defect)].itertuples():
            assert row.sha256 == truth.sha256[row.of]
            assert (row.label == truth.label[row.of]) == same_label
    for defect, same_label in (("near-duplicate", True), ("contradictory-near-duplicate", False)):
        for row in truth[truth.defect.eq(defect)].itertuples():
            assert row.sha256 != truth.sha256[row.of]
            assert (row.label == truth.label[row.of]) == same_label
            assert row.true_label == truth.true_label[row.of]


def test_without_defects_all_is_well(tmp_path):
    truth = dataset.make(tmp_path / "clean", classes=2, per_class=12, defects=False, progress=False)
    assert truth.defect.eq("").all()
    assert audit.audit(catalog.read(tmp_path / "clean"), progress=False).query("issue != 'near-duplicate'").empty


def test_the_23_models_differ_in_build():
    builds = [model[1:] for model in MODELS]
    assert len({model.name for model in MODELS}) == 23
    for number, build in enumerate(builds):
        assert all(sum(a != b for a, b in zip(build, other, strict=True)) >= 4 for other in builds[:number])


def test_a_sample_is_drawn_once_and_never_over_something_else(tmp_path):
    dataset.make(tmp_path / "s", classes=2, per_class=12, progress=False)
    before = (tmp_path / "s/truth.csv").stat().st_mtime_ns
    dataset.make(tmp_path / "s", classes=2, per_class=12, progress=False)
    assert (tmp_path / "s/truth.csv").stat().st_mtime_ns == before
    with pytest.raises(InputError, match="holds something else"):
        dataset.make(tmp_path / "s", classes=3, per_class=12, progress=False)


@pytest.mark.parametrize(("classes", "per_class"), [(1, 20), (24, 20), (5, 3)])
def test_impossible_numbers_are_refused(tmp_path, classes, per_class):
    with pytest.raises(InputError, match="2 to 23 classes"):
        dataset.make(tmp_path / "s", classes, per_class)
    assert not (tmp_path / "s").exists()


def test_raw_pixels_do_not_give_the_model_away():
    shots = [
        (kind, photograph(MODELS[kind], np.random.default_rng([0, kind, n]))) for kind in range(5) for n in range(24)
    ]
    x = np.stack([np.asarray(picture.resize((64, 64), Image.BICUBIC)).ravel() / 255 for _, picture in shots])
    y = np.array([kind for kind, _ in shots])
    held_out = np.arange(len(y)) % 4 == 0
    model = LogisticRegression(C=0.01, max_iter=200).fit(x[~held_out], y[~held_out])
    assert model.score(x[held_out], y[held_out]) < 0.6


def test_the_search_service_pages_and_serves_the_files(shoes):
    truth = dataset.truth(shoes)
    with loopback.search_service(shoes) as service:
        label = truth.label.value_counts().index[0]  # more than a page of them
        with Web([service.removeprefix("http://")]) as web:
            pages = [json.loads(web.get(f"{service}/search?q={label}&page={page}")) for page in (1, 2)]
            results = pages[0]["results"] + pages[1]["results"]
            content = web.get(results[0]["url"])
            with pytest.raises(FetchError, match="answered 404"):
                web.get(f"{service}/pictures/99999")
            assert json.loads(web.get(f"{service}/search?q=nothing"))["results"] == []
        assert len(pages[0]["results"]) == loopback.PAGE_SIZE
        assert len(results) == truth.label.eq(label).sum()
        assert content == (shoes / truth[truth.label.eq(label)].path.iloc[0]).read_bytes()


def test_off_topic_pictures_are_pictures_of_something():
    for number in range(40):
        picture = np.asarray(off_topic(np.random.default_rng(number)).convert("L"), float)
        assert min(picture.shape) >= 200
        assert picture.std() > 8


def test_what_was_planted_is_known_by_content_wherever_the_picture_went(shoes, table):
    moved = table.assign(path=[f"elsewhere/{number}.jpg" for number in range(len(table))])
    planted = dataset.planted(shoes / "truth.csv", moved)
    assert planted.index.tolist() == moved.path.tolist()
    wrong = planted.index[planted.defect.eq("wrong-label")]
    labels = moved.set_index("path").label
    assert len(wrong)
    assert (planted.true_label[wrong] != labels[wrong]).all()
    good = planted.index[planted.defect.eq("")]
    assert (planted.true_label[good] == labels[good]).all()


def test_answers_are_judged_by_the_true_labels_and_by_shoes_only(shoes, table):
    planted = dataset.planted(shoes / "truth.csv", table)
    some = table[["path", "label"]].assign(predicted=table.label, correct=True)
    judged = dataset.truly(some, planted)
    assert len(judged) == planted.true_label.ne("").sum()
    assert set(judged.path[~judged.correct]) == set(
        planted.index[planted.true_label.ne("") & planted.true_label.ne(table.set_index("path").label)]
    )
