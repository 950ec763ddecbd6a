import shutil

import numpy as np
import pandas as pd
import pytest
from conftest import save
from hypothesis import given, settings
from hypothesis import strategies as st

from sneakerlib import InputError, catalog


def many(counts: dict, seed=0) -> pd.DataFrame:
    """A catalog without files: `counts` pictures per label, every fifth the twin of its neighbour."""
    rows = [
        {"path": f"{label}/{n}", "label": label, "sha256": f"{label}{n:05d}"}
        for label, count in counts.items()
        for n in range(count)
    ]
    table = catalog.blank(rows, "nowhere")
    return table.assign(
        group=table.label + (table.index // 5 * 5).astype(str).where(table.index % 5 < 2, table.index.astype(str))
    )


def test_reading_a_folder(folder):
    save("red", folder / "one/.hidden.jpg")
    save("red", folder / "loose.jpg")
    table = catalog.read(folder)
    assert list(table.columns) == catalog.COLUMNS
    assert table.label.value_counts().to_dict() == {"one": 8, "two": 8}
    assert table.path.is_monotonic_increasing
    assert table.iloc[0][["width", "height", "mode", "format"]].tolist() == [40, 30, "RGB", "PNG"]


def test_only_some_labels(folder):
    assert set(catalog.read(folder, ["two"]).label) == {"two"}
    with pytest.raises(InputError, match=r"no sub-folder three under .*: there are one, two"):
        catalog.read(folder, ["two", "three"])


def test_an_empty_folder_says_what_was_expected(tmp_path):
    with pytest.raises(
        InputError, match=r"no pictures under .*: expected one sub-folder per class, for example .*\*\.jpg"
    ):
        catalog.read(tmp_path)


def test_an_unreadable_file_is_a_row_of_width_zero(folder):
    (folder / "one/broken.jpg").write_text("no picture")
    table = catalog.read(folder).set_index("path")
    assert table.width["one/broken.jpg"] == 0


def test_saving_and_loading_gives_the_same_table(fresh, tmp_path):
    fresh["label"] = fresh.label.replace({"one": "NA", "two": "007"})  # pandas would read them as missing and as 7
    fresh["note"] = "kept"
    catalog.save(fresh, tmp_path / "catalog.csv")
    again = catalog.load(tmp_path / "catalog.csv")
    pd.testing.assert_frame_equal(again, fresh)
    assert (catalog.folder_of(again) / again.path[0]).is_file()


def test_catalog_and_pictures_can_be_moved_together(fresh, tmp_path):
    catalog.save(fresh, tmp_path / "catalog.csv")
    shutil.copytree(tmp_path, tmp_path.with_name("elsewhere"))
    moved = catalog.load(tmp_path.with_name("elsewhere") / "catalog.csv")
    assert catalog.folder_of(moved) == tmp_path.with_name("elsewhere") / "pictures"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="split"), "has no column split"),
        (lambda t: t.assign(path="one/0.png"), "row 3: path 'one/0.png' appears twice"),
        (lambda t: t.assign(path=["../x", *t.path[1:]]), "row 2: path '../x' leads out"),
        (lambda t: t.assign(label=["", *t.label[1:]]), "row 2: 'one/0.png' has no label: name its class"),
        (lambda t: t.assign(split="exam"), "split 'exam' is unknown: use train, val, test"),
        (lambda t: t.assign(split="test", issue="unreadable"), "is set aside .unreadable. and has a split"),
        (lambda t: t.assign(group="g", split=["train"] * 8 + ["test"] * 8), "group g of .* sits in two splits"),
    ],
)
def test_a_catalog_that_breaks_its_contract_is_refused(fresh, tmp_path, change, message):
    change(fresh).to_csv(tmp_path / "bad.csv", index=False)
    with pytest.raises(InputError, match=message) as error:
        catalog.load(tmp_path / "bad.csv")
    assert "bad.csv" in str(error.value)


