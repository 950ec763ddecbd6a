"""Group a million generated hashes, one in ten of them a twin, and watch the time and the memory grow.

Run with `make bench`.
"""

import resource
import time

import numpy as np

from sneakerlib.cleaning import twins


def hashes(count: int) -> np.ndarray:
    """Random codes, every tenth a copy of another with up to `BITS` bits changed, in random order."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 2**64, count, np.uint64)
    copied = rng.choice(count, count // 10, replace=False)
    for _ in range(twins.BITS):
        codes[copied] = codes[(copied + 1) % count] if _ == 0 else codes[copied]
        codes[copied] ^= np.uint64(1) << rng.integers(0, 64, len(copied)).astype(np.uint64)
    return codes


def main() -> None:
    """Print a line per size."""
    for count in (1_000, 10_000, 100_000, 1_000_000):
        codes = hashes(count)
        thumbnails = np.full((count, 192), 128, np.uint8)  # all alike: every pair has to be looked at
        begun = time.monotonic()
        found = twins.find(codes, np.zeros((count, 32), np.uint8), thumbnails)
        seconds = time.monotonic() - begun
        gigabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        groups = len(np.unique(found.group))
        each = seconds / count * 1e6
        print(f"{count:>9} hashes {groups:>8} groups {seconds:7.2f} s {each:6.1f} µs each {gigabytes:5.2f} GB")


if __name__ == "__main__":
    main()
