"""Scores of topics: worked by hand, beside plain loops, at their edges, and what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from math import log, sqrt
from typing import Any

import naive
import numpy as np
import pytest
import scipy.sparse as sp
import strategies
from hypothesis import given, settings
from hypothesis import strategies as st

import hyperrec as hr
from hyperrec.topics import scores

examples = settings(max_examples=60, deadline=None, derandomize=True)

# Four vertices, two topics; four documents.
PHI = np.array([[0.5, 0.0], [0.5, 0.0], [0.0, 0.5], [0.0, 0.5]])
MIXED = np.array([[0.64, 0.0], [0.36, 0.36], [0.0, 0.64]])
DOCUMENTS = sp.csr_matrix(np.array([[2, 1, 0, 0], [3, 0, 1, 0], [0, 0, 1, 4], [1, 1, 0, 0]]))


@st.composite
def tables(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """phi (V, T), some of its topics dead, theta (D, T), p(t), and counts (D, V) in which every vertex is somewhere."""
    rng = draw(strategies.seeded())
    n_vertices, n_topics, n_documents = draw(st.integers(2, 12)), draw(st.integers(2, 6)), draw(st.integers(1, 9))
    phi = strategies.simplex_rows(rng, n_topics, n_vertices, draw(st.sampled_from([0.0, 0.5]))).T.astype(np.float64)
    phi[:, 2:] *= rng.random(n_topics - 2) < 0.8
    counts = rng.integers(1, 5, (n_documents, n_vertices)) * (rng.random((n_documents, n_vertices)) < rng.random())
    counts[rng.integers(n_documents, size=n_vertices), np.arange(n_vertices)] += 1
    theta = strategies.simplex_rows(rng, n_documents, n_topics, 0.0)
    return phi, theta, strategies.simplex_rows(rng, 1, n_topics, 0.0)[0].astype(np.float64), counts


# ------------------------------------------------------------------------------------------------ by hand


def test_sparsity_by_hand() -> None:
    assert scores.sparsity(PHI) == 0.5
    assert scores.sparsity(MIXED, threshold=0.36) == pytest.approx(4 / 6)


def test_distinctness_by_hand() -> None:
    assert scores.distinctness(PHI) == 1
    assert scores.distinctness(np.full((4, 3), 0.25)) == pytest.approx(0, abs=1e-7)
    assert scores.distinctness(MIXED) == pytest.approx(sqrt(1 - 0.36))  # 0.36 in both: sqrt(0.36 * 0.36) = 0.36
    of_three = np.column_stack([MIXED, [0.0, 0.0, 1.0]])  # sqrt(0.64) shared by the second and third, nothing by the first
    assert scores.distinctness(of_three) == pytest.approx((sqrt(1 - 0.36) + 1 + sqrt(1 - 0.8)) / 3)


def test_jaccard_by_hand() -> None:
    assert scores.jaccard(MIXED, k=2) == pytest.approx(1 / 3)  # {0, 1} and {2, 1}
    assert scores.jaccard(MIXED, k=1) == 0
    assert scores.jaccard(MIXED, k=100) == 1


def test_coherence_by_hand() -> None:
    """Vertices 0 and 1 are in 3 and 2 of 4 documents, in 2 together; 2 and 3 in 2 and 1, in 1 together."""
    first = log(2 / 4 / (3 / 4 * 2 / 4)) / -log(2 / 4)
    second = log(1 / 4 / (2 / 4 * 1 / 4)) / -log(1 / 4)
    assert scores.coherence(PHI, DOCUMENTS, k=2) == pytest.approx((first + second) / 2)
    assert scores.coherence(PHI, DOCUMENTS, k=2, measure="umass") == pytest.approx((log((2 + 1) / 3) + log((1 + 1) / 2)) / 2)


def test_npmi_at_its_ends() -> None:
    one = np.array([[0.6], [0.4]])
    never, always, everywhere, apart, unknown = [[1, 0], [0, 1]], [[1, 1], [0, 0]], [[1, 1]], [[1, 1], [1, 0]], [[1, 0]]
    for rows, wanted in ((never, -1), (always, 1), (everywhere, 0), (apart, 0), (unknown, -1)):
        assert scores.coherence(one, sp.csr_matrix(np.array(rows))) == pytest.approx(wanted, abs=1e-12)


def test_perplexity_by_hand() -> None:
    """A model that guesses among the two words of the document's topic, and one that knows nothing of four."""
    documents = sp.csr_matrix(np.array([[3, 1, 0, 0], [0, 0, 2, 2]]))
    assert scores.perplexity(PHI, np.eye(2), documents) == pytest.approx(2)
    assert scores.perplexity(PHI, np.full((2, 2), 0.5), documents) == pytest.approx(4)
    assert scores.perplexity(PHI, np.eye(2)[::-1], documents) == np.inf


