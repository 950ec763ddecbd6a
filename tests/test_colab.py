"""What Colab does otherwise: an old IPython, `google.colab` in every kernel, a machine that holds one notebook."""

import json
import os
import re
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest
from test_batch import notebook, project  # noqa: F401 (a fixture)

from sneakerlib.scaling import runner

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LOADED = "import sys, types; sys.modules['google.colab'] = types.ModuleType('google.colab')"
ONE_CELL = """
import json, sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.run_cell(sys.argv[1])
done = shell.run_cell(sys.argv[2])
print(json.dumps({"error": str(done.error_in_exec or "")}))
"""


def setup_of(file: Path) -> str:
    """What the first cell of a notebook does before it imports anything of ours."""
    first = next(cell for cell in nbformat.read(file, as_version=4).cells if cell.cell_type == "code")
    lines = first.source.splitlines()
    return "\n".join(lines[: 1 + max(at for at, line in enumerate(lines) if line.startswith("    "))])


@pytest.fixture
def stubs(tmp_path, monkeypatch):
    """`git`, `pip` and `sneakerlib` that write down how they were called; `sneakerlib` fails."""
    for name, code in {"git": 0, "pip": 0, "sneakerlib": 1}.items():
        file = tmp_path / "bin" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(f'#!/bin/sh\necho {name} "$@" >> {tmp_path}/called\necho "{name}: the reason"\nexit {code}\n')
        file.chmod(file.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv(runner.INSIDE, raising=False)
    return tmp_path / "called"


def in_ipython(before: str, cell: str) -> tuple[str, str]:
    """What a cell prints in a fresh IPython, and the error it stops with."""
    command = [sys.executable, "-c", ONE_CELL, before, cell]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return shown, json.loads(shown.splitlines()[-1])["error"]


def test_a_setup_whose_run_fails_stops_and_points_to_the_reason(stubs):
    needing = [file for file in NOTEBOOKS if "sneakerlib run" in setup_of(file)]
    assert [file.name[:2] for file in needing] == ["02", "03", "04", "05", "06", "09"]
    cells = [setup_of(file) for file in needing]
    for cell in (cells[0], cells[-1]):  # they differ in nothing but the numbers and one extra
        shown, error = in_ipython(LOADED, cell)
        assert "sneakerlib: the reason" in shown
        assert error.startswith("Setup stopped, the line above says why")
    kinds = {re.sub(r"--only [\d,]+|( -p \w+ \d+)+|\[serve\]|\"", "", cell.partition("if ")[2]) for cell in cells}
    assert len({kind.replace("'.'", ".") for kind in kinds}) == 1, kinds


def test_a_setup_that_cannot_install_stops(stubs):
    pip = stubs.with_name("bin") / "pip"
    pip.write_text(pip.read_text().replace("exit 0", "exit 1"))
    for file in (NOTEBOOKS[0], NOTEBOOKS[-1]):
        shown, error = in_ipython(LOADED, setup_of(file))
        assert "pip: the reason" in shown
        assert error.startswith("Setup stopped")
    assert "sneakerlib run" not in stubs.read_text()


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.name[:2])
def test_inside_a_run_a_setup_leaves_everything_as_it_is(stubs, project, monkeypatch, file):  # noqa: F811
    profile = project / "ipython/profile_default"
    profile.mkdir(parents=True)
    (profile / "ipython_config.py").write_text(f"c.InteractiveShellApp.exec_lines = [{LOADED!r}]\n")
    monkeypatch.setenv("IPYTHONDIR", str(profile.parent))
    notebook(project, "01_one", setup_of(file), "assert 'google.colab' in sys.modules\nprint('it is loaded')")
    runner.run("out", only=["01"])
    outputs = nbformat.read(project / "out/01_one.ipynb", as_version=4).cells[3].outputs
    assert outputs[0].text == "it is loaded\n"
    assert not stubs.exists(), stubs.read_text()


def test_outside_colab_a_setup_does_nothing(stubs):
    assert in_ipython("", setup_of(NOTEBOOKS[-1]))[1] == ""
    assert not stubs.exists()


def test_what_is_installed_in_colab_does_not_ask_for_ipython():
    """It would bring jedi, beside which Colab's own completer does not work."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]  # noqa: F811
    asked = [*project["dependencies"], *project["optional-dependencies"]["serve"]]
    assert not {re.split(r"[^\w-]", name)[0] for name in asked} & {"ipython", "ipykernel", "ipywidgets", "jupyterlab"}
