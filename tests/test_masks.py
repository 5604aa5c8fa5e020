"""Masks are sets of rows: every operation is the set's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.masks import Mask, masks_of

pairs = st.integers(1, 40).flatmap(
    lambda n: st.tuples(st.just(n), st.sets(st.integers(0, n - 1)), st.sets(st.integers(0, n - 1)))
)


@given(pairs)
def test_masks_combine_as_sets_do(drawn):
    n, one, other = drawn
    a, b = Mask.of_rows(one, n), Mask.of_rows(other, n)
    for mask, wanted in ((a & b, one & other), (a | b, one | other), (~a, set(range(n)) - one), (a & ~b, one - other)):
        assert mask.rows.tolist() == sorted(wanted)
        assert mask.count == len(wanted)
    assert a.holds(np.arange(-1, n, dtype=np.int32)).tolist() == [False, *(row in one for row in range(n))]
    assert a.part(n // 3, n).rows.tolist() == sorted(row - n // 3 for row in one if row >= n // 3)
    assert a.grown(3).rows.tolist() == [*sorted(one), n, n + 1, n + 2]


def test_masks_of_an_attribute_part_the_catalogue():
    masks = masks_of(np.array(["jazz", "rock", "jazz"]))
    assert {name: mask.rows.tolist() for name, mask in masks.items()} == {"jazz": [0, 2], "rock": [1]}


def test_what_is_no_mask_is_refused_with_both_numbers():
    with pytest.raises(ValueError, match=r"bits are uint8 \(3,\): 9 items need uint8 \(2,\)"):
        Mask(np.zeros(3, np.uint8), 9)
    with pytest.raises(ValueError, match=r"allowed is int64 \(2,\): bool \(n,\) was wanted"):
        Mask.of(np.array([0, 1]))
    with pytest.raises(ValueError, match="rows reach from 0 to 7: there are 7 items"):
        Mask.of_rows([0, 7], 7)
    with pytest.raises(ValueError, match="one mask is over 3 items and the other over 4: n must match"):
        Mask.of_rows([], 3) & Mask.of_rows([], 4)
