import shutil

import numpy as np
import pytest
from PIL import Image

from sneakerlib import catalog, clean, sample
from sneakerlib.drawing import MODELS
from sneakerlib.studio import photograph


def shoe(seed=0):
    return photograph(MODELS[0], np.random.default_rng(seed))


def audit(folder):
    return clean.audit(catalog.read(folder), progress=False)


def test_contradictory_twins_are_quarantined_on_both_sides(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        shoe().save(tmp_path / name / f"{name}.jpg")
    findings = audit(tmp_path)
    assert set(findings.query("issue == 'contradictory-duplicate'").path) == {"one/one.jpg", "two/two.jpg"}
    marked = clean.apply(catalog.read(tmp_path), findings)
    assert set(marked.issue) == {"contradictory-duplicate"}


def test_of_copies_under_one_label_the_first_stays(tmp_path):
    (tmp_path / "one").mkdir()
    shoe().save(tmp_path / "one/a.jpg")
    shutil.copy(tmp_path / "one/a.jpg", tmp_path / "one/b.jpg")
    marked = clean.apply(catalog.read(tmp_path), audit(tmp_path)).set_index("path")
    assert marked.issue.to_dict() == {"one/a.jpg": "", "one/b.jpg": "exact-duplicate"}


def test_twins_of_twins_share_a_group(tmp_path):
    (tmp_path / "one").mkdir()
    for name, scale, quality in (("a", 1.0, 90), ("b", 0.8, 70), ("c", 0.6, 50)):
        picture = shoe()
        picture.resize((int(picture.width * scale), int(picture.height * scale))).save(
            tmp_path / f"one/{name}.jpg", quality=quality
        )
    shoe(1).save(tmp_path / "one/other.jpg")
    groups = clean.apply(catalog.read(tmp_path), audit(tmp_path)).set_index("path").group
    assert groups["one/a.jpg"] == groups["one/b.jpg"] == groups["one/c.jpg"] != groups["one/other.jpg"]


@pytest.mark.parametrize("seed", [5, 6])
def test_the_audit_finds_what_is_planted_and_raises_no_false_alarm(tmp_path, seed, shoes):
    folder = shoes if seed == 5 else tmp_path / "shoes"
    truth = sample.make(folder, 3, 20, seed, progress=False)
    findings = audit(folder)
    planted = {
        "unreadable": ["truncated", "html", "empty"],
        "exact-duplicate": ["exact-duplicate"],
        "contradictory-duplicate": ["contradictory-duplicate"],
        "exif-rotated": ["exif-rotated"],
        "mode": ["grey", "grey-alpha", "palette", "rgba", "cmyk", "16-bit"],
    }
    for issue, defects in planted.items():
        assert set(findings[findings.issue.eq(issue)].path) == set(truth[truth.defect.isin(defects)].path), issue
    pairs = {frozenset(pair) for pair in findings[findings.issue.eq("near-duplicate")][["path", "evidence"]].to_numpy()}
    twins = {frozenset((row.path, row.of)) for row in truth[truth.defect.eq("near-duplicate")].itertuples()}
    assert twins <= pairs


def test_a_damaged_file_names_its_reason_and_stops_nothing(folder):
    (folder / "one/page.jpg").write_text("<html>")
    (folder / "one/empty.jpg").write_text("")
    Image.new("RGB", (9, 9)).save(folder / "two/fine.bmp")
    findings = audit(folder).query("issue == 'unreadable'").set_index("path")
    assert set(findings.index) == {"one/page.jpg", "one/empty.jpg"}
    assert findings.evidence["one/page.jpg"] == "not a picture"


def test_clean_pictures_have_no_findings(fresh):
    assert clean.audit(fresh, progress=False).empty
    assert clean.apply(fresh, clean.audit(fresh, progress=False)).issue.eq("").all()


def test_nothing_is_deleted(shoes, table):
    assert len(table) == len(sample.truth(shoes))
    assert all((shoes / path).is_file() for path in table.path)


def test_the_summary_counts_pictures(shoes):
    summary = clean.summary(audit(shoes)).set_index("issue")
    assert summary.pictures["unreadable"] == 3
    assert summary.decision["unreadable"] == "set aside"
