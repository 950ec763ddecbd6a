"""Find pictures that look the same among a million, by comparing perceptual hashes without comparing all pairs."""

from itertools import combinations, pairwise
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

# How much twins may differ: bits of 64 of the perceptual hash, by which they are found; bits of 256 of a finer one, and
# levels of 255 between their thumbnails on average, which must agree. Measured on four drawn samples (seeds 5 to 8):
# twins, cropped by 1 % on each side, shrunk and compressed again, differ by up to 6, 28 and 4.4; other pictures with up
# to 8 bits by 42 and 13 or more. On real photographs the finer hash tells shoes on white apart that fill one outline.
BITS, FINE_BITS, LEVELS = 8, 32, 8.0
# Hashes that differ in at most 8 of 64 bits agree in at least 3 of 11 bands (pigeonhole), so it suffices to compare
# those that agree in some 3 bands: 165 sorts. Fewer bands would compare chance neighbours; more would take more sorts.
BANDS = BITS + 3
AGREE = BANDS - BITS


class Twins(NamedTuple):
    """What `find` says of each hash.

    Attributes:
        group: Array of shape (n,), int: equal for hashes that are joined by a chain of twins.
        nearest: Array of shape (n,), int: position of the most similar twin; its own where there is none.
        bits: Array of shape (n,), int: in how many bits that one differs; 0 where there is none.
    """

    group: np.ndarray
    nearest: np.ndarray
    bits: np.ndarray


def find(hashes: np.ndarray, fine: np.ndarray | None = None, thumbnails: np.ndarray | None = None) -> Twins:
    """Join the pictures whose hashes differ in at most `BITS` bits, if finer hashes and thumbnails agree as well.

    Args:
        hashes: Array of shape (n,), uint64.
        fine: Array of shape (n, m), uint8: the bits of a finer hash, packed. Defaults to none.
        thumbnails: Array of shape (n, k), uint8. Defaults to none.

    >>> find(np.array([0b1111, 0b1110, 2**64 - 1], np.uint64)).group.tolist()
    [0, 0, 1]
    """
    hashes = np.asarray(hashes, np.uint64)
    group = np.arange(len(hashes))
    nearest, bits = group.copy(), np.full(len(hashes), BITS + 1)
    for mask in _masks():
        for one, other, differ in _pairs(hashes, mask):
            if fine is not None:
                alike = np.bitwise_count(fine[one] ^ fine[other]).sum(axis=1) <= FINE_BITS
                one, other, differ = one[alike], other[alike], differ[alike]
            if thumbnails is not None:
                alike = _levels(thumbnails, one, other) <= LEVELS
                one, other, differ = one[alike], other[alike], differ[alike]
            for here, there in ((one, other), (other, one)):
                _note_nearest(nearest, bits, here, there, differ)
            group = _joined(group, one, other)
    return Twins(group, nearest, np.where(nearest == np.arange(len(hashes)), 0, bits))


def _levels(thumbnails: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """How much pairs of thumbnails differ on average."""
    differ = thumbnails[one].astype(np.int16) - thumbnails[other]
    return np.abs(differ).mean(axis=1)


def _masks():
    """Every choice of `AGREE` bands, as the bits that belong to it."""
    edges = np.linspace(0, 64, BANDS + 1).astype(int)
    bands = [((1 << high) - (1 << low)) for low, high in pairwise(edges)]
    return [np.uint64(sum(chosen)) for chosen in combinations(bands, AGREE)]


def _pairs(codes: np.ndarray, mask: np.uint64):
    """Twins among the codes that agree under a mask, in portions: positions of both, and the bits that differ."""
    keys = codes & mask
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    left = np.flatnonzero(keys[1:] == keys[:-1])  # in sorted order, equal keys stand side by side
    step = 1
    while len(left):
        one, other = order[left], order[left + step]
        differ = np.bitwise_count(codes[one] ^ codes[other])
        close = differ <= BITS
        yield one[close], other[close], differ[close].astype(int)
        step += 1
        left = left[left + step < len(keys)]
        left = left[keys[left + step] == keys[left]]


def _note_nearest(nearest, bits, here, there, differ) -> None:
    """Keep the most similar twin of each; among equals the first in the order of the hashes, whatever comes first."""
    order = np.lexsort((there, differ, here))
    here, there, differ = here[order], there[order], differ[order]
    best = np.flatnonzero(np.r_[True, here[1:] != here[:-1]]) if len(here) else order
    here, there, differ = here[best], there[best], differ[best]
    better = (differ < bits[here]) | ((differ == bits[here]) & (there < nearest[here]))
    nearest[here[better]], bits[here[better]] = there[better], differ[better]


def _joined(group: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    apart = group[one] != group[other]
    if not apart.any():
        return group
    size = len(group)
    links = coo_array((np.ones(apart.sum(), bool), (group[one[apart]], group[other[apart]])), shape=(size, size))
    return connected_components(links, directed=False)[1][group]
