import pandas as pd
import pytest

from sneakerlib import InputError, catalog
from sneakerlib.review import corrections


@pytest.fixture
def rows():
    """Twelve pictures of three classes: two of each for training, one each for validation and test; groups of one."""
    table = catalog.blank([{"path": f"{n:03d}", "label": "abc"[n % 3], "sha256": str(n)} for n in range(12)], "nowhere")
    return table.assign(group=table.path, split=["train"] * 6 + ["val"] * 3 + ["test"] * 3)


def lines(*found):
    return pd.DataFrame([dict(zip(corrections.COLUMNS, line, strict=True)) for line in found])


def test_corrections_are_applied_but_never_to_test_pictures(rows):
    table = lines(
        ("001", "b", "relabel", "c", ""),
        ("002", "c", "drop", "", ""),
        ("003", "a", "keep", "", ""),
        ("009", "a", "relabel", "c", "a test picture"),
        ("010", "b", "drop", "", "another"),
    )
    result = corrections.apply(rows, table).set_index("path")
    assert result.label["001"] == "c"
    assert (result.issue["002"], result.split["002"]) == ("dropped", "")
    others = result.drop(["001", "002"])
    pd.testing.assert_frame_equal(others, rows.set_index("path").drop(["001", "002"]))


def test_what_was_set_aside_comes_back_for_training_or_to_its_twins(rows):
    rows.loc[[0, 1, 2, 3, 4], "issue"] = "contradictory-duplicate"
    rows.loc[[0, 1, 2, 3, 4], "split"] = ""
    rows.loc[4, "issue"] = "unreadable"
    rows.loc[[1, 6], "group"] = "with a validation picture"
    rows.loc[[3, 9], "group"] = "with a test picture"
    table = lines(
        ("000", "a", "keep", "", ""),
        ("001", "b", "relabel", "a", ""),
        ("002", "c", "drop", "", ""),
        ("003", "a", "keep", "", ""),
        ("004", "b", "keep", "", ""),
    )
    result = corrections.apply(rows, table).set_index("path")
    assert result.loc["000", ["issue", "split", "label"]].tolist() == ["", "train", "a"]
    assert result.loc["001", ["issue", "split", "label"]].tolist() == ["", "val", "a"]
    assert result.loc["002", ["issue", "split"]].tolist() == ["contradictory-duplicate", ""]
    assert result.loc["003", ["issue", "split"]].tolist() == ["contradictory-duplicate", ""]  # its twin is in the test
    assert result.loc["004", ["issue", "split"]].tolist() == ["unreadable", ""]
    catalog.validate(result.reset_index(), "the corrected catalog")


def test_a_correction_for_another_label_is_stale(rows):
    with pytest.raises(InputError, match="was reviewed as z, but the catalog says b: review it again"):
        corrections.apply(rows, lines(("001", "z", "drop", "", "")))


def test_decisions_survive_saving(tmp_path):
    table = lines(("001", "NA", "keep", "", "sure"), ("002", "7", "relabel", "08", ""))
    corrections.save(table, tmp_path / "c.csv")
    pd.testing.assert_frame_equal(corrections.load(tmp_path / "c.csv"), table)


def test_a_line_that_is_there_already_wins_over_a_proposal(tmp_path):
    file = tmp_path / "c.csv"
    first = lines(("001", "b", "relabel", "c", ""), ("002", "c", "keep", "", ""))
    pd.testing.assert_frame_equal(corrections.begin(first, file), first)
    again = corrections.begin(lines(("001", "b", "keep", "", ""), ("003", "a", "drop", "", "")), file)
    assert again.set_index("path").action.to_dict() == {"001": "relabel", "002": "keep", "003": "drop"}


def test_each_decision_is_in_the_file_at_once_and_leaves_the_other_lines_alone(tmp_path):
    file = tmp_path / "c.csv"
    corrections.decide(file, "002", "NA", "relabel", "7")  # the file need not be there
    corrections.decide(file, "001", "b", "drop")
    corrections.decide(file, "002", "NA", "keep")
    table = corrections.load(file).set_index("path")
    assert table.loc["002"].tolist() == ["NA", "keep", "", corrections.BY_HAND]
    assert table.loc["001"].tolist() == ["b", "drop", "", corrections.BY_HAND]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,label,action\n", "has no column new_label, reason"),
        (
            "path,label,action,new_label,reason\na,b,delete,,\n",
            "row 2: action 'delete' is unknown: use relabel, drop, keep",
        ),
        ("path,label,action,new_label,reason\na,b,relabel,,\n", "row 2: a is to be relabelled, but new_label is empty"),
        (
            "path,label,action,new_label,reason\na,b,keep,,\na,b,drop,,\n",
            "row 3: a appears twice: keep one of the rows",
        ),
    ],
)
def test_wrong_corrections_are_refused(tmp_path, text, message):
    (tmp_path / "c.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        corrections.load(tmp_path / "c.csv")
