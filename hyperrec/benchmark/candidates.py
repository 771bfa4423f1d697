"""The peers of hyperrec in each situation, and how their options are drawn."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import scipy.sparse as sp

from hyperrec.benchmark import content
from hyperrec.benchmark.histories import Markov, OwnHistory, in_order
from hyperrec.benchmark.ials import FrequencyScaledALS
from hyperrec.benchmark.search import ByRows, Candidate, Options, Scored
from hyperrec.benchmark.task import Task
from hyperrec.peers import EASE, ImplicitALS, ItemKNN, Popularity

EASE_SIDE = 12_000  # its matrix over items, or over users, takes gigabytes above, and OpenBLAS may crash


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Between 10^low and 10^high, to three significant digits."""
    return float(f"{10 ** rng.uniform(low, high):.3g}")


def uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return round(float(rng.uniform(low, high)), 3)


POWERS = (0.0, 1.5)  # of the weights of pairs, where they differ; 0: all pairs are alike
OF_NEW_APPS = (-0.4, 0.1)  # what is open all day tells less of what she will try


def draw_weights(rng: np.random.Generator, task: Task | None, powers: tuple[float, float] = POWERS) -> dict[str, Any]:
    """Of every model alike."""
    return {} if task is None or task.alike else {"weight_exponent": uniform(rng, *powers)}


def told(task: Task, options: Options) -> tuple[sp.csr_matrix, dict[str, Any]]:
    """The training pairs (U, I) CSR with their weights, and the other options."""
    rest = dict(options)
    exponent = rest.pop("weight_exponent", 0.0)
    return task.weighted(exponent) if exponent else task.pairs, rest


def draw_als(rng: np.random.Generator, task: Task | None = None) -> dict[str, Any]:
    """Where the good settings of ALS lie on MovieLens and Complete Journey."""
    alpha = 10 ** rng.uniform(0.2, 1.3)
    return {
        "factors": int(rng.choice([16, 32, 64, 128])),
        # what counts is its size beside alpha, 5 to 15 on films, more on groceries; drawn apart, most pairs are far off
        "regularization": round(float(alpha * 10 ** rng.uniform(0.6, 1.5)), 3),
        "alpha": round(float(alpha), 3),
        "iterations": int(rng.integers(10, 31)),
        **draw_weights(rng, task),
    }


def draw_als_of_few(rng: np.random.Generator, task: Task, *, powers: tuple[float, float] = POWERS) -> dict[str, Any]:
    """Where they lie on the smaller and sparser logs of Last.fm and Frappe: less regularization, and a wider range of it."""
    alpha = 10 ** rng.uniform(0, 1.8)
    return {
        "factors": int(rng.choice([16, 32, 64, 128])),
        "regularization": round(float(alpha * 10 ** rng.uniform(-1.5, 1.1)), 3),
        "alpha": round(float(alpha), 3),
        "iterations": int(rng.integers(10, 31)),
        **draw_weights(rng, task, powers),
    }


def draw_ials(rng: np.random.Generator, task: Task, *, powers: tuple[float, float] = POWERS) -> dict[str, Any]:
    return {
        "factors": int(rng.choice([32, 64, 128, 256])),
        "regularization": log_uniform(rng, 0.3, 1.8),
        "unseen": log_uniform(rng, -1.5, 0),
        "exponent": uniform(rng, 0.25, 1),
        "iterations": int(rng.integers(8, 21)),
        **draw_weights(rng, task, powers),
    }


def draw_ease(rng: np.random.Generator, task: Task, *, powers: tuple[float, float] = POWERS) -> dict[str, Any]:
    return {"regularization": round(float(10 ** rng.uniform(1, 4)), 1), **draw_weights(rng, task, powers)}


def draw_bm25(rng: np.random.Generator, task: Task) -> dict[str, Any]:
    return {
        "neighbours": int(10 ** rng.uniform(1, 3)),
        "K1": round(float(10 ** rng.uniform(-1, 2.5)), 3),
        "B": round(float(rng.uniform(0, 1)), 3),
        **draw_weights(rng, task),
    }


def draw_cosine(rng: np.random.Generator, task: Task) -> dict[str, Any]:
    return {"neighbours": int(10 ** rng.uniform(1, 3)), **draw_weights(rng, task)}


def draw_smoothing(rng: np.random.Generator, task: Task) -> dict[str, Any]:
    return {"smoothing": log_uniform(rng, -2, 3)}