def test_kernel_by_hand() -> None:
    """At p(t) = (3/4, 1/4) vertex 1 has p(t|v) = (3/4, 1/4): above a quarter in the first topic alone."""
    found = scores.kernel(MIXED, np.array([0.75, 0.25]))
    assert found.size == (2 + 1) / 2
    assert found.purity == pytest.approx((1 + 0.64) / 2)
    assert found.contrast == pytest.approx(((1 + 0.75) / 2 + 1) / 2)
    assert scores.kernel(np.full((4, 5), 0.25), np.full(5, 0.2)) == (0, 0, 0)


def test_completion_by_hand() -> None:
    """The half that is told leaves one topic of two words; of a word in both topics half of the chance goes to the other topic."""
    documents = sp.csr_matrix(np.array([[40, 40, 0, 0], [0, 0, 60, 60], [1, 0, 0, 0]]))
    assert scores.completion(PHI, np.full(2, 0.5), documents) == pytest.approx(2)
    uniform = np.full((4, 2), 0.25)
    assert scores.completion(uniform, np.array([0.9, 0.1]), documents, seed=3) == pytest.approx(4)
    assert scores.completion(PHI, np.array([1.0, 0.0]), documents[[0]]) == pytest.approx(2)
    assert scores.completion(PHI, np.array([1.0, 0.0]), documents[[1]]) == np.inf  # the other topic can never come up


def test_windows_by_hand() -> None:
    found = scores.windows([np.array([0, 1, 1, 2]), np.array([3]), np.array([], int)], 5, width=3)
    assert found.toarray().tolist() == [[1, 1, 0, 0, 0], [0, 1, 1, 0, 0], [0, 0, 0, 1, 0]]
    assert scores.windows([], 4).shape == (0, 4)
    near = scores.windows([np.array([0, 1, 0, 1, 2, 3, 2, 3])], 4, width=2)
    documents = sp.csr_matrix(np.ones((1, 4)))
    assert scores.coherence(PHI, near, k=2) > scores.coherence(PHI, documents, k=2)


def test_mass_and_background_by_hand() -> None:
    assert scores.mass(np.array([0.2, 0.5, 0.3])).tolist() == [0.5, 0.3, 0.2]
    uniform = np.full(2, 0.5)  # vertex 1 of MIXED is in both topics alike: 0.36 of the occurrences; the others have one topic
    assert scores.background(MIXED, uniform) == pytest.approx(0.36)
    assert scores.background(MIXED, np.array([1.0, 0.0])) == pytest.approx(1)  # all is of the only topic
    assert scores.background(PHI, uniform) == 0


# ------------------------------------------------------------------------------------------------ beside plain loops


