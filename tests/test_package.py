import subprocess
import sys

HEAVY = ("tensorflow", "keras", "pandas", "matplotlib", "sklearn", "papermill")


def test_importing_the_package_loads_nothing_heavy():
    code = f"import sys, sneakerlib; print([name for name in {HEAVY} if name in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_reading_and_cleaning_need_no_tensorflow():
    modules = "catalog, plots, cleaning.audit, sample.dataset, scraping.collect, review.corrections, review.suspects"
    imports = "; ".join(f"import sneakerlib.{module}" for module in modules.split(", "))
    code = f"import sys; {imports}; print('tensorflow' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "False"


def test_tensorflow_starts_without_its_notes_but_errors_still_show():
    code = "from sneakerlib.learning.quiet import keras; import sys; print('an error', file=sys.stderr)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stderr == "an error\n"
