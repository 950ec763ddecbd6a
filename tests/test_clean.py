import shutil
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cleanvision import Imagelab
from conftest import save
from PIL import Image, ImageFilter

from sneakerlib import InputError, catalog
from sneakerlib.cleaning import audit, look
from sneakerlib.sample import dataset
from sneakerlib.sample.drawing import MODELS
from sneakerlib.sample.studio import out_of_focus, photograph


def shoe(seed=0):
    return photograph(MODELS[0], np.random.default_rng(seed))


def audited(folder):
    return audit.audit(catalog.read(folder), progress=False)


def test_contradictory_twins_are_quarantined_on_both_sides(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        shoe().save(tmp_path / name / f"{name}.jpg")
    findings = audited(tmp_path)
    assert set(findings.query("issue == 'contradictory-duplicate'").path) == {"one/one.jpg", "two/two.jpg"}
    marked = audit.apply(catalog.read(tmp_path), findings)
    assert set(marked.issue) == {"contradictory-duplicate"}


def test_of_copies_under_one_label_the_first_stays(tmp_path):
    (tmp_path / "one").mkdir()
    shoe().save(tmp_path / "one/a.jpg")
    shutil.copy(tmp_path / "one/a.jpg", tmp_path / "one/b.jpg")
    marked = audit.apply(catalog.read(tmp_path), audited(tmp_path)).set_index("path")
    assert marked.issue.to_dict() == {"one/a.jpg": "", "one/b.jpg": "exact-duplicate"}


def test_twins_of_twins_share_a_group(tmp_path):
    (tmp_path / "one").mkdir()
    for name, scale, quality in (("a", 1.0, 90), ("b", 0.8, 70), ("c", 0.6, 50)):
        picture = shoe()
        picture.resize((int(picture.width * scale), int(picture.height * scale))).save(
            tmp_path / f"one/{name}.jpg", quality=quality
        )
    shoe(1).save(tmp_path / "one/other.jpg")
    groups = audit.apply(catalog.read(tmp_path), audited(tmp_path)).set_index("path").group
    assert groups["one/a.jpg"] == groups["one/b.jpg"] == groups["one/c.jpg"] != groups["one/other.jpg"]


@pytest.mark.parametrize("seed", [5, 6])
def test_the_audit_finds_what_is_planted_and_raises_no_false_alarm(tmp_path, seed, shoes):
    folder = shoes if seed == 5 else tmp_path / "shoes"
    truth = dataset.make(folder, 3, 20, seed, progress=False)
    findings = audited(folder)
    planted = {
        "unreadable": ["truncated"],
        "not-a-picture": ["html", "empty"],
        "exact-duplicate": ["exact-duplicate"],
        "contradictory-duplicate": ["contradictory-duplicate"],
        "exif-rotated": ["exif-rotated"],
        "mode": ["grey", "grey-alpha", "palette", "rgba", "cmyk", "16-bit"],
    }
    for issue, defects in planted.items():
        assert set(findings[findings.issue.eq(issue)].path) == set(truth[truth.defect.isin(defects)].path), issue
    recall, precision = near_duplicates(folder, findings, truth)
    assert recall >= 0.95
    assert precision >= 0.95


def near_duplicates(folder, findings, truth):
    """Share of the planted pairs that are in one group, and of the pairs in one group that were planted."""
    table = audit.apply(catalog.read(folder), findings)
    good = table[table.issue.eq("")]
    planted = {frozenset((row.path, row.of)) for row in truth[truth.defect.eq("near-duplicate")].itertuples()}
    together = {frozenset(pair) for _, rows in good.groupby("group") for pair in combinations(rows.path, 2)}
    return len(planted & together) / len(planted), len(planted & together) / max(1, len(together))


def test_a_damaged_file_names_its_reason_and_stops_nothing(folder):
    (folder / "one/page.jpg").write_text("<html>")
    (folder / "one/empty.jpg").write_text("")
    Image.new("RGB", (9, 9)).save(folder / "two/fine.bmp")
    (folder / "two/half.png").write_bytes((folder / "two/0.png").read_bytes()[:-500])
    findings = audited(folder).set_index("path")
    broken = findings[findings.issue.isin(["not-a-picture", "unreadable"])]
    assert broken.issue.to_dict() == {
        "one/page.jpg": "not-a-picture",
        "one/empty.jpg": "not-a-picture",
        "two/half.png": "unreadable",
    }
    assert "truncated" in findings.evidence["two/half.png"]


def test_clean_pictures_have_no_findings(fresh):
    assert set(audit.audit(fresh, progress=False).issue) == {"small"}
    assert audit.apply(fresh, audit.audit(fresh, progress=False)).issue.eq("").all()


def test_nothing_is_deleted(shoes, table):
    assert len(table) == len(dataset.truth(shoes))
    assert all((shoes / path).is_file() for path in table.path)


def test_the_summary_counts_pictures(shoes):
    summary = audit.summary(audited(shoes)).set_index("issue")
    assert summary.pictures[["unreadable", "not-a-picture"]].to_list() == [1, 2]
    assert summary.decision["unreadable"] == "set aside"


def test_near_twins_under_two_labels_contradict_each_other(tmp_path):
    for name, quality in (("one", 90), ("two", 60)):
        (tmp_path / name).mkdir()
        shoe().save(tmp_path / name / "shoe.jpg", quality=quality)
    shoe(1).save(tmp_path / "one/other.jpg")
    findings = audited(tmp_path).query("issue == 'contradictory-near-duplicate'")
    assert dict(zip(findings.path, findings.evidence)) == {
        "one/shoe.jpg": "two/shoe.jpg",
        "two/shoe.jpg": "one/shoe.jpg",
    }
    assert findings.score.lt(1.01).all()


def test_light_sharpness_and_shape_are_judged_as_cleanvision_does(tmp_path):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (120, 120, 3), np.uint8)
    made = {
        "dark": noise // 12,
        "bright": 255 - noise // 40,
        "low-information": np.full((120, 120, 3), 90, np.uint8),
        "odd-aspect": noise[:40],
        "fine": noise,
    }
    for name, picture in made.items():
        save(picture, tmp_path / "one" / f"{name}.png")
    for seed in range(20):
        picture = shoe(seed)
        picture.thumbnail((128, 128))
        picture.filter(ImageFilter.GaussianBlur(seed / 2)).save(tmp_path / f"one/{seed}.png")
        out_of_focus(picture, rng).save(tmp_path / f"one/{seed}-out-of-focus.png")
    lab = Imagelab(data_path=str(tmp_path))
    lab.find_issues(n_jobs=1, verbose=False)
    names = {"dark": "dark", "light": "bright", "blurry": "blurry", "low_information": "low-information"}
    names["odd_aspect_ratio"] = "odd-aspect"
    findings = audited(tmp_path)
    for theirs, ours in names.items():
        flagged = {f"one/{Path(path).name}" for path in lab.issues.index[lab.issues[f"is_{theirs}_issue"]]}
        assert set(findings[findings.issue.eq(ours)].path) == flagged
        assert flagged, ours


