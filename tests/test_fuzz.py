"""What strangers send: any request that the API's description allows or forbids, and pictures that are none.

SNEAKERLIB_FUZZ=5000 sends that many pictures instead of 600.
"""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from asking import ask, classify, png
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from mutations import mutated
from test_serving import process  # noqa: F401 (a fixture)

from sneakerlib import modelfolder, serving

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed: pip install -e '.[dev]'")
COUNT = int(os.environ.get("SNEAKERLIB_FUZZ", 600))
SLOWEST = 2  # seconds for an answer
GROWTH = 900  # MB above the memory at the start: two pictures of 25 million pixels with transparency at a time

schemathesis.openapi.media_type("image/*", st.sampled_from([png(seed) for seed in range(5)]))
schemathesis.openapi.format("picture", st.sampled_from([png(seed) for seed in range(5)]))


@pytest.fixture(scope="module")
def described(served):
    with serving.Server(modelfolder.load(served)) as server:
        yield schemathesis.openapi.from_url(f"{server.address}/openapi.json")


schema = schemathesis.pytest.from_fixture("described")


@schema.parametrize()
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
def test_the_api_does_what_its_description_says(case):
    case.call_and_validate()


def megabytes(pid, kind):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{kind}:")) / 1000


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc, which is not here")
def test_no_picture_brings_the_server_down(process):  # noqa: F811
    started, address = process
    classify(address, png(), path="/explain")  # everything is loaded
    before, seen = megabytes(started.pid, "VmRSS"), []

    def send(content):
        begun = time.monotonic()
        status, said = classify(address, content)
        return status, said["success"], time.monotonic() - begun

    with ThreadPoolExecutor(2) as pool:
        seen = list(pool.map(send, mutated(COUNT)))
    assert {status for status, _, _ in seen} <= {200, 400, 422}
    assert all(success == (status == 200) for status, success, _ in seen)
    assert {200, 422} <= {status for status, _, _ in seen}  # neither everything nor nothing is taken
    assert max(seconds for _, _, seconds in seen) < SLOWEST
    assert started.poll() is None
    assert megabytes(started.pid, "VmHWM") - before < GROWTH
    assert ask(address + "/healthz")[0] == 200
