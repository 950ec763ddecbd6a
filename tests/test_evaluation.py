import math

import numpy as np
import pandas as pd
import pytest
from conftest import answered
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, precision_score, top_k_accuracy_score

from sneakerlib import InputError, catalog, evaluation
from sneakerlib.learning import model_folder, recipes
from sneakerlib.sample import dataset

LABELS = ["a", "b", "c", "d"]


@pytest.fixture
def predictions():
    """Two hundred answers of a middling model."""
    rng = np.random.default_rng(0)
    given = rng.integers(0, 4, 200)
    p = rng.dirichlet(np.ones(4), 200)
    p[np.arange(200), given] += 0.5
    return answered(given, p / p.sum(1, keepdims=True), LABELS)


def test_scores_agree_with_scikit_learn(predictions):
    scores = evaluation.scores(predictions)
    p = predictions[[f"p_{label}" for label in LABELS]].to_numpy()
    assert scores["n"] == 200
    assert scores["accuracy"] == pytest.approx(accuracy_score(predictions.label, predictions.predicted), abs=1e-12)
    assert scores["macro_f1"] == pytest.approx(
        f1_score(predictions.label, predictions.predicted, average="macro"), abs=1e-12
    )
    assert scores["top3_accuracy"] == pytest.approx(
        top_k_accuracy_score(predictions.label, p, k=3, labels=LABELS), abs=1e-12
    )


def test_top_three_of_two_classes_is_certain(predictions):
    two = predictions[predictions.label.isin(["a", "b"])].drop(columns=["p_c", "p_d"])
    assert evaluation.scores(two)["top3_accuracy"] == 1.0