@examples
@given(tables(), st.integers(2, 12), st.sampled_from([1e-9, 0.1, 0.3]))
def test_scores_match_naive(problem: tuple[np.ndarray, ...], k: int, threshold: float) -> None:
    phi, theta, prior, counts = problem
    documents = sp.csr_matrix(counts)
    assert scores.sparsity(phi, threshold=threshold) == pytest.approx(naive.sparsity(phi, threshold))
    assert scores.distinctness(phi) == pytest.approx(naive.distinctness(phi), abs=1e-6)
    assert scores.jaccard(phi, k=k) == pytest.approx(naive.jaccard(phi, k))
    for measure in ("npmi", "umass"):
        found = scores.coherence(phi, documents, k=k, measure=measure)
        assert found == pytest.approx(naive.coherence(phi, counts, k, measure), abs=1e-9)
    assert scores.kernel(phi, prior, threshold=threshold) == pytest.approx(naive.kernel(phi, prior, threshold))
    threshold *= 10
    assert scores.background(phi, prior, threshold=threshold) == pytest.approx(naive.background(phi, prior, threshold))
    rows = np.random.default_rng(k).integers(len(phi), size=3 * k)
    texts = [rows[: 2 * k], rows[2 * k : 2 * k + 2]]
    np.testing.assert_array_equal(scores.windows(texts, len(phi), width=k).toarray(), naive.windows(texts, len(phi), k))
    full, many = (phi + 0.1) / (phi + 0.1).sum(axis=0), counts + 1
    kept = np.random.default_rng(k).binomial(sp.csr_matrix(many).data.astype(np.int64), 0.5).reshape(many.shape)
    found = scores.completion(full, prior, sp.csr_matrix(many), iterations=4, seed=k)
    assert found == pytest.approx(naive.completion(full, prior, kept, many - kept, 4))
    covered = counts * (theta @ phi.T > 0)
    if covered.sum():
        assert scores.perplexity(phi, theta, sp.csr_matrix(covered)) == pytest.approx(naive.perplexity(phi, theta, covered))


@examples
@given(tables(), strategies.seeded())
def test_names_of_vertices_topics_and_documents_say_nothing(problem: tuple[np.ndarray, ...], rng: np.random.Generator) -> None:
    phi, theta, prior, counts = problem
    phi = phi * np.exp(rng.uniform(0, 1e-3, phi.shape))  # no ties: of equal vertices the first is taken
    phi /= np.maximum(phi.sum(axis=0), 1e-300)
    v, t, d = (rng.permutation(n) for n in (*phi.shape, len(counts)))
    renamed, documents = phi[v][:, t], sp.csr_matrix(counts[d][:, v])
    assert scores.distinctness(renamed) == pytest.approx(scores.distinctness(phi), abs=1e-6)
    assert scores.kernel(renamed, prior[t]) == pytest.approx(scores.kernel(phi, prior))
    assert scores.perplexity(renamed, theta[d][:, t], documents) == pytest.approx(
        scores.perplexity(phi, theta, sp.csr_matrix(counts))
    )
    if (phi > 0).all():
        assert scores.jaccard(renamed, k=3) == pytest.approx(scores.jaccard(phi, k=3))
        assert scores.coherence(renamed, documents) == pytest.approx(scores.coherence(phi, sp.csr_matrix(counts)))


def test_perplexity_in_blocks_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    phi, theta = strategies.simplex_rows(rng, 5, 30, 0.0).T, strategies.simplex_rows(rng, 40, 5, 0.0)
    documents = sp.csr_matrix(rng.integers(0, 3, (40, 30)))
    whole = scores.perplexity(phi, theta, documents)
    monkeypatch.setattr(scores, "BLOCK", 70)
    assert scores.perplexity(phi, theta, documents) == pytest.approx(whole)


def test_documents_may_hold_zeros_and_repeat_a_cell() -> None:
    cells = (np.array([1, 1, 0, 5]), (np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1])))
    repeated, plain = sp.csr_matrix(sp.coo_matrix(cells, (2, 2))), sp.csr_matrix(np.array([[2, 0], [0, 5]]))
    one, theta = np.array([[0.7], [0.3]]), np.ones((2, 1))
    for score in (scores.coherence, lambda phi, documents: scores.perplexity(phi, theta, documents)):
        assert score(one, repeated) == pytest.approx(score(one, plain))


