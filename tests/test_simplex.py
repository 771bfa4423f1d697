"""Maximization on simplices: what the lemma promises, on functions whose maxima are known."""

from __future__ import annotations

import doctest
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import strategies
from hypothesis import given, settings
from hypothesis import strategies as st

import hyperrec as hr
from hyperrec.topics import simplex
from hyperrec.topics.simplex import ascent, maximize_on_simplices, norm

examples = settings(max_examples=40, deadline=None, derandomize=True)


def test_worked_example() -> None:
    result = doctest.testmod(simplex)
    assert result.attempted >= 4
    assert result.failed == 0


def test_norm_cuts_off_what_is_negative_and_tells_who_is_degenerate() -> None:
    rows, degenerate = norm(np.array([[1.0, -2.0, 3.0], [-1.0, 0.0, -1.0]]))
    np.testing.assert_allclose(rows, [[0.25, 0, 0.75], [0, 0, 0]])
    assert degenerate.tolist() == [False, True]


@examples
@given(strategies.seeded(), st.integers(1, 4), st.integers(1, 6))
def test_ascent_is_the_quadratic_form_of_the_lemma(rng: np.random.Generator, n_rows: int, n: int) -> None:
    w, g = strategies.simplex_rows(rng, n_rows, n, 0.3).astype(float), rng.normal(size=(n_rows, n))
    w /= w.sum(axis=1, keepdims=True)
    wanted = 0.5 * sum((g[j, i] - g[j, k]) ** 2 * w[j, i] * w[j, k] for j in range(n_rows) for i in range(n) for k in range(n))
    assert ascent([w], [g]) == pytest.approx(wanted, abs=1e-9)


@examples
@given(strategies.seeded(), st.integers(1, 5))
def test_a_short_step_rises_by_what_the_ascent_says(rng: np.random.Generator, n: int) -> None:
    """f(omega + s (new - omega)) - f(omega) = s sum_j H_j / lambda_j + o(s)."""
    a = rng.uniform(0.5, 2, n)
    w = rng.dirichlet(np.ones(n))
    g = a / (1 + w)  # of sum a ln(1 + w)
    new, _ = norm(w * g)
    s = 1e-6
    rise = (a * (np.log1p(w + s * (new - w)) - np.log1p(w))).sum() / s
    assert rise == pytest.approx(ascent([w], [g]) / (w @ g), rel=1e-3, abs=1e-6)


@examples
@given(strategies.seeded(), st.integers(2, 5), st.integers(2, 6), st.integers(1, 3))
def test_repeats_plsa(rng: np.random.Generator, n_docs: int, n_words: int, n_topics: int) -> None:
    """f(theta, phi) = sum n ln sum theta phi: each iteration is one of EM, its value never falls."""
    n = rng.integers(1, 9, (n_docs, n_words)).astype(float)
    theta, phi = rng.dirichlet(np.ones(n_topics), n_docs), rng.dirichlet(np.ones(n_words), n_topics)

    def gradient(theta: np.ndarray, phi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        ratio = n / (theta @ phi)
        return ratio @ phi.T, theta.T @ ratio

    def objective(theta: np.ndarray, phi: np.ndarray) -> float:
        return float((n * np.log(theta @ phi)).sum())

    found = maximize_on_simplices(gradient, [theta, phi], objective=objective, n_iterations=5, tolerance=0)
    for _ in range(5):
        p = theta[:, None, :] * phi.T[None]
        p *= (n / p.sum(axis=2))[:, :, None]
        theta, phi = p.sum(axis=1) / p.sum(axis=(1, 2))[:, None], (p.sum(axis=0) / p.sum(axis=(0, 1))).T
    np.testing.assert_allclose(found.omega[0], theta, rtol=1e-8)
    np.testing.assert_allclose(found.omega[1], phi, rtol=1e-8)
    values = [row["objective"] for row in found.history]
    assert (np.diff(values) >= 0).all()


def test_the_safeguard_never_lets_the_objective_fall() -> None:
    """x^T A x with a gradient near zero at a corner: whole steps swing from corner to corner, safe ones settle."""
    A = np.array([[0.0, 1.0], [1.0, 0.1]])
    start = np.array([0.9, 0.1])

    def objective(w: np.ndarray) -> float:
        return float(w @ A @ w)

    whole = maximize_on_simplices(lambda w: 2 * A @ w, start, n_iterations=30)
    path = [objective(start)]
    safe = maximize_on_simplices(lambda w: 2 * A @ w, start, objective=objective, n_iterations=300)
    path += [float(row["objective"]) for row in safe.history]
    assert (np.diff(path) >= 0).all()
    assert any(row["step"] < 1 for row in safe.history)
    best = max(objective(np.array([x, 1 - x])) for x in np.linspace(0, 1, 10_001))
    assert path[-1] == pytest.approx(best, rel=1e-5)
    assert "objective" not in whole.history[0]


def test_zeros_stay_and_negative_products_become_zeros() -> None:
    found = maximize_on_simplices(lambda w: np.array([1.0, 5.0, -1.0, 2.0]), np.array([0.4, 0.0, 0.3, 0.3]), n_iterations=1)
    np.testing.assert_allclose(found.omega[0], [0.4, 0, 0, 0.6])


def test_a_degenerate_vector_is_kept_and_counted() -> None:
    start = np.array([[0.5, 0.5], [0.25, 0.75]])
    found = maximize_on_simplices(lambda w: np.array([[-1.0, -2.0], [3.0, 1.0]]), start, n_iterations=1)
    np.testing.assert_allclose(found.omega[0], [[0.5, 0.5], [0.5, 0.5]])
    assert found.history[0]["degenerate"] == 1


def test_it_converges_to_a_constant_gradients_best_corner() -> None:
    found = maximize_on_simplices(lambda w: np.array([1.0, 2.0]), np.array([0.5, 0.5]), tolerance=1e-9)
    assert found.converged
    np.testing.assert_allclose(found.omega[0], [0, 1], atol=1e-8)
    assert found.history[-1]["ascent"] < found.history[0]["ascent"]


@pytest.mark.parametrize(
    ("gradient", "omega", "message"),
    [
        (lambda w: w, np.array([0.5, 0.6]), r"omega\[0\] must hold vectors that are not negative and sum to one"),
        (lambda w: w, np.array([1.5, -0.5]), "must hold vectors that are not negative"),
        (lambda w: w[:1], np.array([0.5, 0.5]), r"gradient must return arrays of the shapes \[\(2,\)\]; got \[\(1,\)\]"),
        (lambda w: w * np.nan, np.array([0.5, 0.5]), r"gradient\[0\] is nan or infinite where omega is positive"),
    ],
)
def test_wrong_input_is_one_line(gradient: Callable[..., Any], omega: np.ndarray, message: str) -> None:
    with pytest.raises(hr.ModelError, match=message):
        maximize_on_simplices(gradient, omega)


def test_it_is_public() -> None:
    assert hr.maximize_on_simplices is maximize_on_simplices
