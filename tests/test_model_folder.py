import dataclasses
import json
import shutil

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax

from sneakerlib import InputError, catalog
from sneakerlib.learning import model_folder, recipes


def train(table, out, size=32, **options):
    return recipes.train(table, out, recipes.Options("scratch", size=size, epochs=1, **options), progress=False)


def parts(folder):
    """The files of a model folder, but for its network in a faster form."""
    return {file.name for file in folder.iterdir() if not file.match("exported-*.tflite")}


@pytest.fixture(scope="module")
def trained(table, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "model"
    return folder, train(table, folder, seed=3)


def test_a_model_folder_has_all_its_parts(trained, table):
    folder, history = trained
    assert parts(folder) == set(model_folder.PARTS)
    saved = model_folder.load(folder)
    assert saved.labels == sorted(set(table.label))
    assert (saved.size, saved.info["recipe"], saved.info["seed"]) == (32, "scratch", 3)
    pd.testing.assert_frame_equal(saved.history, history)
    assert saved.catalog.set_index("path").split.equals(table.set_index("path").split)
    assert catalog.folder_of(saved.catalog) == catalog.folder_of(table).__class__(catalog.folder_of(table)).resolve()
    assert "Tells 3 classes apart" in (folder / "card.md").read_text()


def test_probabilities_are_a_softmax_at_the_temperature(trained):
    saved = dataclasses.replace(model_folder.load(trained[0]), temperature=2.0)
    logits = np.array([[1.0, 2.0, 3.0], [800.0, 0.0, -800.0]], np.float32)
    p = saved.probabilities(logits)
    assert np.allclose(p[0], np.exp([0.5, 1, 1.5]) / np.exp([0.5, 1, 1.5]).sum(), atol=1e-12)
    assert np.allclose(p.sum(1), 1, atol=1e-12)


def test_calibrating_changes_how_sure_a_model_is_and_nothing_else(trained, table, tmp_path):
    shutil.copytree(trained[0], tmp_path / "m")
    before = model_folder.load(tmp_path / "m")
    model_folder.calibrate(tmp_path / "m", 2.5 * before.temperature, 0.7, 0.1)
    after = model_folder.load(tmp_path / "m")
    assert after.temperature == 2.5 * before.temperature
    assert (after.info["abstain_below"], after.info["label_noise"]) == (0.7, 0.1)
    for saved in (before, after):
        del saved.info["abstain_below"], saved.info["label_noise"]
    assert after.info == before.info
    raw, cooled = (saved.predictions(table, "val") for saved in (before, after))
    assert raw.predicted.equals(cooled.predicted)
    again = softmax(np.log(raw.filter(regex="^p_")) / 2.5, axis=1)
    assert np.allclose(again, cooled.filter(regex="^p_"), atol=1e-9)


@pytest.mark.parametrize("part", model_folder.PARTS)
def test_a_missing_part_is_named(trained, tmp_path, part):
    shutil.copytree(trained[0], tmp_path / "m")
    (tmp_path / "m" / part).unlink()
    with pytest.raises(InputError, match=f"lacks {part}: train it again or copy the whole folder"):
        model_folder.load(tmp_path / "m")


@pytest.mark.parametrize(
    ("part", "content"),
    [
        ("labels.json", "{"),
        ("labels.json", "{}"),
        ("labels.json", "[1, 2]"),
        ("labels.json", '{"labels": ["a"], "size": 32, "temperature": 1}'),
        ("labels.json", '{"labels": 3, "size": 32, "temperature": 1}'),
        ("history.csv", ""),
        ("history.csv", "loss\n1\n"),
        ("history.csv", "\0\0"),
        ("model.keras", "no zip"),
    ],
)
def test_a_damaged_part_is_named(trained, tmp_path, part, content):
    shutil.copytree(trained[0], tmp_path / "m")
    (tmp_path / "m" / part).write_text(content)
    with pytest.raises(InputError, match=part):
        model_folder.load(tmp_path / "m")


def test_saving_again_replaces_the_folder_whole(trained, table, tmp_path):
    shutil.copytree(trained[0], tmp_path / "m")
    (tmp_path / "m/left-over").touch()
    train(table, tmp_path / "m", 40)
    assert parts(tmp_path / "m") == set(model_folder.PARTS)
    assert json.loads((tmp_path / "m/labels.json").read_text())["size"] == 40
    assert {file.name for file in tmp_path.iterdir()} == {"m"}


def test_the_fingerprint_follows_the_data(trained, table, tmp_path):
    first = model_folder.load(trained[0]).info["data"]
    train(table, tmp_path / "same", seed=1)
    moved = table.assign(split=table.split.replace({"val": "test"}).where(table.index < 20, table.split))
    moved.attrs = table.attrs
    train(moved.assign(group=""), tmp_path / "other")
    assert model_folder.load(tmp_path / "same").info["data"] == first
    assert model_folder.load(tmp_path / "other").info["data"] != first


def test_unknown_recipes_and_single_classes_are_refused(table, tmp_path):
    with pytest.raises(InputError, match="there is no recipe 'magic': use second-order"):
        recipes.train(table, tmp_path / "m", recipes.Options("magic"))
    one = table[table.label.eq(table.label[0])]
    with pytest.raises(InputError, match="needs two of them"):
        train(one, tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_classifying_a_file_gives_what_evaluation_gives(trained, table, shoes):
    saved = model_folder.load(trained[0])
    judged = saved.predictions(table, "test").set_index("path")
    for path in judged.index:
        for picture in (shoes / path, (shoes / path).read_bytes()):
            answer = saved.classify(picture)
            assert next(iter(answer)) == judged.predicted[path]
            assert answer == {label: judged[f"p_{label}"][path] for label in answer}
