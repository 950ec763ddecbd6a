from pathlib import Path

import pandas as pd
import pytest

from sneakerlib import InputError
from sneakerlib.sample.drawing import MODELS
from sneakerlib.scraping import searchterms

SHIPPED = Path(__file__).parent.parent / "data/searchterms.csv"


def written(tmp_path, text):
    (tmp_path / "terms.csv").write_text(text, encoding="utf-8")
    return tmp_path / "terms.csv"


def test_the_shipped_terms_tell_the_whole_story():
    table = searchterms.read(SHIPPED)
    assert list(dict.fromkeys(table.label)) == [f"air_jordan_{number}" for number in range(1, 24)]
    assert table.groupby("label").size().min() >= 2  # no search returns everything
    assert len(MODELS) == 23  # so that the sample can stand in for them
    assert table.limit.sum() / 20 < 200  # pages, which Openverse gives a day to those without a key


def test_columns_may_have_an_earlier_projects_names(tmp_path):
    file = written(tmp_path, "search_term,number_imgs,folder_name,train_val\nAir Jordan 1,30,aj1,train\n")
    expected = [("aj1", "Air Jordan 1", 30, "train", "")]
    assert list(searchterms.read(file).itertuples(index=False, name=None)) == expected


def test_what_is_left_out_is_filled_in(tmp_path):
    table = searchterms.read(written(tmp_path, "\ufefflabel, query\nスニーカー, Air Jordan\nb,c\n"))
    assert list(table.limit) == [40, 40]
    assert list(table.label) == ["スニーカー", "b"]
    assert table.attrs["folder"] == str(tmp_path)


@pytest.mark.parametrize(("limit", "expected"), [(None, [30, 40]), (10, [10, 10]), (35, [30, 35]), (100, [30, 100])])
def test_a_limit_given_holds_for_every_row(tmp_path, limit, expected):
    file = written(tmp_path, "label,query,limit\na,x,30\nb,y,\n")
    assert list(searchterms.read(file, limit).limit) == expected


def test_only_some_labels(tmp_path):
    file = written(tmp_path, "label,query\na,x\nb,y\na,z\n")
    assert list(searchterms.read(file, labels=["a"])["query"]) == ["x", "z"]
    with pytest.raises(InputError, match="has no label c: check --labels"):
        searchterms.read(file, labels=["a", "c"])


BAD_LABELS = [
    "..",
    "../up",
    "a/b",
    "a\\b",
    "/etc",
    ".hidden",
    "C:",
    "a\tb",
    "nul",
    "con.txt",
    "a.",
    "x" * 300,
    "a|b",
    "",
]


@pytest.mark.parametrize("label", BAD_LABELS)
def test_a_label_that_could_leave_the_folder_is_refused_with_its_row(label):
    table = pd.DataFrame({"label": ["fine", label], "query": ["q", "q"]})
    with pytest.raises(InputError, match=r"row 3: label .* cannot name a folder"):
        searchterms.check(table)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("label,limit\na,3\n", "has no column query"),
        ("label,query\n", "has no rows"),
        ("label,query\na,\n", "row 2: label a has no query"),
        ("label,query,limit\na,b,many\n", "row 2: limit 'many' is not a number"),
        ("label,query,limit\na,b,0\n", "row 2: limit '0' is not a number of pictures"),
        ("label,query,limit\na,b,-3\n", "row 2: limit '-3'"),
        ("label,query,split\na,b,dev\n", "row 2: split 'dev' is unknown: use train, val, test"),
        ("", "is empty: give a table"),
        ('label,query\n"a,b\n', "is no table"),
    ],
)
def test_a_wrong_table_is_refused_with_the_row_and_the_cure(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        searchterms.read(written(tmp_path, text))


def test_a_file_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe\x00\x9f" * 10)
    with pytest.raises(InputError, match="is not written in UTF-8"):
        searchterms.read(tmp_path / "a.csv")
