"""Products of histories and weights between items, whether few or many are asked for."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperrec.products import Products, times_dense


def drawn(rng: np.random.Generator, shape: tuple[int, int], density: float) -> sp.csr_matrix:
    return sp.csr_matrix((rng.random(shape) < density) * rng.normal(size=shape).astype(np.float32))


@given(st.integers(0, 2**31), st.integers(1, 150), st.integers(1, 200), st.floats(0.0, 1.0))
@settings(max_examples=30, deadline=None)
def test_products_are_those_of_matrices(seed: int, n_items: int, n_users: int, density: float) -> None:
    rng = np.random.default_rng(seed)
    x, weights = drawn(rng, (n_users, n_items), density), drawn(rng, (n_items, n_items), density)
    before = rng.normal(size=(n_users, n_items)).astype(np.float32)
    scores = before.copy()
    Products(weights).add(x, scores)
    right = before.astype(float) + x.toarray().astype(float) @ weights.toarray()
    np.testing.assert_allclose(scores, right, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(times_dense(x, weights.toarray()), right - before, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("last", [40, 60], ids=["columns without weights", "all columns"])
def test_the_bits_of_a_row_do_not_depend_on_how_many_are_asked_for(last: int) -> None:
    rng = np.random.default_rng(0)
    x, weights = drawn(rng, (500, 60), 0.4), drawn(rng, (60, 60), 0.5).tolil()
    weights[:, last:], weights[5] = 0, 0
    products, before = Products(weights.tocsr()), rng.normal(size=(500, 60)).astype(np.float32)
    many = before.copy()
    products.add(x, many)
    assert x.nnz > 10 * 60  # dense
    one_by_one = before.copy()
    for row in range(500):
        line = one_by_one[row : row + 1]
        products.add(x[[row]], line)
    assert many.tobytes() == one_by_one.tobytes()
