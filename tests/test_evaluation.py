import math

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import seaborn as sns
from conftest import answered, run_cells
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    f1_score,
    top_k_accuracy_score,
)

from sneakerlib import InputError, catalog, cli, evaluation, plots
from sneakerlib.learning import model_folder, recipes
from sneakerlib.runs import Run
from sneakerlib.sample import dataset

matplotlib.use("Agg")
NOTEBOOK = "05_confusion_matrices"
LABELS = ["a", "b", "c", "d"]


def middling(pictures=200, seed=0, help=0.5):
    """Answers of a middling model."""
    rng = np.random.default_rng(seed)
    given = rng.integers(0, 4, pictures)
    p = rng.dirichlet(np.ones(4), pictures)
    p[np.arange(pictures), given] += help
    return answered(given, p / p.sum(1, keepdims=True), LABELS)


@pytest.fixture
def predictions():
    return middling()


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


def test_the_order_of_the_classes_does_not_matter(predictions):
    other = predictions[["path", "label", "predicted", "confidence", "correct", "p_c", "p_a", "p_d", "p_b"]]
    assert evaluation.scores(other) == evaluation.scores(predictions)


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


def test_the_wilson_interval_holds_the_share_whatever_is_rounded():
    for total in (1, 40, 61, 80, 1687):
        for correct in (0, 1, total // 3, total):
            low, high = evaluation.wilson_interval(correct, total)
            assert 0 <= low <= correct / total <= high <= 1


def test_two_models_are_compared_on_the_pictures_where_they_differ(predictions):
    better = predictions.sample(frac=1, random_state=0)
    wrong = better.index[~better.correct]
    better.loc[wrong[:12], "correct"] = True
    better.loc[better.index[better.correct][-3:], "correct"] = False
    found = evaluation.mcnemar(better, predictions)
    one, other = found["only_first_correct"], found["only_second_correct"]
    assert one + other == (better.correct.sort_index() != predictions.correct).sum()
    assert found["difference"] == pytest.approx(better.correct.mean() - predictions.correct.mean())
    tail = sum(math.comb(one + other, k) for k in range(min(one, other) + 1)) / 2 ** (one + other)
    assert found["p_value"] == pytest.approx(min(1, 2 * tail))
    assert evaluation.mcnemar(predictions, predictions)["p_value"] == 1
    with pytest.raises(InputError, match="different pictures"):
        evaluation.mcnemar(better, predictions.head(10))


@pytest.mark.parametrize("n", [40, 400])
def test_the_interval_of_a_difference_covers_it_as_often_as_it_says(n):
    rng, covered = np.random.default_rng(0), []
    paths = np.arange(n).astype(str)
    for _ in range(500):
        kind = rng.choice(4, n, p=[0.7, 0.15, 0.05, 0.1])  # both right, only the first, only the second, neither
        first, second = (pd.DataFrame({"path": paths, "correct": np.isin(kind, right)}) for right in ([0, 1], [0, 2]))
        found = evaluation.mcnemar(first, second)
        low, high = found["difference_interval"]
        assert -1 <= low <= found["difference"] <= high <= 1
        covered.append(low <= 0.1 <= high)
    assert 0.93 <= np.mean(covered) <= 0.98


def test_one_that_is_always_right_against_one_that_never_is():
    first = pd.DataFrame({"path": ["1", "2", "3"], "correct": True})
    found = evaluation.mcnemar(first, first.assign(correct=False))
    assert found["difference"] == found["difference_interval"][1] == 1
    assert found["p_value"] == 0.25  # three coins on one side


def test_confusion_agrees_with_scikit_learn(predictions):
    counts = evaluation.confusion(predictions)
    assert np.array_equal(counts, confusion_matrix(predictions.label, predictions.predicted, labels=LABELS))
    assert counts.index.name == "label"


def test_a_class_that_is_never_named_nor_given_has_its_row_and_column(predictions):
    rare = predictions.assign(p_e=0.0)
    assert evaluation.confusion(rare).loc["e"].sum() == evaluation.confusion(rare)["e"].sum() == 0


def test_the_notebooks_confused_pairs_are_counted(predictions):
    pairs = run_cells(NOTEBOOK, "05-15", predictions=predictions)["pairs"]
    counts = evaluation.confusion(predictions)
    assert pairs["count"].sum() == (~predictions.correct).sum()
    assert pairs["count"].is_monotonic_decreasing
    assert all(counts.loc[label, predicted] == pictures for label, predicted, pictures in pairs.to_numpy())


def test_calibration_error_agrees_with_a_plain_loop(predictions):
    expected = 0.0
    for low in np.arange(15) / 15:
        inside = predictions[(predictions.confidence > low) & (predictions.confidence <= low + 1 / 15)]
        if len(inside):
            expected += abs(inside.confidence.mean() - inside.correct.mean()) * len(inside) / 200
    assert evaluation.expected_calibration_error(predictions) == pytest.approx(expected, abs=1e-12)
    assert evaluation.reliability(predictions).pictures.sum() == 200


def test_calibration_error_of_a_certain_and_right_model_is_zero(predictions):
    sure = predictions.assign(confidence=1.0, correct=True)
    assert evaluation.expected_calibration_error(sure) == 0
    assert evaluation.expected_calibration_error(sure.assign(correct=False)) == 1


def test_fewer_answers_are_better_answers(predictions):
    table = evaluation.risk_coverage(predictions)
    assert table.threshold.is_monotonic_decreasing
    assert table.coverage.iloc[-1] == 1
    assert table.accuracy.iloc[len(table) // 4] > table.accuracy.iloc[-1] + 0.02
    row = table.iloc[70]
    given = predictions[predictions.confidence >= row.threshold]
    assert (row.coverage, row.accuracy) == pytest.approx((len(given) / len(predictions), given.correct.mean()))


def test_equally_sure_answers_are_given_together():
    table = evaluation.risk_coverage(pd.DataFrame({"confidence": [0.9, 0.9, 0.5], "correct": [False, True, True]}))
    assert table.threshold.tolist() == [0.9, 0.5]
    assert table.accuracy.tolist() == [0.5, pytest.approx(2 / 3)]


# What stands in the open in notebook 05 gives the same numbers.


def test_the_notebooks_accuracies_and_matrix_are_those_of_the_package(predictions):
    found = run_cells(NOTEBOOK, "05-53", "05-08", answers={"one": predictions}, pd=pd)
    scores = evaluation.scores(predictions)
    assert found["table"].loc["one"].tolist() == pytest.approx([scores["accuracy"], *scores["accuracy_interval"]])
    rare = predictions[predictions.predicted.ne("b")]
    found = run_cells(NOTEBOOK, "05-12", predictions=rare, labels=LABELS, pd=pd)
    pd.testing.assert_frame_equal(found["counts"], evaluation.confusion(rare))


def test_the_notebook_puts_classes_side_by_side_that_are_mixed_up():
    names = list("abcdef")
    counts = pd.DataFrame(10 * np.eye(6, dtype=int), names, names)
    for one, other in ("af", "be", "cd"):
        counts.loc[one, other] = 5
    shares = run_cells(NOTEBOOK, "05-53", "05-56", counts=counts, labels=names, np=np)["shares"]
    order = list(shares)
    assert sorted(order) == names
    assert list(shares.index) == order
    assert all(abs(order.index(one) - order.index(other)) == 1 for one, other in ("af", "be", "cd"))
    assert shares.loc["a", "f"] == pytest.approx(1 / 3)
    two = run_cells(NOTEBOOK, "05-53", "05-56", counts=counts.iloc[:2, :2], labels=names[:2], np=np)["shares"]
    assert sorted(two) == ["a", "b"]


def test_the_notebook_shows_an_error_beside_its_neighbours_in_both_classes_without_twins():
    turn = np.deg2rad([0, 10, 25, 0, 90, 100, 115, 90, 180, 190, 205, 180])
    rows = pd.DataFrame([{"path": f"{label}{n}", "label": label} for label in "abc" for n in range(4)])
    rows["group"] = [f"{row.label}{int(row.path[1]) % 3}" for row in rows.itertuples()]  # the last is the first's twin
    judged = rows.set_index("path", drop=False).rename_axis(None)
    vectors = pd.DataFrame(np.stack([np.cos(turn), np.sin(turn)], axis=1), judged.path)
    predictions = pd.DataFrame({"path": ["a0", "a1", "b0"], "label": list("aab"), "predicted": list("bbb")})
    predictions["correct"] = predictions.label.eq(predictions.predicted)
    found = run_cells(NOTEBOOK, "05-15", "05-59", predictions=predictions, judged=judged, vectors=vectors)["found"]
    assert [path for path, _, _ in found] == ["a0", "a1", "a2", "b0", "b3"]
    assert [wrong for _, _, wrong in found] == [True, False, False, False, False]


@pytest.mark.parametrize("others", [["rival"], []])
def test_the_notebooks_mcnemar_is_that_of_the_package(predictions, others):
    rival = middling(seed=0, help=0.9).sample(frac=1, random_state=0)
    table = pd.DataFrame(index=["mine", *others])
    given = {"predictions": predictions, "answers": {"mine": predictions, "rival": rival}, "chosen": "mine"}
    found = run_cells(NOTEBOOK, "05-53", "05-60", "05-62", table=table, pd=pd, **given)
    wanted = evaluation.mcnemar(predictions, rival if others else predictions)
    assert found["p_value"] == wanted["p_value"]
    assert found["only_chosen"] == wanted["only_first_correct"]
    assert found["only_rival"] == wanted["only_second_correct"]


def test_in_the_notebook_thirty_two_classes_fit_on_a_page_and_keep_their_names(tmp_path):
    names = [f"air_jordan_{n}" for n in range(1, 33)]
    counts = pd.DataFrame(np.diag(np.arange(32)), pd.Index(names, name="label"), names)
    run_cells(NOTEBOOK, "05-55", counts=counts, labels=names, plt=plt, sns=sns, plots=plots, run=Run(tmp_path))
    (ax,) = plt.gcf().axes
    assert [text.get_text() for text in ax.get_yticklabels()] == names
    assert {text.get_rotation() for text in ax.get_yticklabels()} == {0}
    assert [text.get_text() for text in ax.get_xticklabels()] == names
    assert plt.gcf().get_size_inches().max() * 110 >= 1200  # pixels, as `save` draws it
    plt.close("all")
    written = pd.read_csv(tmp_path / "figures/05_confusion_matrices__counts.csv", index_col="label")
    assert np.array_equal(written, counts)


# Models and pictures.


@pytest.fixture(scope="module")
def trained(table, tmp_path_factory):
    folder = tmp_path_factory.mktemp("judged") / "model"
    recipes.train(table, folder, recipes.Options("scratch", size=32, epochs=1), progress=False)
    return model_folder.load(folder)


def test_predictions_keep_their_contract(trained, table):
    answers = trained.predictions(table, "test")
    assert list(answers.columns[:5]) == ["path", "label", "predicted", "confidence", "correct"]
    assert set(answers.path) == set(catalog.usable(table, "test").path)
    assert np.allclose(answers.filter(like="p_").sum(axis=1), 1, atol=1e-9)


def test_written_predictions_can_be_read_back(trained, table, tmp_path):
    answers = trained.predictions(table, "test")
    evaluation.write(answers, tmp_path)
    again = pd.read_csv(tmp_path / "predictions.csv")
    assert str(evaluation.scores(again)) == str(evaluation.scores(answers))
    assert {file.name for file in tmp_path.iterdir()} == {"predictions.csv", "confusion.csv"}


def test_a_model_is_judged_on_the_pictures_it_has_not_seen(trained, table, shoes):
    rows = evaluation.pictures_for(trained, shoes, "test")
    assert set(catalog.usable(rows, "test").path) == set(catalog.usable(table, "test").path)


def test_pictures_of_unknown_classes_are_left_out(trained, table):
    more = table.assign(label=table.label.replace({table.label[0]: "sandal"}))
    assert "sandal" not in set(trained.predictions(more, "test").label)


def test_strange_pictures_are_no_test_but_can_be_judged_as_all(trained, folder):
    for old, new in (("one", trained.labels[0]), ("two", trained.labels[1])):
        (folder / old).rename(folder / new)
    with pytest.raises(InputError, match=r"no picture under .* was in the model's test split: use --split all"):
        evaluation.pictures_for(trained, folder, "test")
    rows = evaluation.pictures_for(trained, folder, "all")
    assert len(trained.predictions(rows, None)) == 16


def test_a_model_is_judged_on_odd_pictures_too_but_not_on_what_cannot_be_read(trained, shoes, tmp_path):
    """Setting aside what is off topic would flatter it."""
    assert cli.main(["evaluate", str(trained.folder), str(shoes), "--split", "all", "--out", str(tmp_path)]) == 0
    judged = set(pd.read_csv(tmp_path / "predictions.csv").path)
    truth = dataset.truth(shoes)
    assert set(truth.path[truth.defect.eq("off-topic")]) <= judged
    assert not judged & set(truth.path[truth.defect.isin(["truncated", "html", "empty"])])
