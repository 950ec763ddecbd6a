"""Run the notebooks headless, each in a fresh kernel; stop at the first failure, resume where it stopped."""

import ast
import contextlib
import difflib
import hashlib
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

import nbformat
import papermill
from ipykernel.kernelspec import get_kernel_dict

import sneakerlib
from sneakerlib import InputError, check_number
from sneakerlib.runs import alone, replacing, sweep, write_json

# The smoke setting, for notebooks that declare these parameters: everything runs, nothing is learned well.
QUICK = {"CLASSES": 3, "PER_CLASS": 40, "EPOCHS": 12, "FROZEN_SIZE": 96}
QUICK |= dict.fromkeys(["STORY_EPOCHS", "FINE_TUNE_EPOCHS", "TOP_EPOCHS"], 1)
QUICK |= dict.fromkeys(["SIZE", "STORY_SIZE", "TOP_SIZE", "FINE_TUNE_SIZE"], 64)
# Set in the kernels of a run: Setup cells, which prepare Colab, then leave everything as it is.
INSIDE = "SNEAKERLIB_RUN"
LIBRARIES = ("sneakerlib", "tensorflow-cpu", "tensorflow", "keras", "numpy", "pillow", "scikit-learn", "papermill")


def series(only: list[str] | None = None) -> list[Path]:
    """The notebooks, all or those of some numbers: those under `notebooks/` here, else those beside the package."""
    folders = [Path.cwd() / "notebooks", Path(sneakerlib.__file__).parent.parent / "notebooks"]
    found = next((files for folder in folders if (files := sorted(folder.glob("[0-9][0-9]_*.ipynb")))), [])
    if not found:
        raise InputError("there are no notebooks here: run this inside a clone of the project")
    numbers = {file.name[:2]: file for file in found}
    if unknown := [number for number in only or [] if number not in numbers]:
        raise InputError(f"there is no notebook {', '.join(unknown)}: there are {', '.join(numbers)}")
    return [file for number, file in numbers.items() if not only or number in only]


def declared(notebook: Path) -> dict:
    """The parameters of a notebook and their defaults, read from its cell tagged `parameters`."""
    cells = nbformat.read(notebook, as_version=4).cells
    source = next((cell.source for cell in cells if "parameters" in cell.metadata.get("tags", [])), "")
    return {
        line.targets[0].id: ast.literal_eval(line.value)
        for line in ast.parse(source).body
        if isinstance(line, ast.Assign)
    }


