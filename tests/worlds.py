"""Small logs with the edge types of the known data sets: people with one of three tastes, things of three kinds."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

import hyperrec as hr

USERS, ITEMS = 60, 45
DAY = 86_400


def _events(rng: np.random.Generator, *, repeat: bool, users: int = USERS, items: int = ITEMS, length: int = 16) -> pl.DataFrame:
    """user, item, time, hour: items of the user's kind mostly (number modulo 3), two events at a time."""
    rows = []
    for user in range(users):
        kinds = np.where(rng.random(length) < 0.85, user % 3, rng.integers(0, 3, length))
        chosen = 3 * rng.integers(0, items // 3, length) + kinds
        days = 24 * user + np.arange(length) // 2 * (8 if user % 2 else 5)  # some come back after more than a week
        rows += [(user, int(item), 1_500_000_000 + DAY * int(day), int(item) % 3) for item, day in zip(chosen, days, strict=True)]
    frame = pl.DataFrame(rows, schema=["user", "item", "time", "hour"], orient="row")
    return frame if repeat else frame.unique(["user", "item"], maintain_order=True)


def _words(rng: np.random.Generator, item: str) -> pl.DataFrame:
    """Three words of each thing, of its kind."""
    things = np.repeat(np.arange(ITEMS), 3)
    return pl.DataFrame({item: things, "word": 3 * rng.integers(0, 6, len(things)) + things % 3}).unique(maintain_order=True)


def movielens(rng: np.random.Generator) -> dict[str, pl.DataFrame]:
    kind = pl.DataFrame({"item": range(ITEMS), "genre": [i % 3 for i in range(ITEMS)]})
    year = pl.DataFrame({"item": range(ITEMS), "year": [1990 + i % 7 for i in range(ITEMS)]})
    rated = _events(rng, repeat=False).select("user", "item", "time")
    return {"rated": rated, "genre": kind, "word": _words(rng, "item"), "year": year}


def lastfm(rng: np.random.Generator) -> dict[str, pl.DataFrame]:
    events = _events(rng, repeat=False).rename({"item": "artist"})
    friends = pl.DataFrame({"user": range(USERS - 3), "user#2": range(3, USERS)})
    tagged = events.filter(pl.col("time") % 2 == 0).select("user", "artist", tag=pl.col("artist") % 3)
    return {"played": events.select("user", "artist"), "friends": friends, "tagged": tagged}


def complete_journey(rng: np.random.Generator) -> dict[str, pl.DataFrame]:
    events = _events(rng, repeat=True, users=90, items=27, length=30).rename({"user": "household", "item": "product"})
    who = {name: pl.DataFrame({"household": range(90), name: [h % 3 for h in range(90)]}) for name in HOUSEHOLD}
    once = events.unique(["household", "product"], keep="first", maintain_order=True).select("household", "product", "time")
    at = events.select("household", "product", "hour", "time")
    often = at.group_by("household", "product", maintain_order=True).agg(weight=pl.len().log1p())
    return {"bought": once, "bought_often": often, "bought_at": at, **who}


def frappe(rng: np.random.Generator) -> dict[str, pl.DataFrame]:
    events = _events(rng, repeat=True, items=27).drop("time")
    other = rng.random(len(events)) < 0.4
    events = events.with_columns(hour=pl.Series(np.where(other, rng.integers(0, 3, len(events)), events["hour"])))
    events = events.unique(["user", "item", "hour"], maintain_order=True)
    used_in = events.select("user", "item", *(pl.col("hour").alias(name) for name in CONTEXTS))
    return {"used": events.select("user", "item"), "used_in": used_in}


def citeulike(rng: np.random.Generator) -> dict[str, pl.DataFrame]:
    has = _events(rng, repeat=False).select("user", "item")
    cites = pl.DataFrame({"item": range(ITEMS - 3), "item#2": range(3, ITEMS)})
    tag = pl.DataFrame({"item": range(ITEMS), "tag": [i % 3 for i in range(ITEMS)]})
    return {"has": has, "cites": cites, "tag": tag, "word": _words(rng, "item")}


CONTEXTS = ("daytime", "weekday", "weekend", "place", "cost", "weather", "country", "city")
HOUSEHOLD = ("age", "income", "household_size", "household_type", "kids")
WORLDS: dict[str, Any] = {
    "movielens-100k": movielens,
    "movielens-1m": movielens,
    "hetrec-lastfm": lastfm,
    "complete-journey": complete_journey,
    "frappe": frappe,
    "citeulike-t": citeulike,
}


def world(name: str) -> hr.Hypergraph:
    return hr.Hypergraph.from_frames(**WORLDS[name](np.random.default_rng(11)))