def test_what_is_no_catalog_is_refused(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe\x00picture")
    with pytest.raises(InputError, match=r"a\.csv"):
        catalog.load(tmp_path / "a.csv")
    with pytest.raises(InputError, match="there is no catalog"):
        catalog.load(tmp_path / "none.csv")


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_split_keeps_groups_whole_labels_everywhere_and_the_fractions(seed):
    table = catalog.split(many({"a": 100, "b": 40, "c": 23}), val=0.2, test=0.1, seed=seed)
    assert table.groupby("group").split.nunique().max() == 1
    shares = pd.crosstab(table.label, table.split)
    assert (shares > 0).all(axis=None)
    sizes = table.label.value_counts()
    largest = table.groupby("group").size().max()
    for split, share in (("val", 0.2), ("test", 0.1), ("train", 0.7)):
        assert ((shares[split] - share * sizes).abs() <= largest).all()


def test_the_split_does_not_depend_on_the_order_of_rows_but_on_the_seed():
    table = many({"a": 60, "b": 60})
    shuffled = table.sample(frac=1, random_state=1)
    one, two = (catalog.split(t).set_index("path").split for t in (table, shuffled))
    assert one.equals(two.loc[one.index])
    assert not one.equals(catalog.split(table, seed=1).set_index("path").split)


def test_a_picture_keeps_its_split_when_others_are_added():
    large = many({"a": 100, "b": 100})
    first = catalog.split(large[large.index % 2 == 0])
    later = catalog.split(large.assign(split=first.split.reindex(large.index).fillna("")))
    assert later.split[first.index].equals(first.split)
    assert later.split.ne("").all()


def test_a_new_twin_joins_its_group():
    table = many({"a": 40, "b": 40})
    placed = catalog.split(table)
    at = placed.index[placed.split.eq("test")][0]
    twin = placed.loc[[at]].assign(path="a/twin", split="")
    again = catalog.split(pd.concat([placed, twin], ignore_index=True))
    assert again.split.iloc[-1] == "test"


def test_copies_stay_together_even_before_the_audit():
    table = many({"a": 40, "b": 40}).assign(group="")
    table["sha256"] = [f"{label}{index // 4}" for index, label in zip(table.index, table.label, strict=True)]
    assert catalog.split(table).groupby("sha256").split.nunique().max() == 1


def test_pictures_with_an_issue_get_no_split():
    table = many({"a": 40, "b": 40})
    table.loc[:4, "issue"] = "unreadable"
    assert set(catalog.split(table).split[:5]) == {""}


def test_a_class_that_is_too_small_is_named_with_a_cure():
    with pytest.raises(
        InputError, match=r"class tiny has 2 usable picture groups, too few for test . val . train: add pictures"
    ):
        catalog.split(many({"a": 40, "tiny": 2}).assign(group=""))


@pytest.mark.parametrize(("val", "test"), [(0.5, 0.5), (-0.1, 0.2), (0.9, 0.3)])
def test_impossible_fractions_are_refused(val, test):
    with pytest.raises(InputError, match=r"add up to less than 1|is out of range"):
        catalog.split(many({"a": 40}), val=val, test=test)


def test_fractions_of_zero_leave_a_split_empty():
    assert set(catalog.split(many({"a": 40}), val=0, test=0.2).split) == {"train", "test"}


def test_splits_are_carried_over_by_content():
    table = catalog.split(many({"a": 40, "b": 40}))
    renamed = table.assign(path=[f"{path}-renamed" for path in table.path], split="")
    assert catalog.keep_splits(renamed, table).split.to_numpy().tolist() == table.split.tolist()
    assert np.all(catalog.keep_splits(renamed.assign(sha256="new"), table).split == "")


def test_when_new_pictures_join_two_groups_nothing_leaves_the_test():
    table = many({"a": 40, "b": 40})
    placed = catalog.split(table)
    train, test = (placed.index[placed.split.eq(name) & placed.label.eq("a")][0] for name in ("train", "test"))
    joined = placed.assign(group=placed.group.replace(placed.group[train], placed.group[test]))
    again = catalog.split(joined)
    assert set(again.split[joined.group.eq(placed.group[test])]) == {"test"}


@st.composite
def grouped(draw):
    """A catalog of up to four labels with groups of one to five twins, and the fractions to split it by."""
    rows = []
    for label in "abcd"[: draw(st.integers(1, 4))]:
        for number, size in enumerate(draw(st.lists(st.integers(1, 5), min_size=3, max_size=25))):
            rows += [(label, f"{label}{number}", f"{label}{number}-{twin}") for twin in range(size)]
    table = [{"path": f"{label}/{name}", "label": label, "sha256": name, "group": group} for label, group, name in rows]
    fractions = st.sampled_from([0, 0.1, 0.15, 0.3])
    return catalog.blank(table, "nowhere"), draw(fractions), draw(fractions), draw(st.integers(0, 5))


@settings(max_examples=150, deadline=None)
@given(grouped(), st.randoms(use_true_random=False))
def test_whatever_is_split_keeps_its_promises(made, random):
    table, val, test, seed = made
    done = catalog.split(table, val, test, seed)
    shares = {"train": 1 - val - test, "val": val, "test": test}
    wanted = {name for name, share in shares.items() if share}
    assert done.groupby("group").split.nunique().eq(1).all()  # no twins apart
    assert all(set(rows.split) == wanted for _, rows in done.groupby("label"))  # every label everywhere
    for _, rows in done.groupby("label"):
        largest = rows.groupby("group").size().max()
        if min(shares[name] for name in wanted) * len(rows) < largest:
            continue  # so small a class that one group in each split is all there can be
        for name, share in shares.items():  # as near to the fraction as whole groups allow
            assert abs((rows.split == name).sum() - share * len(rows)) <= largest
    order = list(range(len(table)))
    random.shuffle(order)
    again = catalog.split(table.iloc[order].reset_index(drop=True), val, test, seed)
    assert again.set_index("path").split.sort_index().equals(done.set_index("path").split.sort_index())


@settings(max_examples=50, deadline=None)
@given(grouped(), st.integers(0, 3))
def test_more_pictures_move_none_to_another_split(made, other_seed):
    table, val, test, seed = made
    before = catalog.split(table, val, test, seed)
    more = table.assign(path=table.path + "+", sha256=table.sha256 + "+", group=table.group + "+")
    both = pd.concat([before, more], ignore_index=True)
    both.attrs = table.attrs
    after = catalog.split(both, val, test, other_seed)
    assert after.split[: len(before)].equals(before.split)
    assert after.split.ne("").all()