def draw_recent(rng: np.random.Generator, task: Task) -> dict[str, Any]:
    return {**draw_smoothing(rng, task), "decay": uniform(rng, 0.7, 1)}


def fit_pairs(task: Task, options: Options, *, model: Any, **fixed: Any) -> ByRows:
    """A model of the training pairs and their weights; fixed: options that are not drawn."""
    pairs, rest = told(task, options)
    return ByRows(model(**fixed, **rest).fit(pairs))


def fit_popularity(task: Task, options: Options) -> ByRows:
    return ByRows(Popularity().fit(task.pairs))


def fit_markov(task: Task, options: Options) -> ByRows:
    return ByRows(Markov(**options).fit(in_order(task.train, task.edge_type), task.pairs.shape))


def fit_own(task: Task, options: Options) -> ByRows:
    return ByRows(OwnHistory(**options).fit(in_order(task.train, task.edge_type), task.pairs.shape))


class FoldedIn(Scored):
    """ALS with the factors of new users solved for from what is told of them; popularity where nothing is."""

    def __init__(self, model: Any, popularity: np.ndarray) -> None:
        self.model, self.popularity = model, popularity

    def scores(self, task: Task, queries: np.ndarray, items: np.ndarray) -> np.ndarray:
        items_told = task.told[queries] if task.told is not None else task.pairs[task.users[queries]]
        from threadpoolctl import threadpool_limits

        with threadpool_limits(1, "blas"):  # as implicit asks for
            factors = self.model.recalculate_user(np.arange(len(queries)), items_told)
        scores: np.ndarray = factors @ self.model.item_factors[items].T
        scores[np.diff(items_told.indptr) == 0] = self.popularity[items]
        return scores


def fit_fold_in(task: Task, options: Options) -> FoldedIn:
    pairs, rest = told(task, options)
    return FoldedIn(ImplicitALS(**rest).fit(pairs).model, Popularity().fit(task.pairs).counts)


def too_large(task: Task) -> str:
    n_users, n_items = task.pairs.shape
    many = min(n_users, n_items) > EASE_SIDE
    return f"{n_users:,} users and {n_items:,} items, it takes gigabytes where both are above {EASE_SIDE:,}" if many else ""


FIT_ALS, FIT_IALS, FIT_EASE = (partial(fit_pairs, model=one) for one in (ImplicitALS, FrequencyScaledALS, EASE))

ALS = Candidate("implicit ALS", FIT_ALS, draw_als)
ALS_OF_FEW = Candidate("implicit ALS", FIT_ALS, draw_als_of_few)
ALS_OF_NEW_APPS = Candidate("implicit ALS", FIT_ALS, partial(draw_als_of_few, powers=OF_NEW_APPS))
IALS = Candidate("frequency-scaled iALS", FIT_IALS, draw_ials)
FOLD_IN = Candidate("implicit ALS, fold-in", fit_fold_in, draw_als)
IALS_OF_NEW_APPS = Candidate("frequency-scaled iALS", FIT_IALS, partial(draw_ials, powers=OF_NEW_APPS))
LINEAR = Candidate("EASE", FIT_EASE, draw_ease, too_large)
LINEAR_OF_NEW_APPS = Candidate("EASE", FIT_EASE, partial(draw_ease, powers=OF_NEW_APPS), too_large)
BM25 = Candidate("item-kNN BM25", partial(fit_pairs, model=ItemKNN, kind="bm25"), draw_bm25)
COSINE = Candidate("item-kNN cosine", partial(fit_pairs, model=ItemKNN, kind="cosine"), draw_cosine)
POPULARITY = Candidate("popularity", fit_popularity)
FREQUENCY = Candidate("own frequency", fit_own, draw_smoothing)
RECENT = Candidate("own frequency, recent", fit_own, draw_recent)
OWN = Candidate("own history", fit_own, draw_smoothing)
CHAIN = Candidate("Markov chain", fit_markov, draw_smoothing)


def of_attributes(*kinds: str) -> tuple[Candidate, ...]:
    """Peers for cold items by these edge types."""
    return (
        Candidate("content kNN", partial(content.fit_content, kinds=kinds), partial(content.draw_content, kinds=kinds)),
        Candidate("LightFM WARP", partial(content.fit_warp, kinds=kinds), content.draw_warp, content.no_lightfm),
    )
