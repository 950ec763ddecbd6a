from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from cleanlab.filter import find_label_issues
from conftest import run_cells
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sneakerlib import catalog
from sneakerlib.learning import confidence, heads
from sneakerlib.review import corrections, suspects

NOTEBOOK = "06_misclassified_images"


@pytest.fixture
def rows():
    """Three hundred pictures of three classes, one in twelve under a wrong label; `truth` is the right one."""
    rng = np.random.default_rng(0)
    truth = np.repeat(["a", "b", "c"], 100)
    given = truth.copy()
    for at in rng.choice(300, 25, replace=False):
        given[at] = rng.choice([label for label in "abc" if label != truth[at]])
    table = catalog.blank(
        [{"path": f"{n:03d}", "label": label, "sha256": str(n)} for n, label in enumerate(given)], "nowhere"
    )
    split = np.where(np.arange(300) % 5 == 0, "test", "train")
    return table.assign(group=table.path, truth=truth, split=split)


@pytest.fixture
def features(rows):
    """Numbers that tell the true classes apart."""
    rng = np.random.default_rng(1)
    centres = pd.DataFrame(rng.normal(0, 4, (3, 20)), index=["a", "b", "c"])
    return centres.loc[rows.truth].to_numpy() + rng.normal(0, 1, (300, 20))


def notebook(rows, features, *ids):
    """What the named cells of notebook 06 make of some pictures."""
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    names = {"known": rows, "x": features, "y": rows.label, "model": model, "FOLDS": 5, "SEED": 0, "np": np, "pd": pd}
    names |= {"cross_val_predict": cross_val_predict, "StratifiedGroupKFold": StratifiedGroupKFold, "Ridge": Ridge}
    names |= {"find_label_issues": find_label_issues, "StandardScaler": StandardScaler}
    return SimpleNamespace(**run_cells(NOTEBOOK, *ids, **names))


def unseen(rows, features):
    """Probabilities from the notebook's models, out of fold."""
    return notebook(rows, features, "06-57", "06-07").unseen


def left_out(rows, features):
    """The same from the head that was solved without each picture and its twins."""
    labels = sorted(set(rows.label))
    given = catalog.class_numbers(rows.label, labels)
    scores = heads.leave_one_out(features.astype(np.float32), given, rows.group.to_numpy())
    p = softmax(scores / confidence.fit_temperature(scores, given), axis=1)
    return pd.DataFrame(p, rows.index, labels)


def test_the_notebook_and_the_package_find_the_same_suspects(rows, features):
    """Notebook 06 does in the open what `suspects.find` does."""
    made = notebook(rows, features, "06-57", "06-07", "06-58", "06-10")
    found = suspects.find(rows, made.unseen, made.unseen)
    assert len(found) > 20
    pd.testing.assert_frame_equal(found[list(made.doubtful)], made.doubtful)
    assert found.why.eq("label").all()


@pytest.mark.parametrize("judge", [unseen, left_out])
def test_wrong_labels_are_found_and_the_right_ones_proposed(judge, rows, features):
    found = suspects.find(rows, judge(rows, features), unseen(rows, features))
    wrong = set(rows[rows.label.ne(rows.truth)].path)
    hits = found.path.isin(wrong)
    assert hits.mean() > 0.9
    assert hits.sum() > 0.9 * len(wrong)
    assert found[hits].proposed.eq(found[hits].path.map(rows.set_index("path").truth)).all()
    assert found.quality.is_monotonic_increasing
    assert found.agreed.mean() > 0.9


@pytest.mark.parametrize("judge", [unseen, left_out])
def test_a_clean_set_has_hardly_any_suspects(judge, rows, features):
    clean = rows.assign(label=rows.truth)
    p = judge(clean, features)
    assert len(suspects.find(clean, p, p)) <= 3