def test_decisions_by_hand_overrule_the_rules_and_survive_an_audit(tmp_path):
    for name in ("one", "two"):
        (tmp_path / "p" / name).mkdir(parents=True)
        shoe().save(tmp_path / "p" / name / "same.jpg")
        shoe(ord(name[0])).save(tmp_path / "p" / name / f"{name}.jpg")
    table = catalog.read(tmp_path / "p")
    (tmp_path / "d.csv").write_text("path,action,reason\ntwo/same.jpg,keep,I know it\none/one.jpg,quarantine,ugly\n")
    for _ in range(2):
        decisions = audit.read_decisions(tmp_path / "d.csv", table)
        marked = audit.apply(table, audit.audit(table, progress=False), decisions).set_index("path").issue
        assert marked["two/same.jpg"] == ""
        assert marked["one/same.jpg"] == "contradictory-duplicate"
        assert marked["one/one.jpg"] == "by-hand"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,reason\n", "has no column action"),
        ("path,action\nnowhere.jpg,keep\n", "row 2: there is no picture 'nowhere.jpg'"),
        ("path,action\none/0.png,burn\n", "row 2: action 'burn' is unknown: use keep, drop, quarantine"),
    ],
)
def test_a_wrong_decision_is_refused_with_its_row(fresh, tmp_path, text, message):
    (tmp_path / "d.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        audit.read_decisions(tmp_path / "d.csv", fresh)


def test_a_catalog_that_was_never_audited_is_audited_before_it_is_split(tmp_path):
    """As after `collect`: or twins would face each other."""
    for label in ("one", "two"):
        (tmp_path / "p" / label).mkdir(parents=True)
        for seed in range(4):
            picture = shoe(seed + 10 * len(label) + ord(label[0]))
            picture.save(tmp_path / "p" / label / f"{seed}.jpg", quality=90)
            picture.save(tmp_path / "p" / label / f"{seed}twin.jpg", quality=60)
    catalog.save(catalog.read(tmp_path / "p"), tmp_path / "c.csv")
    made = audit.prepare(tmp_path / "c.csv", val=0.25, test=0.25, progress=False)
    assert made.group.nunique() == 8
    assert made.groupby("group").split.nunique().eq(1).all()
    assert audit.prepare(tmp_path / "p", val=0.25, test=0.25, progress=False).equals(made)


def test_rules_can_be_changed(fresh, monkeypatch):
    findings = audit.audit(fresh, progress=False)
    assert set(findings.issue) == {"small"}  # 40 x 30 pixels of noise
    assert set(audit.apply(fresh, findings).issue) == {""}
    monkeypatch.setitem(audit.RULES, "small", "drop")
    assert set(audit.apply(fresh, findings).issue) == {"small"}


def test_a_second_audit_looks_at_nothing_again(fresh, tmp_path, monkeypatch):
    first = audit.audit(fresh, cache=tmp_path, progress=False)
    monkeypatch.setattr("sneakerlib.cleaning.look.look", lambda file: pytest.fail("looked again"))
    pd.testing.assert_frame_equal(audit.audit(fresh, cache=tmp_path, progress=False), first)


def test_a_folder_without_a_single_picture_is_audited_all_the_same(tmp_path):
    for label in ("one", "two"):
        (tmp_path / label).mkdir()
        (tmp_path / label / "1.jpg").write_text(f"<html>{label}</html>")
    assert audited(tmp_path).issue.tolist() == ["not-a-picture"] * 2
    with pytest.raises(InputError, match="no usable pictures to split"):
        audit.prepare(tmp_path, progress=False)


@pytest.mark.parametrize(("said", "turned"), [(0, False), (1, False), (6, True), (8, True), (9, False), (257, False)])
def test_only_an_orientation_that_exists_turns_a_picture(tmp_path, said, turned):
    exif = Image.Exif()
    exif[0x0112] = said
    Image.new("RGB", (90, 70), "teal").save(tmp_path / "a.jpg", exif=exif)
    assert look.look(tmp_path / "a.jpg")["turned"] is turned
