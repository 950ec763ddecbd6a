import numpy as np
import pandas as pd
import pytest

from sneakerlib import InputError, catalog
from sneakerlib.review import corrections, review


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


def test_wrong_labels_are_found_and_the_right_ones_proposed(rows, features):
    suspects = review.suspects(rows, review.out_of_fold(features, rows))
    wrong = set(rows[rows.label.ne(rows.truth)].path)
    hits = suspects.path.isin(wrong)
    assert hits.mean() > 0.9
    assert hits.sum() > 0.9 * len(wrong)
    assert suspects[hits].proposed.eq(suspects[hits].path.map(rows.set_index("path").truth)).all()
    assert suspects.quality.is_monotonic_increasing


def test_a_clean_set_has_hardly_any_suspects(rows, features):
    clean = rows.assign(label=rows.truth)
    assert len(review.suspects(clean, review.out_of_fold(features, clean))) <= 3


def test_a_picture_is_not_judged_by_a_model_that_knows_its_twin(rows):
    """Features that are only a name for the group: knowing the twin gives the answer, without it there is none."""
    pairs = rows.assign(group=[str(n // 2) for n in range(300)], label=rows.truth)
    names = np.random.default_rng(0).normal(size=(150, 200))[np.arange(300) // 2]
    judged = review.out_of_fold(names, pairs)
    assert judged.idxmax(axis=1).eq(pairs.label).mean() < 0.5


def test_leaving_one_out_finds_wrong_labels_and_proposes_the_right_ones(rows, features):
    probabilities = review.leave_one_out(features.astype(np.float32), rows)
    suspects = review.suspects(rows, probabilities, review.out_of_fold(features, rows))
    hits = suspects.path.isin(set(rows[rows.label.ne(rows.truth)].path))
    assert hits.mean() > 0.9
    assert hits.sum() > 22
    assert suspects[hits].proposed.eq(suspects[hits].path.map(rows.set_index("path").truth)).all()
    assert suspects.agreed.mean() > 0.9
    assert np.allclose(probabilities.sum(axis=1), 1)


def test_leaving_one_out_leaves_twins_out_as_well():
    """Features that are only a name for the group, as below."""
    table = pd.DataFrame({"label": np.repeat(["a", "b"], 50), "group": [str(n // 2) for n in range(100)], "issue": ""})
    names = np.random.default_rng(0).normal(size=(50, 400)).astype(np.float32)[np.arange(100) // 2]
    judged = review.leave_one_out(names, table)
    alone = review.leave_one_out(names, table.assign(group=[str(n) for n in range(100)]))
    assert judged.idxmax(axis=1).eq(table.label).mean() < 0.65
    assert alone.idxmax(axis=1).eq(table.label).mean() > 0.95


def test_probabilities_belong_to_their_rows(rows, features):
    judged = review.out_of_fold(features, rows)
    assert list(judged.columns) == ["a", "b", "c"]
    assert judged.index.equals(rows.index)
    assert np.allclose(judged.sum(axis=1), 1)


def test_too_few_pictures_are_named(rows, features):
    few = rows.iloc[[0, 1, 2, *range(100, 300)]]
    with pytest.raises(InputError, match="folds need as many: add pictures"):
        review.out_of_fold(features[few.index], few.assign(label=few.truth))


def test_only_confident_proposals_are_filled_in(rows, features):
    suspects = review.suspects(rows, review.out_of_fold(features, rows))
    suspects.loc[0, "confidence"] = 0.4
    suspects.loc[1, "agreed"] = False
    proposed = review.propose(suspects, above=0.5)
    assert list(proposed) == corrections.COLUMNS
    assert proposed.action[:2].tolist() == ["keep", "keep"]
    assert proposed.new_label[:2].tolist() == ["", ""]
    assert proposed.action[2:].eq("relabel").all()


def aside(rows):
    """The same, some of them set aside by the audit: a pair of twins under two labels, and something else."""
    table = rows.copy()
    table.loc[[1, 2], ["issue", "split", "group"]] = ["contradictory-duplicate", "", "pair"]
    table.loc[1, ["label", "truth"]], table.loc[2, ["label", "truth"]] = ["a", "a"], ["b", "a"]
    table.loc[3, ["issue", "split"]] = ["off-topic", ""]
    table.loc[4, ["issue", "split"]] = ["unreadable", ""]
    return table


def test_what_a_person_may_bring_back_joins_the_review_but_never_the_test(rows):
    found = review.reviewable(aside(rows))
    assert set(found.split) == {"train", ""}
    assert found.path[found.issue.ne("")].tolist() == ["001", "002", "003"]


@pytest.mark.parametrize("judge", [review.out_of_fold, review.leave_one_out])
def test_nothing_is_learned_from_pictures_that_were_set_aside(rows, features, judge):
    table = aside(rows)
    other = features.copy()
    other[1:5] = features[150:154]  # what was set aside looks like something else: only its own answer may change
    judged, changed = (judge(some.astype(np.float32), table) for some in (features, other))
    untouched = [0, *range(5, 300)]
    np.testing.assert_allclose(judged.iloc[untouched], changed.iloc[untouched], atol=1e-6)
    assert judged.idxmax(axis=1)[[1, 2]].tolist() == ["a", "a"]
    assert changed.idxmax(axis=1)[[1, 2]].tolist() == ["b", "b"]


def test_twins_under_two_labels_and_off_topic_pictures_close_the_list(rows, features):
    table = review.reviewable(aside(rows).assign(split=aside(rows).split.replace("test", "train")))
    places = table.index.to_numpy()
    suspects = review.suspects(table, review.leave_one_out(features[places].astype(np.float32), table))
    last = suspects.tail(3)
    assert set(last.path) == {"001", "002", "003"}
    assert suspects.why[:-3].eq("label").all()
    assert suspects.quality[:-3].is_monotonic_increasing
    proposed = review.propose(last.reset_index(drop=True), above=0.5).set_index("path").action
    assert proposed["001"] == "keep"  # the twin that carries the proposed label comes back
    assert (proposed["002"], proposed["003"]) == ("drop", "drop")


def test_predictions_are_told_in_the_order_of_the_rows(rows):
    some = rows.iloc[[5, 3, 8]]
    predictions = pd.DataFrame({"path": ["003", "005", "008"], "p_a": [0.1, 0.9, 0.5], "p_b": [0.9, 0.1, 0.5]})
    told = review.told(some, predictions)
    assert told.a.tolist() == [0.9, 0.1, 0.5]
    assert told.index.equals(some.index)
