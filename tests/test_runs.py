import json

import pytest

from sneakerlib import InputError
from sneakerlib.runs import BESIDE, HELD, Run, replacing, sweep


def test_a_file_is_replaced_only_when_it_is_whole(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(RuntimeError), replacing(tmp_path / "a.txt") as beside:
        beside.write_text("half")
        raise RuntimeError
    assert (tmp_path / "a.txt").read_text() == "old"
    with replacing(tmp_path / "a.txt") as beside:
        beside.write_text("new")
    assert (tmp_path / "a.txt").read_text() == "new"
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


def test_a_folder_is_replaced_whole(tmp_path):
    for content in ("old", "new"):
        with replacing(tmp_path / "m") as beside:
            beside.mkdir()
            (beside / content).touch()
    assert [file.name for file in (tmp_path / "m").iterdir()] == ["new"]


def test_what_a_killed_program_left_is_swept_and_what_a_living_one_writes_is_not(tmp_path):
    left = tmp_path / "deep" / f"{BESIDE}x"
    left.mkdir(parents=True)
    (left / HELD).touch()
    (left / "half.txt").touch()
    with replacing(tmp_path / "deep/a.txt") as beside:
        beside.write_text("half")
        sweep(tmp_path)
        assert not left.exists()
        assert beside.read_text() == "half"
    assert [file.name for file in (tmp_path / "deep").iterdir()] == ["a.txt"]


@pytest.mark.parametrize("place", [".", "notebooks", "notebooks/exercises"])
def test_jupyter_papermill_and_command_mean_the_same_folder(tmp_path, monkeypatch, place):
    (tmp_path / place).mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(tmp_path / place)
    assert Run("runs/x").folder == tmp_path / "runs/x"


def test_what_is_missing_names_the_notebook_that_makes_it(tmp_path):
    run = Run(tmp_path / "x")
    with pytest.raises(InputError, match=r"catalog\.csv is missing .* run notebook 02 first"):
        run.needs(run.catalog, "02")


def test_results_can_be_read_back(tmp_path):
    run = Run(tmp_path / "x")
    run.save_result("05_topic", "a headline", number=1.5)
    assert json.loads((run.folder / "results/05_topic.json").read_text()) == {"headline": "a headline", "number": 1.5}


def test_own_pictures_must_be_there(tmp_path):
    with pytest.raises(InputError, match=r"there is no folder .*nowhere"):
        Run(tmp_path / "x", tmp_path / "nowhere")
    assert not (tmp_path / "x").exists()
