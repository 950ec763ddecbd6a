"""Hold every notebook to the template: prints what is wrong, exits 1 if anything is."""

import ast
import json
import re
import statistics
import sys
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parent.parent
BADGE = "https://colab.research.google.com/github/sneakerlib/sneakerlib/blob/main/"
LINES = range(60, 201)  # of code in a notebook: less says too little, more cannot be stepped through in a sitting
MEDIAN, LONGEST, FUNCTION = 5, 25, 25  # lines of a cell in the middle, of the longest cell, of a function


def lint(notebook: Path, root: Path | None = None) -> list[str]:
    """What is wrong with one notebook, a line per problem; empty if nothing is."""
    root = root or ROOT
    ids = [cell["id"] for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]]  # reading would mend them
    book = nbformat.read(notebook, as_version=4)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    text = "\n".join(cell.source for cell in book.cells if cell.cell_type == "markdown")
    problems = ["two cells have one id: give them different ones"] if len(set(ids)) < len(ids) else []
    problems += [*_saved_clean(book, code), *_prose(notebook, root, book, text)]
    problems += [*_lengths(code), *_parameters(code), *_checks(code)]
    if f'save_result("{notebook.stem}"' not in "\n".join(cell.source for cell in code).replace("\n    ", ""):
        problems.append(f'no `run.save_result("{notebook.stem}", headline, …)`: the batch runner quotes it')
    return problems


def _tags(cell) -> list[str]:
    return cell.metadata.get("tags", [])


def _saved_clean(book, code: list):
    if any(cell.outputs or cell.execution_count for cell in code):
        yield "it is saved with outputs: run `nbstripout --keep-id` on it"
    if any(set(cell.metadata) - {"tags"} for cell in book.cells) or set(book.metadata) - {
        "kernelspec",
        "language_info",
    }:
        yield "it carries metadata beside tags: run `nbstripout --keep-id` on it"


def _prose(notebook: Path, root: Path, book, text: str):
    titles = re.findall(r"^# .+", text, re.MULTILINE)
    if len(titles) != 1 or not book.cells[0].source.startswith(f"# {notebook.name[:2]} · "):
        yield f"it needs one H1, in the first cell, that begins with `# {notebook.name[:2]} · `"
    if f"({BADGE}{notebook.relative_to(root).as_posix()})" not in book.cells[0].source:
        yield "the badge in the first cell does not open this very file"
    for part in ("**You will**", "## Setup", "## Summary", "**Next:**"):
        if part not in text:
            yield f"the template's part `{part}` is missing"


def _lengths(code: list):
    lengths = [len([line for line in cell.source.splitlines() if line.strip()]) for cell in code]
    if sum(lengths) not in LINES:
        yield f"{sum(lengths)} lines of code: {LINES.start} to {LINES.stop - 1} are wanted"
    if statistics.median(lengths) > MEDIAN:
        yield f"the cell in the middle has {statistics.median(lengths):g} lines: cut cells, {MEDIAN} are enough"
    if max(lengths) > LONGEST:
        yield f"a cell has {max(lengths)} lines: {LONGEST} at the most"
    for cell in code:
        plain = re.sub(r"^(\s*)[%!].*$", r"\1pass", cell.source, flags=re.MULTILINE)  # magics are no Python
        for node in ast.walk(ast.parse(plain)):
            if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno >= FUNCTION:
                yield f"function {node.name} is longer than {FUNCTION} lines: move it to the package"


def _parameters(code: list):
    cells = [cell for cell in code if "parameters" in _tags(cell)]
    if len(cells) != 1:
        yield f"{len(cells)} cells are tagged `parameters`: one is wanted"
        return
    for node, line in zip(ast.parse(cells[0].source).body, cells[0].source.splitlines(), strict=False):
        simple = isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and len(node.targets) == 1
        if not simple or not node.targets[0].id.isupper():
            yield f"the parameters cell holds `{line}`: NAME = literal is wanted, nothing else is recomputed"
        elif "  # " not in line:
            yield f"the parameter {node.targets[0].id} does not say what it is for"


def _checks(code: list):
    cells = [cell for cell in code if "check" in _tags(cell)]
    if not cells:
        yield "no cell is tagged `check`: the notebook must say itself whether a step worked"
    for cell in cells:
        if "assert " not in cell.source or 'print(f"✓ ' not in cell.source.replace('print("✓ ', 'print(f"✓ '):
            yield f"a check cell must assert and print a line with ✓: {cell.source.splitlines()[0]}"


def main(paths: list[str]) -> int:
    """Lint the named notebooks, or all."""
    notebooks = [Path(path).resolve() for path in paths] or sorted((ROOT / "notebooks").glob("*.ipynb"))
    problems = [f"{notebook.relative_to(ROOT)}: {problem}" for notebook in notebooks for problem in lint(notebook)]
    print("\n".join(problems) if problems else f"{len(notebooks)} notebooks follow the template")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