def test_scores_of_a_model(model: hr.TopicModel, films: hr.Hypergraph) -> None:
    """Three planted genres: distinct, coherent, told by their kernels, and better than no topics."""
    phi, seen = model.phi("item"), model.seen
    np.testing.assert_allclose(phi.sum(axis=0), 1, rtol=1e-5)
    best = model.topics("item", k=5)
    rows = model.vocabularies["item"].rows(best["id"])
    np.testing.assert_allclose(phi[rows, best["topic"]], best["probability"], rtol=1e-5)
    one_topic = model.counts[model._rows("item")][:, None] / model.counts[model._rows("item")].sum()
    assert hr.scores.distinctness(phi) > 0.8
    assert hr.scores.coherence(phi, seen) > 0.1
    assert hr.scores.kernel(phi, model.state.prior).purity > 0.8
    without = hr.scores.perplexity(one_topic, np.ones((seen.shape[0], 1)), seen)
    assert hr.scores.perplexity(phi, model.embedding("user"), seen) < 0.8 * without


# ------------------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: scores.sparsity(np.zeros(3)), "phi must be a table of probabilities, two axes, finite and not negative; got (3"),
        (lambda: scores.sparsity(-PHI), "finite and not negative; got (4, 2)."),
        (lambda: scores.sparsity(np.full((2, 2), np.nan)), "finite and not negative; got (2, 2)."),
        (lambda: scores.distinctness(2 * PHI), "columns sum to one; one sums to 2. model.phi(modality) is one."),
        (lambda: scores.distinctness(0 * PHI), "columns sum to one; all are zeros. model.phi(modality) is one."),
        (lambda: scores.distinctness(PHI[:, :1]), "pairs of topics are compared, and there is one topic only."),
        (lambda: scores.jaccard(PHI, k=0), "k must be a whole number, 1 or more, of as many vertices; got 0 of 4."),
        (lambda: scores.coherence(PHI, DOCUMENTS, k=1), "k must be a whole number, 2 or more, of as many vertices; got 1 of 4."),
        (lambda: scores.coherence(np.ones((1, 1)), DOCUMENTS[:, :1]), "2 or more, of as many vertices; got 10 of 1."),
        (lambda: scores.coherence(PHI, DOCUMENTS, measure="uci"), "measure must be 'npmi' or 'umass'; got 'uci'."),
        (lambda: scores.coherence(PHI, DOCUMENTS[:0]), "coherence needs documents; got none."),
        (lambda: scores.coherence(PHI, DOCUMENTS[:, :3]), "documents must be a sparse matrix (D, V) with V = 4; got (4, 3)."),
        (lambda: scores.coherence(PHI, DOCUMENTS.toarray()), "documents must be a sparse matrix (D, V) with V = 4; got ndarray."),
        (lambda: scores.coherence(PHI, -DOCUMENTS), "documents must hold counts, finite and not negative."),
        (lambda: scores.coherence(PHI, DOCUMENTS[:2], measure="umass"), "umass: no document has vertex 3, one of the 4 most prob"),
        (lambda: scores.perplexity(PHI, np.ones((4, 3)), DOCUMENTS), "theta must be (D, T) = (4, 2); got (4, 3)."),
        (lambda: scores.perplexity(PHI, np.ones((4, 2)), 0 * DOCUMENTS), "perplexity needs documents with counts; got none."),
        (lambda: scores.completion(PHI, np.ones(3), DOCUMENTS), "prior must be p(t), (T,) = (2,); got (3,)."),
        (lambda: scores.completion(PHI, np.ones(2), DOCUMENTS / 2), "two halves: documents must hold whole counts."),
        (lambda: scores.completion(PHI, np.ones(2), sp.eye_array(4, format="csr")), "of two occurrences or more; got none."),
        (lambda: scores.windows([np.array([4])], 4), "windows: vertices are 0 to 3; got 4 to 4."),
        (lambda: scores.windows([], 4, width=1), "width must be a whole number, 2 or more; got 1."),
        (lambda: scores.mass(np.array([0.2, 0.2])), "p(t), (T,), not negative, and sum to one; got array([0.2, 0.2])."),
        (lambda: scores.background(PHI, np.ones(3)), "prior must be p(t), (T,) = (2,); got (3,)."),
        (lambda: scores.kernel(PHI, np.ones(3)), "prior must be p(t), (T,) = (2,); got (3,)."),
    ],
)
def test_refuses(ask: Callable[[], Any], message: str) -> None:
    with pytest.raises(hr.ModelError) as caught:
        ask()
    assert message in str(caught.value)
