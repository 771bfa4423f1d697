"""Where the real data sets are, and a small world of planted topics."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import hyperrec as hr
from hyperrec import datasets

DATA = Path(os.environ.get("HYPERREC_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """data("movielens-100k") is the folder of a known data set; the test is skipped where there is none."""

    def find(name: str) -> Path:
        if not DATA.is_dir():
            pytest.skip(f"no data sets here: set HYPERREC_DATA to their folder ({DATA} is none)")
        wanted = DATA / datasets.FILES[name]
        if wanted.exists():
            return wanted
        archives = sorted(DATA.glob(f"{wanted.name}.*xz"))
        if not archives:
            pytest.skip(f"{DATA} has no {wanted.name}")
        return datasets.unpack(archives[0], tmp_path_factory.getbasetemp().parent) / wanted.name

    return find


@pytest.fixture(scope="session")
def films() -> hr.Hypergraph:
    """120 users who each like one or two of three genres; 60 films, 20 of each genre; ratings, genres, hours; seeded.

    Films of genre g are film-(3 i + g); comedies are watched in the evening, horror at night, dramas by day.
    """
    rng = np.random.default_rng(7)
    genres, hours = ["drama", "comedy", "horror"], ["day", "evening", "night"]
    tastes = rng.dirichlet([0.15] * 3, size=120)
    rows = [
        (f"user-{u}", 3 * int(rng.integers(20)) + int(rng.choice(3, p=tastes[u])), 1_500_000_000 + 3600 * (100 * u + step))
        for u in range(120)
        for step in range(18)
    ]
    watched = pl.DataFrame(rows, schema=["user", "number", "time"], orient="row").unique(["user", "number"], maintain_order=True)
    watched = watched.with_columns(item=pl.format("film-{}", "number"))
    at = watched.with_columns(hour=pl.Series([hours[n % 3] for n in watched["number"]]))
    films = pl.DataFrame({"item": [f"film-{n}" for n in range(60)], "genre": genres * 20})
    return hr.Hypergraph.from_frames(
        watched=watched.select("user", "item", "time"), genre=films, watched_at=at.select("user", "item", "hour", "time")
    )


@pytest.fixture(scope="session")
def model(films: hr.Hypergraph) -> hr.TopicModel:
    """Three topics of `films`, users expressed by their histories."""
    return hr.TopicModel(3, edges={"watched": 1.0, "genre": 0.2, "watched_at": 0.1}, n_passes=30, seed=1).fit(films, progress=False)
