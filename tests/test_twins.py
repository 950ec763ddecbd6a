import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import connected_components

from sneakerlib.cleaning import twins


def find(hashes, fine=None, thumbnails=None):
    """Twins by their hashes alone, where nothing else is said of them."""
    alike = np.zeros((len(hashes), 1), np.uint8)
    return twins.find(hashes, alike if fine is None else fine, alike if thumbnails is None else thumbnails)


def by_brute_force(hashes):
    """All pairs, the plain way."""
    differ = np.bitwise_count(hashes[:, None] ^ hashes[None, :]).astype(int)
    near = differ <= twins.BITS
    np.fill_diagonal(near, False)
    return differ, near, connected_components(near, directed=False)[1]


def same_partition(one, other):
    pairs = set(zip(one.tolist(), other.tolist(), strict=True))
    return len(pairs) == len(set(one.tolist())) == len(set(other.tolist()))


def check(hashes):
    hashes = np.array(hashes, np.uint64)
    differ, near, components = by_brute_force(hashes)
    found = find(hashes)
    assert same_partition(found.group, components)
    for at in range(len(hashes)):
        if near[at].any():
            assert near[at, found.nearest[at]]
            assert found.bits[at] == differ[at, found.nearest[at]] == differ[at][near[at]].min()
        else:
            assert (found.nearest[at], found.bits[at]) == (at, 0)


def flipped(code, rng, bits):
    return int(code) ^ sum(1 << int(bit) for bit in rng.choice(64, bits, replace=False))


@pytest.mark.parametrize("seed", range(5))
def test_the_same_groups_and_neighbours_as_comparing_all_pairs(seed):
    rng = np.random.default_rng(seed)
    hashes = [int(code) for code in rng.integers(0, 2**64, 100, np.uint64)]
    hashes += [flipped(rng.choice(np.array(hashes, np.uint64)), rng, bits) for bits in range(12) for _ in range(20)]
    rng.shuffle(hashes)
    check(hashes)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([0, 2**64 - 1, 0x0F0F0F0F0F0F0F0F]), st.sets(st.integers(0, 63), max_size=10)),
        min_size=1,
        max_size=25,
    )
)
def test_any_mixture_of_close_hashes(rows):
    check([code ^ sum(1 << bit for bit in bits) for code, bits in rows])


def test_the_order_does_not_matter():
    rng = np.random.default_rng(3)
    hashes = rng.integers(0, 2**10, 300).astype(np.uint64)  # close together: long chains
    order = rng.permutation(300)
    assert same_partition(find(hashes).group[order], find(hashes[order]).group)


def test_nothing_has_no_twins():
    assert len(find(np.array([], np.uint64)).group) == 0


def test_thumbnails_have_a_say():
    """Nearly the same hash, but other colours: no twins."""
    hashes = np.array([0, 1, 3, 3], np.uint64)
    thumbnails = np.array([[10] * 12, [14] * 12, [200] * 12, [203] * 12], np.uint8)
    found = find(hashes, thumbnails=thumbnails)
    assert same_partition(found.group, np.array([0, 0, 1, 1]))
    assert found.nearest.tolist() == [1, 0, 3, 2]
    assert found.bits.tolist() == [1, 1, 0, 0]


def test_the_finer_hash_has_a_say():
    hashes = np.array([0, 1], np.uint64)
    same, other = np.zeros((2, 32), np.uint8), np.array([[0] * 32, [255] * 5 + [0] * 27], np.uint8)
    assert find(hashes, same).nearest.tolist() == [1, 0]
    assert find(hashes, other).nearest.tolist() == [0, 1]
