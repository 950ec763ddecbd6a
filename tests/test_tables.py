"""Tables that people, spreadsheets and accidents have touched: read as they are meant, or refused in one line."""

import string

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sneakerlib import InputError, catalog, tables
from sneakerlib.cleaning import audit
from sneakerlib.review import corrections
from sneakerlib.scraping import searchterms

# What a file system takes in a name, with all that is awkward in a table more often than by chance.
NAMES = st.text(st.sampled_from("\r\n\"';,=+-@\t\\ |é鞋😀" + string.ascii_letters), min_size=1, max_size=12)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(NAMES, NAMES), max_size=5))
def test_any_name_survives_a_round_trip(tmp_path_factory, rows):
    file, table = tmp_path_factory.mktemp("t") / "t.csv", pd.DataFrame(rows, columns=["path", "label"], dtype=str)
    tables.write_csv(file, table)
    assert tables.read_csv(file).to_dict("records") == table.to_dict("records")


@pytest.mark.parametrize("name", ["Icon\r.jpg", "a\nb.jpg", 'q"uo,te.jpg', "=1+1.jpg", " lead.jpg"])
def test_a_picture_of_any_name_survives_in_a_catalog(fresh, tmp_path, name):
    table = fresh.assign(path=[f"aero/{name}", *fresh.path[1:]])
    table.attrs = fresh.attrs
    catalog.save(table, tmp_path / "c.csv")
    assert catalog.load(tmp_path / "c.csv").path.tolist() == table.path.tolist()


@pytest.mark.parametrize("mark", [";", "\t"])
def test_a_catalog_that_a_spreadsheet_has_saved_is_read(fresh, tmp_path, mark):
    catalog.save(fresh, tmp_path / "c.csv")
    said = tables.read_csv(tmp_path / "c.csv")
    text = said.assign(width=said.width + ".0").to_csv(index=False, sep=mark)
    (tmp_path / "c.csv").write_text("\ufeff" + text.replace("\n", "\r\n"), encoding="utf-8", newline="")
    again = catalog.load(tmp_path / "c.csv")
    assert again.path.tolist() == fresh.path.tolist() and again.width.tolist() == fresh.width.tolist()


def test_a_width_that_is_no_whole_number_is_refused(fresh, tmp_path):
    catalog.save(fresh, tmp_path / "c.csv")
    said = tables.read_csv(tmp_path / "c.csv")
    tables.write_csv(tmp_path / "c.csv", said.assign(width="254.7"))
    with pytest.raises(InputError, match=r"is not a catalog .*254\.7"):
        catalog.load(tmp_path / "c.csv")


def readers(table):
    """Every reader of a table that people may have touched, and a good file for it."""
    return {
        "catalog": (catalog.load, "path,label,sha256\na,b,c\n"),
        "corrections": (corrections.load, "path,label,action,new_label,reason\na,b,keep,,because\n"),
        "decisions": (lambda file: audit.read_decisions(file, table), "path,action,reason\na,keep,because\n"),
        "search terms": (searchterms.read, "label,query\na,a shoe\n"),
    }


@pytest.mark.parametrize("kind", ["catalog", "corrections", "decisions", "search terms"])
@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda content: b"", "is empty: give a table"),
        (lambda content: content.replace(b"\na", b'\n"a'), "is no table .unexpected end"),
        (lambda content: content + "é,é\n".encode("latin-1"), "is not written in UTF-8"),
        (lambda content: content.replace(b"\na", b"\na,too,many,cells,for,that"), "put quotes around a cell"),
        (lambda content: b"\x89PNG\r\n\x1a\n\0\0", "is not written in UTF-8"),
        (lambda content: b"path,path\n1,2\n", "names a column twice"),
    ],
)
def test_a_table_that_was_harmed_is_refused_in_one_line(fresh, tmp_path, kind, harm, message):
    read, content = readers(fresh)[kind]
    (tmp_path / "t.csv").write_bytes(harm(content.encode()))
    with pytest.raises(InputError, match=message) as error:
        read(tmp_path / "t.csv")
    assert "\n" not in str(error.value)
