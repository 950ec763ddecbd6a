import numpy as np
import pandas as pd
import pytest
from conftest import answered
from scipy.special import log_softmax, softmax
from sklearn.metrics import roc_auc_score

from sneakerlib import calibration

LABELS = ["a", "b", "c"]


def model(pictures=3000, overconfident=1.0, wrong_labels=0.0, seed=0):
    """Answers that are as sure as they are right, or surer by a factor; some labels are wrong."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, (pictures, 3))
    truth = np.array([rng.choice(3, p=row) for row in softmax(logits, axis=1)])
    given = np.where(rng.random(pictures) < wrong_labels, (truth + rng.integers(1, 3, pictures)) % 3, truth)
    return answered(given, softmax(overconfident * logits, axis=1), LABELS)


def test_the_temperature_undoes_a_scale():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (4000, 3))
    targets = np.array([rng.choice(3, p=np.exp(row) / np.exp(row).sum()) for row in logits])
    assert calibration.fit_temperature(logits, targets) == pytest.approx(1, abs=0.05)
    assert calibration.fit_temperature(logits * 7, targets) == pytest.approx(7, abs=0.35)


def test_the_temperature_is_the_best_of_a_fine_grid():
    answers = model(500, overconfident=3)
    p, targets = answers[[f"p_{label}" for label in LABELS]].to_numpy(), answers.label.map(dict(zip(LABELS, range(3))))
    grid = np.exp(np.linspace(-1, 3, 4001))
    surprise = [-log_softmax(np.log(p) / t, axis=1)[np.arange(500), targets].mean() for t in grid]
    assert calibration.scaling(answers)[0] == pytest.approx(grid[np.argmin(surprise)], rel=2e-3)


def test_a_temperature_that_allows_for_wrong_labels_is_that_of_the_right_ones():
    raw = model(20_000, overconfident=3, wrong_labels=0.2)
    logits = np.log(raw[[f"p_{label}" for label in LABELS]].to_numpy())
    targets = raw.label.map(LABELS.index).to_numpy()
    share = 0.2 * 3 / 2  # of labels drawn by lot among three classes a third comes out right
    assert calibration.fit_temperature(logits, targets, share) == pytest.approx(3, rel=0.1)
    assert calibration.fit_temperature(logits, targets) > 4
    assert calibration.scaling(raw, share) == (calibration.fit_temperature(logits, targets, share), share)


@pytest.mark.parametrize("wrong", [0.0, 0.06, 0.2])
def test_the_share_of_labels_by_lot_is_found_from_what_unseen_pictures_look_like(wrong):
    raw = model(3000, wrong_labels=wrong)
    said = raw[[f"p_{label}" for label in LABELS]].set_axis(LABELS, axis=1)
    assert calibration.label_noise(raw.label, said) == pytest.approx(wrong * 3 / 2, abs=0.03)


def test_scaling_mends_an_overconfident_model_and_changes_no_answer():
    raw = model(overconfident=4)
    scaled = calibration.tempered(raw, calibration.scaling(raw)[0])
    assert calibration.expected_calibration_error(raw) > 0.1
    assert calibration.expected_calibration_error(scaled) < 0.03
    p = scaled[[f"p_{label}" for label in LABELS]].to_numpy()
    assert np.allclose(p.sum(axis=1), 1, atol=1e-12)
    assert (p.argmax(axis=1) == raw.predicted.map(LABELS.index)).all()
    assert calibration.scaling(scaled)[0] == pytest.approx(1, abs=1e-3)


def test_calibration_error_agrees_with_a_plain_loop():
    answers, expected = model(200, overconfident=2), 0.0
    for low in np.arange(15) / 15:
        inside = answers[(answers.confidence >= low) & (answers.confidence < low + 1 / 15)]
        if len(inside):
            expected += abs(inside.confidence.mean() - inside.correct.mean()) * len(inside) / 200
    assert calibration.expected_calibration_error(answers) == pytest.approx(expected, abs=1e-12)


def test_calibration_error_of_a_certain_and_right_model_is_zero():
    sure = model(100).assign(confidence=1.0, correct=True)
    assert calibration.expected_calibration_error(sure) == 0
    assert calibration.expected_calibration_error(sure.assign(correct=False)) == 1


def test_fewer_answers_are_better_answers():
    table = calibration.risk_coverage(model())
    assert table.threshold.is_monotonic_decreasing
    assert table.coverage.iloc[-1] == 1
    assert table.accuracy.iloc[len(table) // 4] > table.accuracy.iloc[-1] + 0.02
    answers = model()
    row = table.iloc[700]
    given = answers[answers.confidence >= row.threshold]
    assert (row.coverage, row.accuracy) == pytest.approx((len(given) / len(answers), given.correct.mean()))


def test_equally_sure_answers_are_given_together():
    table = calibration.risk_coverage(pd.DataFrame({"confidence": [0.9, 0.9, 0.5], "correct": [False, True, True]}))
    assert table.threshold.tolist() == [0.9, 0.5]
    assert table.accuracy.tolist() == [0.5, pytest.approx(2 / 3)]


@pytest.mark.parametrize("wrong_labels", [0.0, 0.05])
def test_above_the_threshold_new_answers_are_right_as_often_as_wanted(wrong_labels):
    threshold = calibration.sure_above(model(2000, wrong_labels=wrong_labels), 0.95)
    fresh = model(seed=1)  # judged against true labels
    given = fresh[fresh.confidence >= threshold]
    assert 0.93 < given.correct.mean() < 0.99
    assert len(given) > 0.3 * len(fresh)


@pytest.mark.parametrize("wrong_labels", [0.0, 0.1])
def test_labels_are_doubted_only_where_some_are_wrong(wrong_labels):
    answers, truth = model(1000, wrong_labels=wrong_labels), model(1000)
    trust = calibration.label_trust(answers)
    assert 1 - trust.mean() == pytest.approx(wrong_labels * 3 / 2, abs=0.03)  # a label drawn by lot may be right
    wrong = answers.label.ne(truth.label) & truth.correct & truth.confidence.gt(0.95)
    assert (trust[wrong] < 0.5).all()


def test_a_model_that_is_never_right_is_never_sure():
    answers = model(300)
    assert calibration.sure_above(answers.assign(correct=False)) == 1.0


def test_strange_pictures_are_told_by_confidence():
    known, strange = model(300), model(100, overconfident=0.3, seed=1)
    wanted = roc_auc_score([1] * 300 + [0] * 100, [*known.confidence, *strange.confidence])
    assert calibration.told_apart(known, strange) == pytest.approx(wanted)
    assert np.isnan(calibration.told_apart(known, strange.head(0)))


def test_chance_alone_explains_the_error_of_a_calibrated_model_and_not_of_a_boaster():
    rng = np.random.default_rng(3)
    confidence = rng.uniform(0.5, 1, 400)
    table = pd.DataFrame({"confidence": confidence, "correct": rng.random(400) < confidence})
    low, high = calibration.chance_error(table)
    assert 0 < low < calibration.expected_calibration_error(table) < high
    boasted = table.assign(confidence=(1 + table.confidence) / 2)
    assert calibration.expected_calibration_error(boasted) > calibration.chance_error(boasted)[1]
    more = pd.concat([table] * 16, ignore_index=True)
    assert calibration.chance_error(more)[1] < high / 3  # the error of chance shrinks with the root of the pictures


def test_wrong_labels_do_not_make_a_model_timid_and_their_share_is_found():
    raw = model(4000, overconfident=0.5, wrong_labels=0.1)
    factor, share = calibration.scaling(raw)
    assert factor == pytest.approx(0.5, abs=0.05)  # what the true labels would have given
    assert share == pytest.approx(0.15, abs=0.02)  # of three, one drawn by lot in three is right
    mended = calibration.by_labels(calibration.tempered(raw, factor), share)
    assert calibration.expected_calibration_error(mended) < 0.02
    _, p = calibration.probabilities(mended)
    assert np.allclose(p.sum(axis=1), 1, atol=1e-12)
    plain = calibration.fit_temperature(np.log(calibration.probabilities(raw)[1]), raw.label.map(LABELS.index))
    assert plain > 0.6


def test_labels_that_can_be_trusted_have_no_share_of_lots():
    assert [calibration.scaling(model(300, seed=seed))[1] for seed in range(4)] == [0] * 4


def test_a_model_without_an_error_on_few_pictures_is_not_made_certain():
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 3, 20)
    logits = np.eye(3)[targets] + rng.normal(0, 0.1, (20, 3))
    temperature = calibration.fit_temperature(logits, targets)
    assert softmax(logits / temperature, axis=1).max(axis=1).mean() == pytest.approx(21 / 22, abs=0.01)


@pytest.mark.parametrize("scale", [0.02, 1, 30])
def test_the_share_is_found_at_whatever_scale_the_answers_come(scale):
    raw = model(3000, wrong_labels=0.1)
    logits = np.log(calibration.probabilities(raw)[1])
    temperature, share = calibration.fit_noisy(scale * logits, raw.label.map(LABELS.index).to_numpy())
    assert temperature == pytest.approx(scale, rel=0.1)
    assert share == pytest.approx(0.15, abs=0.03)


def test_labels_by_lot_are_allowed_for_picture_by_picture():
    p = np.array([[0.9, 0.1], [0.9, 0.1]])
    mixed = calibration.allowing(p, np.array([[0.0], [0.2]]))
    assert np.allclose(mixed, [[0.9, 0.1], [0.82, 0.18]])
    assert np.allclose(mixed[1:], calibration.allowing(p[1:], 0.2))
