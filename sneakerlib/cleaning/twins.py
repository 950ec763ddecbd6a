"""Find pictures that look the same among a million, by comparing perceptual hashes without comparing all pairs."""

from collections.abc import Iterator
from itertools import combinations, pairwise

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

# How much twins may differ: bits of 64 of the perceptual hash, by which they are found; bits of 256 of a finer one, and
# levels of 255 between their thumbnails on average, which must agree. Measured on four drawn samples (seeds 5 to 8):
# twins, cropped by 1 % on each side, shrunk and compressed again, differ by up to 6, 28 and 4.4; other pictures with up
# to 8 bits by 42 and 13 or more. On real photographs the finer hash tells shoes on white apart that fill one outline.
BITS, FINE_BITS, LEVELS = 8, 32, 8.0
# Hashes that differ in at most 8 of 64 bits agree in at least 3 of 11 bands (pigeonhole), so it suffices to compare
# those that agree in some 3 bands: 165 sorts. Fewer bands would compare chance neighbours; more would take more sorts.
AGREE = 3
EDGES = np.linspace(0, 64, BITS + AGREE + 1).astype(int).tolist()
BANDS = [(1 << high) - (1 << low) for low, high in pairwise(EDGES)]


def find(hashes: np.ndarray, fine: np.ndarray, thumbnails: np.ndarray) -> pd.DataFrame:
    """Join the pictures whose hashes differ in at most `BITS` bits, if finer hashes and thumbnails agree as well.

    Takes arrays of n uint64, of (n, m) and (n, k) uint8 (the bits of a finer hash, packed; thumbnails). Gives a row per
    hash: group (equal for all that are joined by a chain of twins), nearest (position of the most similar twin, its own
    where there is none) and bits (in how many that one differs).
    """
    count, none = len(hashes), np.empty((2, 0), int)
    one, other = pairs = np.concatenate([none, *_pairs(hashes, fine, thumbnails)], axis=1)
    links = coo_array((np.ones(len(one), bool), (one, other)), shape=(count, count))
    here, there = np.concatenate([pairs, pairs[::-1]], axis=1)
    order = np.lexsort((there, np.bitwise_count(hashes[here] ^ hashes[there]), here))  # of equals, the first
    at, best = np.unique(here[order], return_index=True)
    nearest = np.arange(count)
    nearest[at] = there[order][best]
    bits = np.bitwise_count(hashes ^ hashes[nearest])
    return pd.DataFrame({"group": connected_components(links, directed=False)[1], "nearest": nearest, "bits": bits})


def _pairs(hashes: np.ndarray, fine: np.ndarray, thumbnails: np.ndarray) -> Iterator[np.ndarray]:
    """Positions of twins, of shape (2, pairs), in portions; each pair under the first bands that it agrees in."""
    for chosen in combinations(range(len(BANDS)), AGREE):
        keys = hashes & np.uint64(sum(BANDS[at] for at in chosen))
        before = np.array([BANDS[at] for at in range(chosen[-1]) if at not in chosen], np.uint64)
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        left, step = np.flatnonzero(keys[1:] == keys[:-1]), 1  # in sorted order, equal keys stand side by side
        while len(left):
            pair = order[np.stack([left, left + step])]
            differ = hashes[pair[0]] ^ hashes[pair[1]]
            pair = pair[:, (np.bitwise_count(differ) <= BITS) & (differ[:, None] & before).all(axis=1)]
            pair = pair[:, np.bitwise_count(fine[pair[0]] ^ fine[pair[1]]).sum(axis=1) <= FINE_BITS]
            levels = np.abs(thumbnails[pair[0]].astype(np.int16) - thumbnails[pair[1]])
            yield pair[:, levels.mean(axis=1) <= LEVELS]
            step += 1
            left = left[left + step < len(keys)]
            left = left[keys[left + step] == keys[left]]
