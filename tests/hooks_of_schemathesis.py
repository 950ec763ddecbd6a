"""Loaded by schemathesis: what a valid picture is, for requests that have to be accepted."""

import schemathesis
from asking import png
from hypothesis import strategies

schemathesis.openapi.format("binary", strategies.sampled_from([png(seed) for seed in range(5)]))
