"""The review grid: as Python sees it, and as a person does, in JupyterLab in a real browser."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from conftest import needs_chromium

from sneakerlib import InputError, catalog
from sneakerlib.review import corrections, grid
from sneakerlib.scraping import browser

LABELS = ["one", "three", "two"]


class Neighbours:
    """Evidence without a network: the picture and one other."""

    count = 0

    def __init__(self, rows):
        self.rows = rows

    def of(self, some):
        pairs = [(row.path, path) for row in some.itertuples() for path in (row.path, self.rows.path.iloc[0])]
        table = pd.DataFrame(pairs, columns=["suspect", "path"]).assign(label="", title="x", wrong=False, heat=None)
        table.attrs = self.rows.attrs
        return table


def suspects_of(rows):
    """Six suspects: five labelled `one` and called `two`, then one the other way round."""
    some = rows.iloc[[1, 2, 3, 4, 5, 9]]
    other = some.label.map({"one": "two", "two": "one"})
    return some[["path", "label"]].assign(why="label", proposed=other, confidence=0.9, agreed=True, quality=0.1)


@pytest.fixture
def rows(folder):
    return catalog.read(folder)


@pytest.fixture
def opened(rows, tmp_path):
    """Opens the grid on one file again and again, as a kernel does that was restarted."""

    def again():
        made = grid.ReviewGrid(suspects_of(rows), tmp_path / "c.csv", LABELS, Neighbours(rows))
        made.widget()
        return made

    return again


def said(made):
    return [card.said.value for card in made.shown]


def test_every_click_is_in_the_file_at_once(opened, rows, tmp_path):
    made = opened()
    relabel, keep, drop = made.shown[0].buttons
    for button, expected in ((relabel, ["relabel", "two"]), (keep, ["keep", ""]), (drop, ["drop", ""])):
        button.click()
        line = corrections.load(tmp_path / "c.csv").iloc[0]
        assert [line.path, line.label, line.action, line.new_label] == [rows.path[1], "one", *expected]
        assert [one.button_style for one in made.shown[0].buttons if one.button_style] == ["success"]
    made.shown[1].other.value = "three"
    assert corrections.load(tmp_path / "c.csv").new_label.tolist() == ["", "three"]
    assert said(made) == ["✓ drop", "✓ relabel three", "not decided", "not decided"]


def test_proposals_are_shown_as_such_and_do_not_count_as_decided(opened, rows, tmp_path):
    corrections.save(
        pd.DataFrame([[rows.path[1], "one", "relabel", "two", "unseen: two 0.90"]], columns=corrections.COLUMNS),
        tmp_path / "c.csv",
    )
    made = opened()
    assert said(made)[0] == "proposed: relabel two"
    assert made.shown[0].buttons[0].button_style == "info"
    assert "0 of 6 decided" in made.head.value
    made.shown[0].buttons[0].click()
    assert "1 of 6 decided" in made.head.value


def test_made_again_it_goes_on_where_it_was(opened):
    made = opened()
    made.shown[2].buttons[0].click()
    made.on.click()
    made.shown[0].buttons[2].click()
    again = opened()
    assert [card.row.path for card in again.shown] == [card.row.path for card in made.shown]
    assert said(again) == ["✓ drop", "not decided"]
    assert again.on.disabled
    again.back.click()
    assert said(again) == ["not decided", "not decided", "✓ relabel two", "not decided"]
    assert again.back.disabled


def test_each_class_has_a_place_of_its_own(opened):
    made = opened()
    made.chosen.value = "two"  # all six have to do with it
    made.on.click()
    made.shown[1].buttons[0].click()
    made.chosen.value = grid.EVERY
    assert made.at == 0
    made.chosen.value = "two"
    assert made.at == grid.PAGE
    assert said(made) == ["not decided", "✓ relabel one"]


def test_a_list_that_has_changed_begins_at_what_is_open(opened, tmp_path):
    opened()
    (tmp_path / "c.place.json").write_text('{"all classes": "gone.jpg"}')
    assert opened().at == 0
    (tmp_path / "c.place.json").write_text("{ half a file")
    assert opened().at == 0


def test_names_of_files_and_classes_are_text_not_markup(rows, tmp_path):
    table = suspects_of(rows).head(1).assign(label="<script>", proposed="a & b")
    made = grid.ReviewGrid(table, tmp_path / "c.csv", LABELS, Neighbours(rows))
    made.widget()
    assert "&lt;script&gt;" in made.shown[0].box.children[0].value
    assert "<script>" not in made.shown[0].box.children[0].value


def test_without_anybody_to_click_it_is_a_gallery(rows, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    made = grid.ReviewGrid(suspects_of(rows), tmp_path / "c.csv", LABELS, Neighbours(rows), most=3)
    made._ipython_display_()
    assert len(shown[0].plotted) == 6
    assert "3 of 6 suspects" in plots.in_words(shown[0])
    assert "edit c.csv" in capsys.readouterr().out
    made.save(tmp_path / "figures/06_topic__suspects")
    assert len(pd.read_csv(tmp_path / "figures/06_topic__suspects.csv")) == 6
    made.suspects = made.suspects.head(0)
    made._ipython_display_()
    assert capsys.readouterr().out == "no label is suspect\n"


def test_an_unknown_way_is_refused(rows, tmp_path):
    with pytest.raises(InputError, match="no way 'table' to show suspects: use auto, grid, gallery"):
        grid.ReviewGrid(suspects_of(rows), tmp_path / "c.csv", LABELS, Neighbours(rows), "table")


CODE = """
import sys; sys.path.insert(0, {tests!r})
from test_grid import LABELS, Neighbours, suspects_of
from sneakerlib import catalog
from sneakerlib.review import grid
rows = catalog.read({pictures!r})
grid.ReviewGrid(suspects_of(rows), "corrections.csv", LABELS, Neighbours(rows))
"""


@pytest.fixture
def lab(folder, tmp_path):
    """The address of a JupyterLab of our own, with a notebook that shows the grid."""
    home = tmp_path / "home"
    home.mkdir()
    code = CODE.format(tests=str(Path(__file__).parent), pictures=str(folder))
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    book.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}  # or it asks
    nbformat.write(book, home / "review.ipynb")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ("no-browser", "allow-root", f"ServerApp.port={port}", "ServerApp.ip=127.0.0.1")
    options += ("IdentityProvider.token=", f"ServerApp.root_dir={home}", "LabApp.expose_app_in_browser=True")
    command = [sys.executable, "-m", "jupyterlab", *(f"--{option}" for option in options)]
    kept = {name: str(home / name) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTERLAB_SETTINGS_DIR")}
    with subprocess.Popen(
        command, env=os.environ | kept, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=home
    ) as server:
        try:
            address, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 60
            while not answers(f"{address}/api"):
                assert server.poll() is None, "JupyterLab did not start"
                assert time.monotonic() < deadline, "JupyterLab does not answer"
            yield address, home
        finally:
            server.terminate()


def answers(address):
    try:
        with urllib.request.urlopen(address, timeout=1):
            return True
    except OSError:
        return False


@pytest.mark.browser
@needs_chromium
def test_three_decisions_in_jupyterlab_are_there_after_the_kernel_was_restarted(lab):
    pytest.importorskip("jupyterlab", reason="jupyterlab is not installed: pip install 'sneakerlib[jupyter]'")
    from selenium.webdriver.support.ui import WebDriverWait

    address, home = lab
    with browser.chromium() as page:
        wait = WebDriverWait(page, 60, 0.2)

        def run(command):
            page.execute_script(f"window.jupyterapp.commands.execute('{command}')")

        def texts(selector):
            found = f"return [...document.querySelectorAll('.review-grid {selector}')].map(one => one.textContent)"
            return [text.strip() for text in page.execute_script(found)]

        def press(text, number):
            script = "[...document.querySelectorAll('.review-grid button')].filter(one => one.textContent.trim() == "
            page.execute_script(f"{script} arguments[0])[arguments[1]].click()", text, number)

        page.get(f"{address}/lab/tree/review.ipynb?reset")
        kernel = "return window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status"
        wait.until(lambda _: page.execute_script(kernel) == "idle")
        run("notebook:run-all-cells")
        wait.until(lambda _: len(texts("img")) == grid.PAGE)
        assert page.execute_script("return document.querySelector('.review-grid img').alt")
        for text, number in (("relabel: two", 0), ("keep: one", 1), ("drop", 2)):
            press(text, number)
            wait.until(lambda _, done=number + 1: sum("✓" in said for said in texts(".widget-html")) == done)
        before = (home / "corrections.csv").read_text()
        assert [line.split(",")[2:4] for line in before.splitlines()[1:]] == [
            ["relabel", "two"],
            ["keep", ""],
            ["drop", ""],
        ]
        page.execute_script("document.querySelectorAll('.review-grid').forEach(one => one.remove())")
        run("notebook:restart-run-all")
        wait.until(lambda _: page.execute_script("return !!document.querySelector('.jp-Dialog .jp-mod-accept')"))
        page.execute_script("document.querySelector('.jp-Dialog .jp-mod-accept').click()")
        wait.until(lambda _: len(texts("img")) == grid.PAGE)
        shown = [said for said in texts(".widget-html") if said.startswith("✓") or said == "not decided"]
        assert shown == ["✓ relabel two", "✓ keep", "✓ drop", "not decided"]
        assert "3 of 6 decided" in " ".join(texts(".widget-html"))
        assert (home / "corrections.csv").read_text() == before
