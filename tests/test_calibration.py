"""How sure a model may be: what notebook 05 fits in the open, and the package does for every model."""

import numpy as np
import pandas as pd
import pytest
from conftest import answered, run_cells
from scipy.special import softmax

from sneakerlib import catalog, evaluation
from sneakerlib.cleaning import audit
from sneakerlib.learning import confidence, model_folder
from sneakerlib.learning.features import features
from sneakerlib.sample import dataset

NOTEBOOK = "05_confusion_matrices"
LABELS = ["a", "b", "c"]


def model(pictures=3000, overconfident=1.0, wrong_labels=0.0, seed=0):
    """Answers that are as sure as they are right, or surer by a factor; some labels are wrong."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, (pictures, 3))
    truth = np.array([rng.choice(3, p=row) for row in softmax(logits, axis=1)])
    given = np.where(rng.random(pictures) < wrong_labels, (truth + rng.integers(1, 3, pictures)) % 3, truth)
    return answered(given, softmax(overconfident * logits, axis=1), LABELS)


def fitted(predictions, noise=0.0):
    """The temperature, as a factor to that of these predictions."""
    targets = catalog.class_numbers(predictions.label, LABELS)
    return confidence.fit_temperature(confidence.log_probabilities(predictions, LABELS), targets, noise)


def test_the_temperature_undoes_a_scale():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (4000, 3))
    targets = np.array([rng.choice(3, p=np.exp(row) / np.exp(row).sum()) for row in logits])
    assert confidence.fit_temperature(logits, targets) == pytest.approx(1, abs=0.05)
    assert confidence.fit_temperature(logits * 7, targets) == pytest.approx(7, abs=0.35)


def test_the_temperature_is_the_best_of_a_fine_grid():
    answers = model(500, overconfident=3)
    p, targets = answers[[f"p_{label}" for label in LABELS]].to_numpy(), answers.label.map(LABELS.index)
    grid, surprise = np.exp(np.linspace(-1, 3, 4001)), []
    for t in grid:
        q = softmax(np.log(p) / t, axis=1)
        one_more = -np.log(1 - q.max(axis=1)).mean() / 500  # a picture that is named wrongly
        surprise.append(one_more - np.log(q[np.arange(500), targets]).mean())
    assert fitted(answers) == pytest.approx(grid[np.argmin(surprise)], rel=2e-3)


def test_a_temperature_that_allows_for_wrong_labels_is_that_of_the_right_ones():
    raw = model(20_000, overconfident=3, wrong_labels=0.2)
    assert fitted(raw, 0.2 * 3 / 2) == pytest.approx(3, rel=0.1)  # by lot among three classes, a third comes out right
    assert fitted(raw) > 4


def test_scaling_mends_an_overconfident_model_and_changes_no_answer():
    raw = model(overconfident=4)
    scaled = confidence.temperature_scaled(raw, fitted(raw))
    assert evaluation.expected_calibration_error(raw) > 0.1
    assert evaluation.expected_calibration_error(scaled) < 0.03
    p = scaled[[f"p_{label}" for label in LABELS]].to_numpy()
    assert np.allclose(p.sum(axis=1), 1, atol=1e-12)
    assert np.allclose(p.max(axis=1), scaled.confidence)
    assert (p.argmax(axis=1) == raw.predicted.map(LABELS.index)).all()
    assert fitted(scaled) == pytest.approx(1, abs=1e-3)


def test_a_model_without_an_error_on_few_pictures_is_not_made_certain():
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 3, 20)
    logits = np.eye(3)[targets] + rng.normal(0, 0.1, (20, 3))
    temperature = confidence.fit_temperature(logits, targets)
    assert softmax(logits / temperature, axis=1).max(axis=1).mean() == pytest.approx(21 / 22, abs=0.01)


def test_a_model_whose_every_error_is_a_wrong_label_is_not_made_certain():
    """Were all of them blamed on the labels, the coldest temperature would fit best."""
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 3, 100)
    logits = np.eye(3)[targets] + rng.normal(0, 0.1, (100, 3))
    targets[:10] = (targets[:10] + 1) % 3
    temperature = confidence.fit_temperature(logits, targets, noise=0.15)
    assert 0.95 < softmax(logits / temperature, axis=1).max(axis=1).mean() < 0.998


@pytest.mark.parametrize("wrong_labels", [0.0, 0.05])
def test_above_the_threshold_new_answers_are_right_as_often_as_wanted(wrong_labels):
    threshold = confidence.fit_threshold(model(2000, wrong_labels=wrong_labels), 0.95, wrong_labels * 3 / 2)
    fresh = model(seed=1)  # judged against true labels
    given = fresh[fresh.confidence >= threshold]
    assert 0.93 < given.correct.mean() < 0.99
    assert len(given) > 0.3 * len(fresh)


def test_a_model_that_is_never_right_is_never_sure():
    answers = model(300)
    assert confidence.fit_threshold(answers.assign(correct=False)) == 1.0


# What stands in the open in notebook 05 gives the same numbers.


@pytest.mark.parametrize("noise", [0.0, 0.15])
def test_the_notebooks_temperature_is_that_of_the_package(noise):
    seen = model(300, overconfident=2, wrong_labels=noise * 2 / 3)
    given = {"seen": seen, "labels": LABELS, "noise": noise, "confidence": confidence, "np": np}
    found = run_cells(NOTEBOOK, "05-53", "05-67", "05-68", **given)
    assert np.exp(found["best"].x) == pytest.approx(fitted(seen, noise), rel=1e-3)


def test_the_notebooks_calibration_error_is_that_of_the_package():
    seen = model(300, overconfident=2)

    class Model:
        def predictions(self, pictures, split):
            return {"val": seen}[split]

    given = {"models": {"it": Model()}, "chosen": "it", "pictures": None, "pd": pd, "np": np}
    found = run_cells(NOTEBOOK, "05-53", "05-63", "05-64", **given)
    assert found["ece_seen"] == pytest.approx(evaluation.expected_calibration_error(seen), abs=1e-12)
    pd.testing.assert_frame_equal(found["bins"], evaluation.reliability(seen), check_dtype=False)


def test_a_model_that_is_as_sure_as_right_stays_within_what_the_notebook_says_of_chance_and_a_boaster_does_not():
    honest, boaster = model(400), model(400, overconfident=3)
    for answers, inside in ((honest, True), (boaster, False)):
        given = {"scaled": {"it": answers}, "chosen": "it", "SEED": 0, "np": np, "evaluation": evaluation}
        found = run_cells(NOTEBOOK, "05-49", **given)
        assert 0 < found["low"] < found["high"] < 0.1
        assert (found["low"] < evaluation.expected_calibration_error(answers) < found["high"]) == inside


def test_the_notebooks_auroc_is_how_often_a_known_picture_is_the_surer_one(monkeypatch):
    known, strange = model(300), model(100, overconfident=0.3, seed=1)
    monkeypatch.setattr(model_folder, "load", lambda _: type("M", (), {"predictions": lambda *_: strange})())

    class Run:
        def model(self, name):
            return name

    pictures = pd.DataFrame({"issue": ["", "off-topic"]})
    given = {"pictures": pictures, "sure": known.confidence, "model_folder": model_folder, "run": Run(), "chosen": "it"}
    found = run_cells(NOTEBOOK, "05-53", "05-45", **given)
    surer = known.confidence.to_numpy()[:, None] > strange.confidence.to_numpy()
    assert found["auroc"] == pytest.approx(surer.mean())
    given["pictures"] = pictures.head(1)
    assert run_cells(NOTEBOOK, "05-53", "05-45", **given)["auroc"] is None


@pytest.mark.parametrize("wrong", [0.0, 0.06, 0.15])
def test_the_notebook_finds_the_share_of_labels_that_are_wrong(wrong):
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 600)
    given = np.where(rng.random(600) < wrong, (truth + rng.integers(1, 3, 600)) % 3, truth)
    rows = pd.DataFrame({"label": np.array(LABELS)[given], "split": "train", "group": np.arange(600).astype(str)})
    judged = rows.assign(path=rows.group).set_index("path", drop=False).rename_axis(None)
    vectors = pd.DataFrame(rng.normal(0, 3, (3, 20))[truth] + rng.normal(0, 1, (600, 20)), judged.path)
    given = {"judged": judged, "vectors": vectors, "labels": LABELS, "SEED": 0, "pd": pd}
    found = run_cells(NOTEBOOK, "05-53", "05-52", "05-65", **given)
    assert found["noise"] == pytest.approx((rows.label != np.array(LABELS)[truth]).mean() * 3 / 2, abs=0.03)


@pytest.mark.trial
def test_on_whole_samples_a_model_that_allows_for_wrong_labels_is_as_sure_as_it_is_right(tmp_path):
    """By the true labels, which it has never seen: more so than one that takes every label at its word."""
    plain, allowing = [], []
    for seed in (61, 62, 63):
        dataset.make(tmp_path / f"{seed}", seed=seed, progress=False)
        pictures = audit.prepare(tmp_path / f"{seed}", progress=False)
        planted = dataset.planted(tmp_path / f"{seed}/truth.csv", pictures)
        judged = catalog.usable(pictures).set_index("path", drop=False).rename_axis(None)
        labels = sorted(set(judged.label))
        vectors = pd.DataFrame(features(judged, progress=False), judged.path)
        given = {"judged": judged, "vectors": vectors, "labels": labels, "SEED": 0, "pd": pd}
        found = run_cells(NOTEBOOK, "05-53", "05-52", "05-65", **given)
        wrong = planted.true_label[judged.path[judged.split.ne("test")]].ne(judged.label[judged.split.ne("test")])
        assert wrong.mean() <= found["doubted"].mean() < wrong.mean() * 4 / 3  # a few hard drawings are doubted, too
        train = judged.split.eq("train")
        head = found["head"].fit(vectors[train.to_numpy()], judged.label[train])
        val, test = (
            confidence.as_predictions(rows, labels, head.predict_proba(vectors.loc[rows.path]))
            for rows in (judged[judged.split.eq(split)] for split in ("val", "test"))
        )
        logits = confidence.log_probabilities(val, labels)
        for noise, kept in ((0.0, plain), (found["noise"], allowing)):
            factor = confidence.fit_temperature(logits, catalog.class_numbers(val.label, labels), noise)
            kept.append(dataset.truly(confidence.temperature_scaled(test, factor), planted))
    plain, allowing = (evaluation.expected_calibration_error(pd.concat(parts)) for parts in (plain, allowing))
    assert allowing < plain / 2
    assert allowing < 0.03  # one in eight of the 360 validation labels is wrong; chance alone gives as much
