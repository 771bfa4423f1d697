"""The situations of the scoreboard: which data, how it is split, which models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from hyperrec.benchmark import candidates as peers
from hyperrec.benchmark import ours
from hyperrec.benchmark.search import Candidate
from hyperrec.benchmark.splitting import (
    Tasks,
    cold_items,
    cold_users,
    following,
    in_context,
    later,
    next_basket,
    warm,
    with_edges,
)  # fmt: skip
from hyperrec.hypergraph import Hypergraph

WARM_EDGES = {
    "movielens-100k": "rated", "movielens-1m": "rated", "hetrec-lastfm": "played", "complete-journey": "bought_often",
}  # fmt: skip
"""Data of the warm situations -> what is split."""
MIN_ITEM_EDGES = {"complete-journey": 20}  # of them; 1 for other data
DEMOGRAPHICS = ("age", "income", "household_size", "household_type", "kids")


@dataclass(frozen=True)
class Situation:
    """name: of its block. data: a data set that `datasets.locate` finds. protocol: a sentence for readers. split: graph ->
    (validation, ..., test). candidates: hyperrec first. metrics: the first is tuned for."""

    name: str
    data: str
    protocol: str
    split: Callable[[Hypergraph], Tasks]
    candidates: tuple[Candidate, ...]
    metrics: tuple[str, ...] = ("ndcg@10", "recall@20")


WARM = (ours.WARM, peers.ALS, peers.IALS, peers.LINEAR, peers.BM25, peers.COSINE, peers.POPULARITY)
_WARM_OF_FEW = tuple(peers.ALS_OF_FEW if one is peers.ALS else one for one in WARM)
_LATER = (ours.LATER, *WARM[1:])
_NEXT = (ours.NEXT, peers.ALS, peers.LINEAR, peers.BM25, peers.COSINE, peers.CHAIN, peers.POPULARITY)
_CONTEXT = (ours.CONTEXT, peers.OWN, peers.ALS_OF_FEW, peers.POPULARITY)
_NEW_APPS = (
    ours.NEW_APPS, peers.OWN, peers.ALS_OF_NEW_APPS, peers.IALS_OF_NEW_APPS, peers.LINEAR_OF_NEW_APPS, peers.POPULARITY
)  # fmt: skip
_COLD_USERS = (ours.of_people(*DEMOGRAPHICS), peers.FOLD_IN, peers.POPULARITY)
_BASKET = (ours.BASKET, peers.FREQUENCY, peers.RECENT, peers.ALS, peers.POPULARITY)
_SEEN = "seen items filtered, all items ranked"
_HALF = "validation: a tenth of the training part, by the same rule"
_TWICE = "validation: the mean of two such splits, of a tenth of the training part"

SITUATIONS = (
    *(
        Situation(
            f"warm-{data}", data, f"random 80/20 of each user's `{WARM_EDGES[data]}` items{only}, {_SEEN}; {_TWICE}",
            partial(warm, edge_type=WARM_EDGES[data], least=MIN_ITEM_EDGES.get(data, 1)), models,
        )
        for data, models, only in (
            ("movielens-100k", WARM, ""),
            ("movielens-1m", WARM, ""),
            ("hetrec-lastfm", _WARM_OF_FEW, ""),
            ("complete-journey", WARM, " with 20 households or more"),
        )
    ),
    Situation(
        "later-movielens-1m", "movielens-1m",
        f"the last 20 % of all ratings in time, of users who rated before; {_SEEN}; validation: the mean over the last 10, 20, "
        "30 and 50 % of the training part, of users who come back after a week or more",
        partial(later, edge_type="rated"), _LATER,
    ),
    *(
        Situation(
            f"next-{data}", data, f"the last item of each user by time, {_SEEN}; validation: the item before it",
            partial(following, edge_type="rated"), _NEXT, ("ndcg@10", "hit_rate@10"),
        )
        for data in ("movielens-100k", "movielens-1m")
    ),
    Situation(
        "next-basket-complete-journey", "complete-journey",
        "the last basket of each household, all products with 20 purchases or more ranked, nothing filtered; validation: the "
        "basket before it",
        partial(next_basket, edge_type="bought_at", least=20), _BASKET, ("ndcg@10", "recall@20"),
    ),
    Situation(
        "context-frappe", "frappe",
        "random 80/20 of each user's rows, all apps ranked for a user in eight contexts, nothing filtered; validation: a tenth of "
        "the training rows, alike",
        partial(in_context, edge_type="used_in", pairs="used", new=False), _CONTEXT, ("ndcg@10", "hit_rate@10"),
    ),
    Situation(
        "context-new-frappe", "frappe",
        "of the same rows those whose app is new to the user; seen apps filtered, all others ranked",
        partial(in_context, edge_type="used_in", pairs="used", new=True), _NEW_APPS, ("ndcg@10", "hit_rate@10"),
    ),
    *(
        Situation(
            f"cold-items-{data}", data,
            f"all `{edge_type}` edges of 20 % of the items, known by {said}; these items alone are ranked; validation: a tenth of "
            "the others, alike",
            partial(cold_items, edge_type=edge_type), (ours.of_attributes(*kinds), *peers.of_attributes(*kinds)),
            ("recall@20", "recall@100"),
        )
        for data, edge_type, kinds, said in (
            ("citeulike-t", "has", ("word", "tag"), "words and tags"),
            ("movielens-1m", "rated", ("genre", "year", "word"), "genres, year and words of the title"),
        )
    ),
    Situation(
        "cold-users-complete-journey", "complete-journey",
        "all purchases of 20 % of the households; their first ten products are set aside, none of them (households of known age, "
        "income, size, type and children alone), one, three, five or ten are told, the later products are to be found among all "
        "others with 20 households or more; validation: a tenth of the other households, alike",
        partial(cold_users, edge_type="bought", kinds=DEMOGRAPHICS, least=20), _COLD_USERS,
    ),
    *(
        Situation(
            f"typed-{data}", data,
            f"random 80/20 of each user's `{edge_type}` items, {_SEEN}; one model with the edges of {said} and without; {_HALF}",
            partial(with_edges, edge_type=edge_type, kinds=(*kinds, *attributes)),
            ours.with_and_without(kinds, attributes, said),
        )
        for data, edge_type, kinds, attributes, said in (
            ("hetrec-lastfm", "played", ("friends",), ("tagged",), "friends and tags"),
            ("citeulike-t", "has", (), ("cites",), "citations"),
        )
    ),
)  # fmt: skip
