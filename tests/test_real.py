"""The promises made for the real photographs."""

import json

import pytest

from sneakerlib import cli

pytestmark = [pytest.mark.real, pytest.mark.trial]
TEN = ",".join(f"air_jordan_{number}" for number in range(1, 11))


def test_ten_classes_of_frozen_features_reach_eighty_percent(real, tmp_path, capsys):
    assert (
        cli.main(["train", str(real), "--labels", TEN, "--recipe", "frozen", "--out", str(tmp_path / "m"), "--json"])
        == 0
    )
    capsys.readouterr()
    assert cli.main(["evaluate", str(tmp_path / "m"), str(real), "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores["n"] > 400
    assert scores["accuracy"] >= 0.80


def test_every_copy_under_two_labels_is_set_aside(real, tmp_path):
    from sneakerlib import catalog
    from sneakerlib.cleaning import audit

    pictures = catalog.read(real)
    copies = pictures[pictures.duplicated("sha256", keep=False)]
    contradictory = copies.groupby("sha256").label.nunique().gt(1)
    findings = audit.audit(pictures, progress=False)
    found = set(findings.query("issue == 'contradictory-duplicate'").path)
    assert found == set(copies[copies.sha256.map(contradictory)].path)
    assert len(pictures) == 8962
    assert (contradictory.sum(), len(found)) == (49, 105)
    assert findings.query("issue == 'unreadable'").empty


def test_second_moments_are_better_than_plain_features(real, tmp_path, capsys):
    """On validation pictures: the test split stays closed."""
    reached = {}
    for recipe in ("frozen", "second-order"):
        how = ["--labels", TEN, "--recipe", recipe, "--out", str(tmp_path / recipe), "--json"]
        assert cli.main(["train", str(real), *how]) == 0
        reached[recipe] = json.loads(capsys.readouterr().out)["val_accuracy"]
    assert reached["second-order"] >= 0.89
    assert reached["second-order"] >= reached["frozen"] + 0.03
