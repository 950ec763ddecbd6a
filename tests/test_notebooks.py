"""The whole series in the smoke setting, headless, as `make run` does it; killed and on photographs in `make trial`."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

from sneakerlib.scaling import runner

ROOT = Path(__file__).parent.parent
STEMS = [notebook.stem for notebook in sorted((ROOT / "notebooks").glob("*.ipynb"))]


def command(*arguments):
    return [sys.executable, "-m", "sneakerlib.cli", "run", "--quick", *map(str, arguments)]


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A run folder of the whole series, and what the command printed."""
    out = tmp_path_factory.mktemp("series") / "quick"
    shown = subprocess.run(command("--out", out), cwd=ROOT, capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr
    return out, shown


def results(out: Path) -> dict:
    """All results without the seconds, which differ."""
    found = {file.name: json.loads(file.read_text()) for file in sorted((out / "results").iterdir())}
    return {name: {key: value for key, value in content.items() if key != "seconds"} for name, content in found.items()}


@pytest.mark.parametrize("stem", STEMS)
def test_a_notebook_runs_and_says_so_itself(finished, stem):
    out, _ = finished
    executed = nbformat.read(out / f"{stem}.ipynb", as_version=4)
    checks = [cell for cell in executed.cells if "check" in cell.metadata.get("tags", [])]
    said = ["".join(output.get("text", "") for output in cell.outputs) for cell in checks]
    assert checks
    assert all(text.startswith("✓ ") for text in said), said
    shown = [output for cell in executed.cells if cell.cell_type == "code" for output in cell.outputs]
    assert not [output for output in shown if output.output_type == "error"]
    pictures = [output for output in shown if "image/png" in output.get("data", {})]
    assert all(picture.metadata.get("image/png", {}).get("alt") for picture in pictures)  # for those who cannot see it
    noise = "".join(output.get("text", "") for output in shown if output.get("name") == "stderr")
    assert "warning" not in noise.lower(), noise


def test_the_summary_has_a_line_per_notebook(finished):
    out, shown = finished
    lines = shown.stdout.splitlines()
    assert [line.split()[0] for line in lines[: len(STEMS)]] == STEMS
    assert "linear" in lines[5]
    assert shown.stderr == ""
    assert json.loads((out / "run.json").read_text())["notebooks"].keys() == set(STEMS)


def test_every_figure_has_its_numbers_beside_it(finished):
    figures = sorted((finished[0] / "figures").glob("*.png"))
    assert len(figures) >= 9
    assert all(figure.with_suffix(".csv").is_file() for figure in figures)
    assert all(re.fullmatch(r"\d\d_[a-z_]+__[a-z_]+\.png", figure.name) for figure in figures)


def test_all_four_models_are_judged_on_the_test_split(finished):
    result = results(finished[0])["05_confusion_matrices.json"]
    assert result["test_opened_for"] == ["fine-tune", "frozen", "linear", "scratch", "second-order"]
    counts = results(finished[0])["02_cleaning.json"]["splits"]
    assert {scores["n"] for scores in result["scores"].values()} == {counts["test"]}


def test_no_notebook_opens_the_test_split_before_all_is_decided():
    """05 opens it (03 only files its baseline's answers); 06 once more, after the last correction."""
    for stem in STEMS:
        book = nbformat.read(ROOT / "notebooks" / f"{stem}.ipynb", as_version=4)
        code = "\n".join(cell.source for cell in book.cells if cell.cell_type == "code")
        opens = re.search(r"""(?<!as_)predictions\(|batches\([^)]*["']test["']|usable\([^)]*["']test["']""", code)
        assert bool(opens) == stem.startswith(("05", "06")), stem
        if stem.startswith("06"):
            decided = max(code.index("corrections.apply("), code.index("corrections.load("))
            assert opens.start() > decided


@pytest.mark.parametrize("stem", STEMS)
def test_the_smoke_setting_names_real_parameters(stem):
    names = {name for other in STEMS for name in runner.declared(ROOT / "notebooks" / f"{other}.ipynb")}
    assert set(runner.QUICK) <= names
    assert "RUN" in runner.declared(ROOT / "notebooks" / f"{stem}.ipynb")


@pytest.mark.trial
def test_killed_anywhere_and_resumed_gives_the_same_results(finished, tmp_path):
    """Kill the run while it collects, and again while it trains; what comes out is what an uninterrupted run gives."""
    out, only = tmp_path / "killed", ("--only", "01,02,03")
    for sign in ("images", "baseline"):
        process = subprocess.Popen(
            command("--out", out, *only, "--resume"), cwd=ROOT, start_new_session=True, stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 120
        while not (out / sign).exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert not (out / "03_cnn_from_scratch.ipynb").exists()
    subprocess.run(command("--out", out, *only, "--resume"), cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    whole = results(finished[0])
    assert results(out) == {name: whole[name] for name in results(out)}
    assert len(results(out)) == 3


@pytest.mark.trial
@pytest.mark.real
def test_the_series_runs_on_real_photographs(real, tmp_path):
    labels = "air_jordan_1,air_jordan_3,air_jordan_11"
    out = tmp_path / "real"
    shown = subprocess.run(
        command("--images", real, "--labels", labels, "--out", out),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert shown.returncode == 0, shown.stderr
    assert results(out)["01_scraping.json"]["per_class"].keys() == set(labels.split(","))
    galleries = ("01_scraping__contact_sheet.png", "05_confusion_matrices__examples.png")
    assert not [name for name in galleries if (out / "figures" / name).exists()]