def parameters_for(notebooks: list[Path], given: dict[str, str], common: dict) -> dict[str, dict]:
    """Share parameters out to the notebooks that declare them, by their names: those given have to be known."""
    known = {notebook.stem: declared(notebook) for notebook in notebooks}
    names = sorted({name for defaults in known.values() for name in defaults})
    for name in given:
        if name not in names:
            near = difflib.get_close_matches(name, names, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"
            raise InputError(f"no notebook has a parameter {name}: {hint}")
    wanted = common | given
    return {
        stem: {name: _typed(name, wanted[name], defaults[name]) for name in wanted if name in defaults}
        for stem, defaults in known.items()
    }


def _typed(name: str, text, default):
    """What somebody typed, in the type of the default that it replaces."""
    if isinstance(default, str) or not isinstance(text, str):
        return text
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        value = float(text) if text.lower() in ("nan", "inf", "-inf") else text
    if isinstance(default, float) and type(value) is int:
        value = float(value)
    if type(value) is not type(default):
        raise InputError(f"parameter {name} takes a {type(default).__name__} such as {default!r}, not {text!r}")
    if isinstance(value, int | float):
        check_number(name, value)
    return value


def run(
    out: str | Path = "runs/default",
    images: str | Path = "",
    labels: list[str] | None = None,
    only: list[str] | None = None,
    parameters: dict[str, str] | None = None,
    quick: bool = False,
    resume: bool = False,
) -> dict:
    """Execute the series into a run folder.

    Args:
        out: The run folder. Defaults to `runs/default`.
        images: The user's own pictures. Defaults to the embedded sample.
        labels: Only these classes. Defaults to all.
        only: Numbers of the notebooks to run. Defaults to all.
        parameters: Values by parameter name, for every notebook that declares it.
        quick: Use the smoke setting. Defaults to False.
        resume: Pass over notebooks finished here with the same text and parameters. Defaults to False.

    Returns:
        What `run.json` holds: parameters, versions, and per notebook its seconds and headline.

    Raises:
        InputError: If something given is wrong; nothing is written then.
        RuntimeError: If a notebook fails; the message says in which cell, with which error, and where to look.
    """
    notebooks, out = series(only), Path(out).resolve()
    for name, option in {"RUN": "--out", "IMAGES": "--images", "LABELS": "--labels"}.items():
        if name in (parameters or {}):
            raise InputError(f"-p {name} would contradict {option}: give {option} instead")
    wanted = [Path(images) / label for label in ("", *(labels or []))] if images else []
    if missing := [str(folder) for folder in wanted if not folder.is_dir()]:
        raise InputError(f"there is no folder {missing[0]}: check --images and --labels")
    common = {"RUN": out.as_posix(), "LABELS": ",".join(labels or [])}
    common["IMAGES"] = Path(images).resolve().as_posix() if images else ""
    common = (QUICK if quick else {}) | {name: value for name, value in common.items() if value}
    settings = parameters_for(notebooks, parameters or {}, common)
    with alone(out):
        sweep(out)
        with _kernels(out):
            return _run(notebooks, out, settings, _earlier(out) if resume else {})


@contextlib.contextmanager
def _kernels(out: Path) -> Iterator[None]:
    """Kernels that are started meanwhile run in this Python, whatever is installed as `python3`, and know the run."""
    with tempfile.TemporaryDirectory() as folder:
        spec = Path(folder) / "kernels" / "python3" / "kernel.json"
        write_json(spec, get_kernel_dict())
        path = os.environ.get("JUPYTER_PATH")
        os.environ |= {INSIDE: str(out), "JUPYTER_PATH": os.pathsep.join(filter(None, [folder, path]))}
        try:
            yield
        finally:
            del os.environ[INSIDE], os.environ["JUPYTER_PATH"]
            os.environ |= {} if path is None else {"JUPYTER_PATH": path}


def _run(notebooks: list[Path], out: Path, settings: dict[str, dict], record: dict) -> dict:
    """One notebook after another, each with its parameters; `record` says what was done before, and then all."""
    names = ((found.name.replace("_", "-").lower(), found.version) for found in distributions())
    versions = {"python": platform.python_version()} | {name: version for name, version in names if name in LIBRARIES}
    done, fresh = record.get("notebooks", {}), False
    record |= {"versions": versions, "notebooks": done}
    for notebook in notebooks:
        shown = {name: value for name, value in settings[notebook.stem].items() if name != "RUN"}
        key = {"parameters": shown, "source": hashlib.sha256(notebook.read_bytes()).hexdigest()}
        earlier = done.get(notebook.stem, {})
        if not fresh and key.items() <= earlier.items() and (out / notebook.name).is_file():
            print(f"{notebook.stem:<32} done before  {earlier['headline']}", flush=True)
            continue
        fresh = True  # what comes later builds on this one
        done.pop(notebook.stem, None)
        seconds = execute(notebook, out, settings[notebook.stem])
        result = out / "results" / f"{notebook.stem}.json"
        headline = json.loads(result.read_text(encoding="utf-8"))["headline"] if result.is_file() else ""
        done[notebook.stem] = key | {"seconds": round(seconds, 1), "headline": headline}
        write_json(out / "run.json", record)
        print(f"{notebook.stem:<32} {seconds:>7.0f} s  {headline}", flush=True)
    return record


def execute(notebook: Path, out: Path, parameters: dict) -> float:
    """Run one notebook in a fresh kernel; the executed copy appears in `out` when it is whole. Returns seconds."""
    start, failed = time.monotonic(), out / f"{notebook.stem}.failed.ipynb"
    with replacing(out / notebook.name) as beside:
        try:
            papermill.execute_notebook(
                notebook,
                beside,
                parameters=parameters,
                kernel_name="python3",
                progress_bar=sys.stderr.isatty(),
                extra_arguments=["--IPKernelApp.log_level=CRITICAL"],  # its notes would break up the summary
            )
        except papermill.PapermillExecutionError as error:
            beside.replace(failed)
            raise RuntimeError(
                f"{notebook.name} failed at In [{error.exec_count}]: {error.ename}: "
                f"{(error.evalue.strip().splitlines() or ['no message'])[0]} "
                f"(look at {failed}, mend the cause, go on with --resume)"
            ) from error
    failed.unlink(missing_ok=True)
    return time.monotonic() - start


def _earlier(out: Path) -> dict:
    """What an earlier run wrote down; nothing if there was none."""
    file = out / "run.json"
    try:
        return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    except ValueError as error:
        raise InputError(f"{file} is damaged: run without --resume") from error