@pytest.mark.parametrize(
    ("correct", "total", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_the_wilson_interval_has_the_published_values(correct, total, low, high):
    # Newcombe (1998), "Two-sided confidence intervals for the single proportion", table I, method 3
    assert evaluation.wilson_interval(correct, total) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(("correct", "total"), [(0, 0), (3, 2), (-1, 2)])
def test_an_impossible_share_is_refused(correct, total):
    with pytest.raises(InputError, match="is no share"):
        evaluation.wilson_interval(correct, total)


def test_the_interval_of_the_macro_f1_is_the_bootstrap_of_scikit_learns_score(predictions):
    low, high = evaluation.macro_f1_interval(predictions)
    rng, again = np.random.default_rng(7), []
    for _ in range(300):
        drawn = predictions.iloc[rng.integers(0, 200, 200)]
        again.append(f1_score(drawn.label, drawn.predicted, average="macro"))
    assert (low, high) == pytest.approx(np.quantile(again, [0.025, 0.975]), abs=0.02)
    assert low < evaluation.scores(predictions)["macro_f1"] < high


def test_two_models_are_compared_on_the_pictures_where_they_differ(predictions):
    better = predictions.sample(frac=1, random_state=0)
    wrong = better.index[~better.correct]
    better.loc[wrong[:12], "correct"] = True
    better.loc[better.index[better.correct][-3:], "correct"] = False
    found = evaluation.compare(better, predictions)
    assert found["only_one"] + found["only_other"] == (better.correct.sort_index() != predictions.correct).sum()
    assert found["difference"] == pytest.approx(better.correct.mean() - predictions.correct.mean())
    fewer, both = sorted([found["only_one"], found["only_other"]])[0], found["only_one"] + found["only_other"]
    assert found["p"] == pytest.approx(min(1, 2 * sum(math.comb(both, k) for k in range(fewer + 1)) / 2**both))
    assert evaluation.compare(predictions, predictions)["p"] == 1
    with pytest.raises(InputError, match="different pictures"):
        evaluation.compare(better, predictions.head(10))


@pytest.mark.parametrize("n", [40, 400])
def test_the_interval_of_a_difference_covers_it_as_often_as_it_says(n):
    rng, shares, covered = np.random.default_rng(0), [0.7, 0.15, 0.05, 0.1], []
    for _ in range(1000):
        both, only_one, only_other, _ = rng.multinomial(n, shares)
        low, high = evaluation._paired_interval(both, only_one, only_other, n)
        covered.append(low <= 0.1 <= high)
    assert 0.93 <= np.mean(covered) <= 0.98


def test_classes_that_are_mixed_up_stand_side_by_side():
    names = list("abcdef")
    counts = pd.DataFrame(10 * np.eye(6, dtype=int), names, names)
    for one, other in ("af", "be", "cd"):
        counts.loc[one, other] = 5
    order = evaluation.similar_order(counts)
    assert sorted(order) == names
    assert all(abs(order.index(one) - order.index(other)) == 1 for one, other in ("af", "be", "cd"))
    assert evaluation.similar_order(counts.iloc[:2, :2]) == ["a", "b"]


def test_confusion_and_class_scores_agree_with_scikit_learn(predictions):
    counts = evaluation.confusion(predictions)
    assert np.array_equal(counts, confusion_matrix(predictions.label, predictions.predicted, labels=LABELS))
    assert counts.index.name == "label"
    table = evaluation.per_class(predictions)
    expected = precision_score(predictions.label, predictions.predicted, labels=LABELS, average=None)
    assert table.loc[LABELS, "precision"].tolist() == pytest.approx(expected.tolist(), abs=1e-12)
    assert table.f1.is_monotonic_increasing


def test_confused_pairs_are_counted(predictions):
    pairs = evaluation.confused_pairs(predictions)
    counts = evaluation.confusion(predictions)
    assert pairs.pictures.sum() == (~predictions.correct).sum()
    assert pairs.pictures.is_monotonic_decreasing
    assert all(counts.loc[row.label, row.predicted] == row.pictures for row in pairs.itertuples())


@pytest.fixture(scope="module")
def trained(table, tmp_path_factory):
    folder = tmp_path_factory.mktemp("judged") / "model"
    recipes.train(table, "linear", folder, size=16, progress=False)
    return model_folder.load(folder)


def test_predictions_keep_their_contract(trained, table):
    answers = evaluation.predictions(trained, table, "test")
    assert list(answers.columns[:5]) == ["path", "label", "predicted", "confidence", "correct"]
    assert set(answers.path) == set(catalog.usable(table, "test").path)
    assert np.allclose(answers.filter(like="p_").sum(axis=1), 1, atol=1e-9)


def test_written_predictions_can_be_read_back(trained, table, tmp_path):
    answers = evaluation.predictions(trained, table, "test")
    evaluation.write(answers, tmp_path)
    again = pd.read_csv(tmp_path / "predictions.csv")
    assert evaluation.scores(again)["accuracy"] == evaluation.scores(answers)["accuracy"]
    assert {file.name for file in tmp_path.iterdir()} == {"predictions.csv", "per_class.csv", "confusion.csv"}


def test_a_model_is_judged_on_the_pictures_it_has_not_seen(trained, table, shoes):
    rows = evaluation.pictures_for(trained, shoes, "test")
    assert set(catalog.usable(rows, "test").path) == set(catalog.usable(table, "test").path)


def test_pictures_of_unknown_classes_are_left_out(trained, table):
    more = table.assign(label=table.label.replace({table.label[0]: "sandal"}))
    assert "sandal" not in set(evaluation.predictions(trained, more, "test").label)


def test_strange_pictures_are_no_test_but_can_be_judged_as_all(trained, folder):
    for old, new in (("one", trained.labels[0]), ("two", trained.labels[1])):
        (folder / old).rename(folder / new)
    with pytest.raises(InputError, match=r"no picture under .* was in the model's test split: use --split all"):
        evaluation.pictures_for(trained, folder, "test")
    rows = evaluation.pictures_for(trained, folder, "all")
    assert len(evaluation.predictions(trained, rows, None)) == 16


def test_a_model_is_judged_on_odd_pictures_too(trained, shoes, monkeypatch):
    """Setting aside what is off topic would flatter it."""
    monkeypatch.setattr("sneakerlib.cleaning.off_topic.FEWEST", 20)
    monkeypatch.setattr("sneakerlib.cleaning.off_topic.judge", lambda *_: pytest.fail("set aside"))
    judged = set(evaluation.pictures_for(trained, shoes, "all").query("issue == ''").path)
    truth = dataset.truth(shoes)
    assert set(truth.path[truth.defect.eq("off-topic")]) <= judged
