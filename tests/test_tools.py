import json
import re
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest
import yaml

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import lint_notebooks  # noqa: E402

NOTEBOOK = ROOT / "notebooks/04_transfer_learning.ipynb"


def broken(tmp_path, change):
    """A copy of a good notebook, changed, and what the linter says of it."""
    book = json.loads(NOTEBOOK.read_text())
    change(book)
    (tmp_path / "notebooks").mkdir(exist_ok=True)
    copy = tmp_path / "notebooks" / NOTEBOOK.name
    copy.write_text(json.dumps(book))
    return "\n".join(lint_notebooks.lint(copy, tmp_path))


def cell(book, tag):
    return next(c for c in book["cells"] if tag in c["metadata"].get("tags", []))


def first_code(book):
    return next(c for c in book["cells"] if c["cell_type"] == "code")


def replace(old, new):
    def change(book):
        for c in book["cells"]:
            c["source"] = [line.replace(old, new) for line in c["source"]]

    return change


def test_a_good_notebook_has_no_problems(tmp_path):
    assert broken(tmp_path, lambda book: None) == ""


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            lambda b: first_code(b).update(outputs=[{"output_type": "stream", "name": "stdout", "text": "x"}]),
            "with outputs",
        ),
        (lambda b: first_code(b).update(execution_count=3), "with outputs"),
        (lambda b: b["metadata"].update(widgets={}), "metadata beside tags"),
        (lambda b: b["cells"][1].update(id=b["cells"][2]["id"]), "one id"),
        (replace("04_transfer_learning.ipynb)", "03_cnn.ipynb)"), "badge"),
        (replace("# 04 · Transfer", "# Transfer"), "H1"),
        (lambda b: b["cells"][1].update(source=["# Another title"]), "H1"),
        (replace("## Summary", "## End"), "`## Summary` is missing"),
        (replace("**You will**", "You will"), "`**You will**` is missing"),
        (lambda b: cell(b, "parameters")["metadata"].update(tags=[]), "0 cells are tagged"),
        (lambda b: cell(b, "parameters")["source"].append("\nSUM = 1 + 1  # no literal"), "literal is wanted"),
        (lambda b: cell(b, "parameters")["source"].append("\nsize = 3  # small name"), "literal is wanted"),
        (lambda b: cell(b, "parameters")["source"].append("\nSILENT = 3"), "SILENT does not say"),
        (replace("assert ", "_ = "), "must assert"),
        (replace("✓", "ok"), "must assert"),
        (lambda b: first_code(b)["source"].extend(["\nx = 1"] * 30), "25 at the most"),
        (
            lambda b: b["cells"].extend({**first_code(b), "id": f"x{n}", "source": ["y = 1\n"] * 8} for n in range(30)),
            "lines of code",
        ),
        (lambda b: first_code(b).update(source=["def f():\n", *["    x = 1\n"] * 26]), "function f is longer"),
        (replace('save_result("04_transfer_learning"', 'save_result("other"'), "the batch runner quotes it"),
    ],
)
def test_every_rule_can_fail(tmp_path, change, problem):
    assert problem in broken(tmp_path, change)


def test_the_linter_exits_1_when_something_is_wrong(tmp_path, capsys, monkeypatch):
    broken(tmp_path, replace("✓", "ok"))
    monkeypatch.setattr(lint_notebooks, "ROOT", tmp_path)
    assert lint_notebooks.main([]) == 1
    assert "must assert" in capsys.readouterr().out
    monkeypatch.setattr(lint_notebooks, "ROOT", ROOT)
    assert lint_notebooks.main([]) == 0


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_environment_and_pyproject_ask_for_the_same():
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    pip = next(part["pip"] for part in conda if isinstance(part, dict))
    extras = project()["optional-dependencies"]
    wanted = [*project()["dependencies"], *extras["tensorflow"], *extras["jupyter"], *extras["scrape"]]
    wanted += [*extras["backbones"], *extras["serve"], "--editable ."]
    assert sorted(pip) == sorted(wanted)
    assert f"python{project()['requires-python']}" in conda


def test_every_conda_line_says_which_notebook_needs_it():
    lines = [line for line in (ROOT / "environment.yml").read_text().splitlines() if line.startswith("      - ")]
    assert all(" # " in line for line in lines)


def test_every_dependency_has_a_lower_bound_and_a_locked_version():
    locked = dict(re.findall(r"^([a-z0-9-]+)==([^ ;]+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    extras = project()["optional-dependencies"]
    asked = [extras[name] for name in ("tensorflow", "backbones", "jupyter", "scrape", "serve", "dev")]
    for line in [*project()["dependencies"], *(line for lines in asked for line in lines)]:
        assert re.search(r">=\d", line), line
        assert re.match(r"[a-z0-9-]+", line).group() in locked, line


def test_every_notebook_is_valid_and_named_in_order():
    books = sorted((ROOT / "notebooks").glob("*.ipynb"))
    assert [book.name[:2] for book in books] == ["00", "01", "02", "03", "04", "05", "06", "09"]
    for book in books:
        nbformat.validate(nbformat.read(book, as_version=4))


def test_no_large_file_and_no_absolute_path_is_kept():
    for file in [*(ROOT / "sneakerlib").glob("*.py"), *(ROOT / "notebooks").glob("*.ipynb"), ROOT / "README.md"]:
        assert not re.search(r"[\"' (]/(home|root|work|Users)/", file.read_text(encoding="utf-8")), file
    assert all(file.stat().st_size < 1_000_000 for file in (ROOT / "figures").iterdir())
