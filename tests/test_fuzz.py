"""What strangers send: any request that the API's description allows or forbids, and pictures that are none.

SNEAKERLIB_FUZZ=50000 make trial sends that many pictures instead of 5,000.
"""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from asking import ask, classify, png
from mutations import largest, mutated
from test_serving import process  # noqa: F401 (a fixture)

from sneakerlib.pictures import open_rgb

FEW, MANY = 300, int(os.environ.get("SNEAKERLIB_FUZZ", 5000))  # pictures, in `make test` and in `make trial`
SLOWEST = 2  # seconds for an answer, on a machine that has nothing else to do
GROWTH = 900  # MB above the memory at the start: two pictures of 25 million pixels with transparency at a time


@pytest.mark.parametrize("examples", [5, pytest.param(50, marks=pytest.mark.trial)])
def test_the_api_does_what_its_description_says(process, tmp_path, examples):  # noqa: F811
    """Requests that the OpenAPI document allows, and others that it forbids: each gets an answer that it promises."""
    pytest.importorskip("schemathesis", reason="schemathesis is not installed: pip install -e '.[dev]'")
    hooks = {"PYTHONPATH": str(Path(__file__).parent), "SCHEMATHESIS_HOOKS": "hooks_of_schemathesis"}
    command = [Path(sys.executable).parent / "schemathesis", "run", f"{process[1]}/openapi.json"]
    how = ["--seed", "1", "--max-examples", str(examples), "--no-color"]
    shown = subprocess.run(
        [*command, *how], env=os.environ | hooks, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert shown.returncode == 0, shown.stdout[-4000:] + shown.stderr
    assert "5 selected / 5 total" in shown.stdout


def megabytes(pid, kind):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{kind}:")) / 1000


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc, which is not here")
@pytest.mark.parametrize("count", [FEW, pytest.param(MANY, marks=pytest.mark.trial)])
def test_no_picture_brings_the_server_down(process, count):  # noqa: F811
    started, address, _ = process
    classify(address, png(), path="/explain")  # everything is loaded
    before, seen = megabytes(started.pid, "VmRSS"), []

    def send(content):
        begun = time.monotonic()
        status, said = classify(address, content)
        return status, said["success"], time.monotonic() - begun

    with ThreadPoolExecutor(2) as pool:
        seen = list(pool.map(send, mutated(count)))
    assert {status for status, _, _ in seen} <= {200, 400, 413, 422}
    assert all(success == (status == 200) for status, success, _ in seen)
    assert {200, 422} <= {status for status, _, _ in seen}  # neither everything nor nothing is taken
    begun = time.monotonic()
    open_rgb(largest(), 64)
    alone = time.monotonic() - begun  # on this machine, as busy as it is now
    assert max(seconds for _, _, seconds in seen) < max(SLOWEST, 4 * alone)
    assert started.poll() is None
    assert megabytes(started.pid, "VmHWM") - before < GROWTH
    assert ask(address + "/healthz")[0] == 200
