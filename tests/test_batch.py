import json
import os
import signal
import subprocess
import sys

import nbformat
import pytest

from sneakerlib import InputError, cli
from sneakerlib.scaling import runner

SAVE = 'from sneakerlib.runs import Run\nRun(RUN).save_result("{stem}", "{headline}", number=NUMBER)'


def notebook(folder, stem, *cells, parameters='RUN = "runs/x"\nNUMBER = 1'):
    """Write a small notebook whose last cell saves a result."""
    book = nbformat.v4.new_notebook()
    book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    first = nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})
    last = SAVE.format(stem=stem, headline=f"{stem} is done")
    book.cells = [first, *map(nbformat.v4.new_code_cell, cells), nbformat.v4.new_code_cell(last)]
    (folder / "notebooks").mkdir(exist_ok=True)
    nbformat.write(book, folder / "notebooks" / f"{stem}.ipynb")


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with two small notebooks, entered."""
    monkeypatch.chdir(tmp_path)
    notebook(tmp_path, "01_one", 'print("number", NUMBER)')
    notebook(
        tmp_path, "02_two", "RATE + 0.5", parameters='RUN = "runs/x"\nNUMBER = 2\nRATE = 0.1\nNAME = "a # b"  # help'
    )
    return tmp_path


def test_parameters_are_read_as_python_reads_them(project):
    assert runner.declared(project / "notebooks/02_two.ipynb") == {
        "RUN": "runs/x",
        "NUMBER": 2,
        "RATE": 0.1,
        "NAME": "a # b",
    }


def test_parameters_go_to_the_notebooks_that_declare_them_in_their_type(project):
    shared = runner.parameters_for(
        runner.series(), {"NUMBER": "7", "RATE": "1"}, {"NUMBER": 3, "NAME": "5", "SIZE": 64}
    )
    assert shared == {"01_one": {"NUMBER": 7}, "02_two": {"NUMBER": 7, "RATE": 1.0, "NAME": "5"}}
    assert type(shared["02_two"]["RATE"]) is float


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"NUMBR": "3"}, "no notebook has a parameter NUMBR: did you mean NUMBER?"),
        ({"XYZ": "3"}, "no notebook has a parameter XYZ: there are NAME, NUMBER, RATE, RUN"),
        ({"NUMBER": "three"}, "parameter NUMBER takes a int such as 1, not 'three'"),
        ({"NUMBER": "True"}, "parameter NUMBER takes a int"),
        ({"NUMBER": "1.5"}, "parameter NUMBER takes a int"),
    ],
)
def test_a_wrong_parameter_is_refused_before_anything_is_written(project, given, message):
    with pytest.raises(InputError) as error:
        runner.run("out", parameters=given)
    assert str(error.value).startswith(message)
    assert not (project / "out").exists()


def test_a_run_leaves_notebooks_results_and_a_record(project, capsys):
    runner.run("out", parameters={"NUMBER": "7"})
    assert json.loads((project / "out/results/01_one.json").read_text()) == {"headline": "01_one is done", "number": 7}
    executed = nbformat.read(project / "out/01_one.ipynb", as_version=4)
    assert "number 7" in executed.cells[2].outputs[0].text
    record = json.loads((project / "out/run.json").read_text())
    assert record["notebooks"]["02_two"]["parameters"] == {"NUMBER": 7}
    assert record["notebooks"]["02_two"]["seconds"] > 0
    assert {"python", "sneakerlib", "keras", "papermill"} <= set(record["versions"])
    assert runner.INSIDE not in os.environ  # it is for the kernels alone
    lines = capsys.readouterr().out.splitlines()
    assert "01_one is done" in lines[0]
    assert "02_two is done" in lines[1]


def test_only_some_notebooks(project, capsys):
    assert cli.main(["run", "--out", "out", "--only", "02", "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)["notebooks"]) == ["02_two"]
    with pytest.raises(InputError, match="no notebook 07: there are 01, 02"):
        runner.run("out", only=["07"])


def test_the_first_failure_stops_the_run_and_says_where(project, capsys):
    notebook(project, "01_one", "def broken():\n    raise ValueError('the reason\\nmore')", "broken()")
    assert cli.main(["run", "--out", "out"]) == 1
    error = capsys.readouterr().err.strip()
    assert "01_one.ipynb failed at In [4]: ValueError: the reason" in error
    assert len(error.splitlines()) == 1
    assert (project / "out/01_one.failed.ipynb").is_file()
    assert not (project / "out/02_two.ipynb").exists()


def test_resume_passes_over_what_is_done_and_repeats_what_changed(project, capsys):
    runner.run("out")
    stamps = {stem: (project / f"out/{stem}.ipynb").stat().st_mtime_ns for stem in ("01_one", "02_two")}

    def repeated():
        new = {stem: (project / f"out/{stem}.ipynb").stat().st_mtime_ns for stem in stamps}
        changed = [stem for stem in stamps if new[stem] != stamps[stem]]
        stamps.update(new)
        return changed

    runner.run("out", resume=True)
    assert repeated() == []
    assert "done before" in capsys.readouterr().out
    runner.run("out", resume=True, parameters={"RATE": "0.2"})
    assert repeated() == ["02_two"]
    notebook(project, "01_one", "'another text'")
    runner.run("out", resume=True, parameters={"RATE": "0.2"})
    assert repeated() == ["01_one", "02_two"]
    runner.run("out")
    assert repeated() == ["01_one", "02_two"]


def test_another_kernel_that_is_called_python3_is_not_used(project, monkeypatch, tmp_path):
    """Not the user's own one, nor one on Jupyter's path."""
    for place, name in (("mine", "JUPYTER_DATA_DIR"), ("path", "JUPYTER_PATH")):
        spec = tmp_path / place / "kernels/python3/kernel.json"
        spec.parent.mkdir(parents=True)
        spec.write_text(json.dumps({"argv": ["false"], "display_name": "Python 3", "language": "python"}))
        monkeypatch.setenv(name, str(tmp_path / place))
    notebook(project, "01_one", "import sys\nNUMBER = sys.executable")
    before = dict(os.environ)
    runner.run("out", only=["01"])
    assert json.loads((project / "out/results/01_one.json").read_text())["number"] == sys.executable
    assert dict(os.environ) == before


def waiting(project):
    """A run whose second notebook goes on only once `out/hold` is gone."""
    wait = "import pathlib, time\npathlib.Path(RUN, 'here').touch()\n"
    wait += "while pathlib.Path(RUN, 'hold').exists(): time.sleep(0.05)"
    notebook(project, "02_two", wait)
    (project / "out").mkdir()
    (project / "out/hold").touch()
    command = [sys.executable, "-m", "sneakerlib.cli", "run", "--out", "out"]
    process = subprocess.Popen(command, cwd=project, start_new_session=True, stdout=subprocess.DEVNULL)
    while not (project / "out/here").exists():
        assert process.poll() is None
    return process


def test_of_two_runs_on_one_folder_the_second_is_refused_and_the_first_goes_on(project, capsys):
    first = waiting(project)
    half = list((project / "out").glob(".writing-*"))
    assert half
    assert cli.main(["run", "--out", "out", "--resume"]) == 2
    error = capsys.readouterr().err
    assert "another run is writing to" in error
    assert "name another folder" in error
    assert all(folder.exists() for folder in half)
    runner.run("other", only=["01"])  # another folder is nobody's business
    (project / "out/hold").unlink()
    assert first.wait(60) == 0
    assert (project / "out/results/02_two.json").exists()
    assert list(runner.run("out", resume=True)["notebooks"]) == ["01_one", "02_two"]


def test_a_killed_run_resumes_to_the_same_results(project):
    process = waiting(project)
    runner.run("whole")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (project / "out/02_two.ipynb").exists()
    (project / "out/hold").unlink()
    before = (project / "out/01_one.ipynb").stat().st_mtime_ns
    runner.run("out", resume=True)
    assert (project / "out/01_one.ipynb").stat().st_mtime_ns == before
    assert not list((project / "out").rglob(".writing-*"))
    for result in (project / "whole/results").iterdir():
        assert (project / "out/results" / result.name).read_bytes() == result.read_bytes()


def test_wrong_pictures_are_refused_before_anything_is_written(project, folder):
    with pytest.raises(InputError, match="there is no folder nowhere"):
        runner.run("out", images="nowhere")
    with pytest.raises(InputError, match=r"there is no folder .*three: check --images and --labels"):
        runner.run("out", images=folder, labels=["one", "three"])
    assert not (project / "out").exists()


def test_without_notebooks_one_line_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runner.sneakerlib, "__file__", str(tmp_path / "site/sneakerlib/__init__.py"))
    with pytest.raises(InputError, match="run this inside a clone"):
        runner.series()
