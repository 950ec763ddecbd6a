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

from sneakerlib import catalog
from sneakerlib.review import corrections, widget
from sneakerlib.scraping import browser

LABELS = ["one", "three", "two"]


class Pairs:
    """Evidence without a network: the picture and one other."""

    def __init__(self, rows):
        self.rows = rows

    def of(self, suspect):
        table = pd.DataFrame({"path": [suspect.path, self.rows.path.iloc[0]]}).assign(label="", title="x", heat=None)
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

    def again(found=None):
        found = suspects_of(rows) if found is None else found
        made = widget.ReviewGrid(found, tmp_path / "c.csv", LABELS, Pairs(rows))
        made.widget()
        return made

    return again


def said(made):
    return [card.said.value for card in made.cards]


def press(card, text):
    """Press the button that says so."""
    card.buttons.value = dict(card.buttons.options)[text]


def test_every_click_is_in_the_file_at_once(opened, rows, tmp_path):
    made = opened()
    first = made.cards[0]
    for text, expected in (
        ("Change to two", ["relabel", "two"]),
        ("Keep one", ["keep", ""]),
        ("Leave it out", ["drop", ""]),
    ):
        press(first, text)
        line = corrections.load(tmp_path / "c.csv").iloc[0]
        assert [line.path, line.label, line.action, line.new_label] == [rows.path[1], "one", *expected]
    made.cards[1].other.value = ("relabel", "three")
    assert corrections.load(tmp_path / "c.csv").new_label.tolist() == ["", "three"]
    assert said(made) == ["✓ Leave it out", "✓ Change to three", "not decided", "not decided"]
    assert made.cards[1].buttons.value is None


def test_the_status_line_says_that_the_cells_below_are_to_be_run_again(opened):
    made = opened()
    press(made.cards[0], "Keep one")
    assert "1 of 6 decided by you" in made.head.value
    assert "shown: 1 to 4" in made.head.value
    assert "run the cells below again" in made.head.value


def test_proposals_are_shown_as_such_and_do_not_count_as_decided(opened, rows, tmp_path):
    corrections.save(
        pd.DataFrame([[rows.path[1], "one", "relabel", "two", "unseen: two 0.90"]], columns=corrections.COLUMNS),
        tmp_path / "c.csv",
    )
    made = opened()
    assert said(made)[0] == "proposed: Change to two"
    assert made.cards[0].buttons.value is None  # so that it can be pressed
    assert "0 of 6 decided" in made.head.value
    press(made.cards[0], "Change to two")
    assert "1 of 6 decided" in made.head.value
    assert corrections.load(tmp_path / "c.csv").reason.tolist() == [corrections.BY_HAND]


def test_made_again_it_goes_on_where_it_was(opened):
    made = opened()
    press(made.cards[2], "Change to two")
    made.on.click()
    press(made.cards[0], "Leave it out")
    again = opened()
    assert [card.row.path for card in again.cards] == [card.row.path for card in made.cards]
    assert said(again) == ["✓ Leave it out", "not decided"]
    assert again.cards[0].buttons.value == ("drop", "")
    assert again.on.disabled
    again.back.click()
    assert said(again) == ["not decided", "not decided", "✓ Change to two", "not decided"]
    assert again.back.disabled
    again.on.click()
    press(again.cards[1], "Keep two")
    assert opened().at == 0  # nothing is left after what was decided last, but some before


def test_showing_what_was_decided_writes_nothing(opened, tmp_path):
    press(opened().cards[0], "Keep one")
    before = (tmp_path / "c.csv").stat()
    opened()
    assert (tmp_path / "c.csv").stat().st_mtime_ns == before.st_mtime_ns


def test_what_was_set_aside_can_be_brought_back(opened, rows, tmp_path):
    found = suspects_of(rows).head(1).assign(why="off-topic", proposed="one", agreed=False)
    made = opened(found)
    assert [text for text, _ in made.cards[0].buttons.options] == ["Bring it back as one", "Leave it out"]
    assert "set aside as off-topic" in made.cards[0].box.children[0].value
    made.cards[0].other.value = ("relabel", "two")
    assert corrections.load(tmp_path / "c.csv").new_label.tolist() == ["two"]


def test_names_of_files_and_classes_are_text_not_markup(opened, rows):
    made = opened(suspects_of(rows).head(1).assign(label="<script>", proposed="a & b"))
    assert "&lt;script&gt;" in made.cards[0].box.children[0].value
    assert "<script>" not in made.cards[0].box.children[0].value
    press(made.cards[0], "Change to a & b")
    assert said(made) == ["✓ Change to a &amp; b"]


def test_without_anybody_to_click_the_file_decides(rows, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)

    def show(found):
        widget.ReviewGrid(found, tmp_path / "c.csv", LABELS, Pairs(rows))._ipython_display_()
        return capsys.readouterr().out

    assert "c.csv says what is decided" in show(suspects_of(rows))
    monkeypatch.setenv("JPY_SESSION_NAME", "06.ipynb")
    assert "c.csv says what is decided" in show(suspects_of(rows).head(0))
    assert shown == []
    assert show(suspects_of(rows)) == ""
    assert len(shown) == 1


CODE = """
import sys; sys.path.insert(0, {tests!r})
from test_widget import LABELS, Pairs, suspects_of
from sneakerlib import catalog
from sneakerlib.review import widget
rows = catalog.read({pictures!r})
widget.ReviewGrid(suspects_of(rows), "corrections.csv", LABELS, Pairs(rows))
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
        wait.until(lambda _: len(texts("img")) == widget.PAGE)
        assert page.execute_script("return document.querySelector('.review-grid img').alt")
        for text, number in (("Change to two", 0), ("Keep one", 1), ("Leave it out", 2)):
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
        wait.until(lambda _: len(texts("img")) == widget.PAGE)
        shown = [said for said in texts(".widget-html") if said.startswith("✓") or said == "not decided"]
        assert shown == ["✓ Change to two", "✓ Keep one", "✓ Leave it out", "not decided"]
        assert "3 of 6 decided" in " ".join(texts(".widget-html"))
        assert (home / "corrections.csv").read_text() == before