@pytest.mark.parametrize("judge", [unseen, left_out])
def test_a_picture_is_not_judged_by_a_model_that_knows_its_twin(judge, rows):
    """Features that are only a name for the group: knowing the twin gives the answer, without it there is none."""
    pairs = rows.assign(group=[str(n // 2) for n in range(300)], label=rows.truth)
    names = np.random.default_rng(0).normal(size=(150, 400))[np.arange(300) // 2]
    assert judge(pairs, names).idxmax(axis=1).eq(pairs.label).mean() < 0.5
    alone = pairs.assign(group=[str(n) for n in range(300)])
    assert judge(alone, names).idxmax(axis=1).eq(pairs.label).mean() > 0.8


def test_the_shortcut_of_the_notebook_is_what_leaving_out_for_real_says(rows, features):
    made = notebook(rows, features, "06-57", "06-07", "06-58", "06-62", "06-64")  # its check compares one picture
    for at in (7, 150, 299):
        others = np.arange(300) != at
        alone = Ridge(made.penalty, fit_intercept=False).fit(made.z[others], made.targets[others])
        np.testing.assert_allclose(alone.predict(made.z[at : at + 1])[0], made.left_out[at], atol=1e-9)


def test_too_few_pictures_are_named(rows, features):
    few = rows.iloc[[0, 1, 2, *range(100, 300)]]
    with pytest.raises(AssertionError, match="a has too few pictures: add some, or lower FOLDS"):
        unseen(few.assign(label=few.truth), features[few.index])


def test_only_confident_proposals_are_filled_in(rows, features):
    p = unseen(rows, features)
    found = suspects.find(rows, p, p)
    found.loc[0, "confidence"] = 0.3
    found.loc[1, "agreed"] = False
    proposed = suspects.propose(found, above=0.34)
    assert list(proposed) == corrections.COLUMNS
    assert proposed.action[:2].tolist() == ["keep", "keep"]
    assert proposed.new_label[:2].tolist() == ["", ""]
    assert proposed.action[2:].eq("relabel").all()
    assert proposed.new_label[2:].eq(found.proposed[2:]).all()
    assert suspects.propose(found, above=1.1).action.eq("keep").all()


def aside(rows):
    """The same, some of them set aside by the audit: a pair of twins under two labels, and something else."""
    table = rows.copy()
    table.loc[[1, 2], ["issue", "split", "group"]] = ["contradictory-duplicate", "", "pair"]
    table.loc[1, ["label", "truth"]], table.loc[2, ["label", "truth"]] = ["a", "a"], ["b", "a"]
    table.loc[3, ["issue", "split"]] = ["off-topic", ""]
    table.loc[4, ["issue", "split"]] = ["unreadable", ""]
    return table


def test_what_a_person_may_bring_back_joins_the_review_but_never_the_test(rows):
    found = suspects.reviewable(aside(rows))
    assert set(found.split) == {"train", ""}
    assert found.path[found.issue.ne("")].tolist() == ["001", "002", "003"]


def test_twins_under_two_labels_and_off_topic_pictures_close_the_list(rows, features):
    table = suspects.reviewable(aside(rows).assign(split=aside(rows).split.replace("test", "train")))
    model = LogisticRegression(max_iter=1000).fit(features, rows.truth)
    p = pd.DataFrame(model.predict_proba(features[table.index]), table.index, ["a", "b", "c"])
    found = suspects.find(table, p, p)
    last = found.tail(3)
    assert set(last.path) == {"001", "002", "003"}
    assert found.why[:-3].eq("label").all()
    assert found.quality[:-3].is_monotonic_increasing
    assert catalog.folder_of(found) == catalog.folder_of(rows)
    proposed = suspects.propose(last.reset_index(drop=True), above=0.5).set_index("path")
    assert proposed.action["001"] == "keep"  # the twin that carries the proposed label comes back
    assert (proposed.action["002"], proposed.action["003"]) == ("drop", "drop")
    assert proposed.reason["001"].startswith("contradictory-duplicate: a ")


def test_no_suspects_are_no_trouble(rows, features):
    clean = rows.assign(label=rows.truth)
    p = pd.DataFrame(np.eye(3)[catalog.class_numbers(clean.truth, list("abc"))], clean.index, list("abc"))
    found = suspects.find(clean, 0.9 * p + 0.03, p)
    assert found.empty
    assert suspects.propose(found).empty
