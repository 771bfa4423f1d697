"""Going on with new edges: counts added, histories continued, new vertices placed, nothing else moved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import hyperrec as hr
from hyperrec.assembly import assemble
from hyperrec.topics import em
from hyperrec.topics.state import make_state

WEIGHTS = {"watched": 1.0, "genre": 0.2, "watched_at": 0.1}
FORMS: dict[str, dict[str, Any]] = {
    "mean": {},
    "recency": {"context": hr.Recency(0.3)},
    "mixture": {"context": hr.Mixture(hr.Recency(0.5), hr.Mean())},
    "container": {"context": None},
    "symmetric": {"container": None},
}


def parts(films: hr.Hypergraph) -> tuple[hr.Hypergraph, dict[str, pl.DataFrame]]:
    """The log without its last quarter, where some users and films are not met at all, and the frames of that quarter."""
    tables = {name: films.table(name) for name in films.edges}
    cut = tables["watched"]["time"].quantile(0.75)
    old, new = {}, {}
    for name, table in tables.items():
        late = (pl.col("time") > cut) if "time" in table.columns else pl.col("item").is_in(["film-57", "film-58", "film-59"])
        rare = pl.col("item").is_in(["film-57", "film-58", "film-59"])
        old[name], new[name] = table.filter(~(late | rare)), table.filter(late | rare)
    return hr.Hypergraph.from_frames(**old), new


@pytest.mark.parametrize("form", FORMS)
def test_half_and_half_is_nearly_the_whole(form: str, films: hr.Hypergraph) -> None:
    """The likelihood of all the edges is near that of a fit to all of them, and far above that of the start."""
    old, new = parts(films)
    options = {"n_topics": 3, "edges": WEIGHTS, "n_passes": 30, "seed": 1, **FORMS[form]}
    whole = hr.TopicModel(**options).fit(films, progress=False)
    model = hr.TopicModel(**options).fit(old, progress=False)
    n_items = len(model.vocabularies["item"])
    assert n_items == 57
    model.partial_fit(new)
    assert model.vocabularies["item"].ids.to_list()[n_items:] == ["film-57", "film-58", "film-59"]
    values = []
    for one in (whole, model):
        unified = films.over(one.vocabularies, {})
        assembly = assemble(
            unified, WEIGHTS, container=one.container, context=one.context, length_damping=0.25, context_exponent=0.15
        )
        state = make_state(one.state.embedding, one.state.prior.astype(float), assembly.layout, one.state.shares)
        statistics = em.e_step(assembly.shards, state)
        values.append(statistics.log_likelihood / statistics.weight)
        np.testing.assert_allclose(one.counts, assembly.counts, rtol=1e-4)
        np.testing.assert_array_equal(one.seen.toarray(), assembly.seen.toarray())
    assert values[1] > 0.85 * values[0] > 0
    for modality in model.vocabularies:
        np.testing.assert_allclose(model.embedding(modality).sum(axis=1), 1, rtol=1e-4)


def test_new_films_are_among_their_kind(films: hr.Hypergraph) -> None:
    old, new = parts(films)
    model = hr.TopicModel(3, edges=WEIGHTS, n_passes=30, seed=1).fit(old, progress=False).partial_fit(new)
    for film in ("film-57", "film-58", "film-59"):
        near = model.similar("item", [film], k=5)["neighbour"].str.slice(5).cast(pl.Int64)
        assert (near % 3 == int(film[5:]) % 3).all()
    unseen = old.vocabularies["user"].encode(model.vocabularies["user"].ids) < 0
    assert unseen.any()
    newcomer = model.vocabularies["user"].ids.filter(pl.Series(unseen))[0]
    advice = model.recommend([newcomer], k=5)
    assert advice.height == 5
    assert not set(advice["item"]) & set(films.table("watched").filter(pl.col("user") == newcomer)["item"])


@pytest.mark.parametrize("form", FORMS)
def test_counts_are_added_and_what_is_not_told_of_stays(form: str) -> None:
    rng = np.random.default_rng(3)
    log = pl.DataFrame({"user": rng.integers(20, size=300), "item": rng.integers(12, size=300), "time": np.arange(300)})
    model = hr.TopicModel(3, n_passes=8, length_damping=0, **FORMS[form]).fit({"seen": log}, progress=False)
    before, n_v, weight = model.embedding("item").copy(), model.n_v.copy(), model.weight
    model.partial_fit({"seen": pl.DataFrame({"user": [3, 3, 50], "item": [5, 6, 99], "time": [400, 401, 402]})})
    assert model.weight == pytest.approx(weight + 3)
    items = model.n_v[model.offsets["item"] :]
    added = items - np.append(n_v[len(n_v) - 12 :], 0)
    np.testing.assert_allclose(added, [0] * 5 + [1, 1] + [0] * 5 + [1], atol=1e-3)
    told = [5, 6]
    others = [row for row in range(12) if row not in told]
    np.testing.assert_allclose(model.embedding("item")[others], before[others], rtol=1e-4, atol=1e-6)
    assert np.abs(model.embedding("item")[told] - before[told]).max() > 1e-5


def test_forgetting_and_gain(films: hr.Hypergraph) -> None:
    old, new = parts(films)
    fitted = hr.TopicModel(3, edges=WEIGHTS, n_passes=5, length_damping=0, seed=1).fit(old, progress=False)
    weight, of_new = fitted.weight, {}
    for keep, gain in ((1.0, 1.0), (0.5, 1.0), (0.0, 2.0)):
        model = hr.TopicModel(3, edges=WEIGHTS, n_passes=5, length_damping=0, seed=1).fit(old, progress=False)
        model.partial_fit(new, keep=keep, gain=gain)
        of_new[keep] = (model.weight - keep * weight) / gain
    assert of_new[1.0] == pytest.approx(of_new[0.5]) == pytest.approx(of_new[0.0])


def test_new_events_come_after_the_known_ones() -> None:
    log = pl.DataFrame({"user": ["a"] * 3, "item": ["x", "y", "z"], "time": [1, 2, 3]})
    model = hr.TopicModel(2, context=hr.Recency(0.5), n_passes=2).fit({"seen": log}, progress=False)
    model.partial_fit({"seen": pl.DataFrame({"user": ["b", "a", "a"], "item": ["x", "w", "x"], "time": [9, 5, 4]})})
    assert model.positions("a")["id"].to_list() == ["x", "y", "z", "x", "w"]
    assert model.positions("b")["id"].to_list() == ["x"]


def test_longer_edges_go_on_in_their_history(films: hr.Hypergraph) -> None:
    """The hour of a new event is read in the place of that event, whether or not an order counts."""
    old, new = parts(films)
    for context in (hr.Mean(), hr.Recency(0.4)):
        model = hr.TopicModel(3, edges=WEIGHTS, n_passes=3, seed=1, context=context).fit(old, progress=False)
        model.partial_fit({"watched_at": new["watched_at"].filter(~pl.col("item").is_in(["film-57", "film-58", "film-59"]))})
        np.testing.assert_allclose(model.embedding("hour").sum(axis=1), 1, rtol=1e-5)
        assert len(model.histories.vertices) == sum(old.table("watched").height for _ in (0,))


def test_a_saved_model_goes_on_with_the_same_bits(films: hr.Hypergraph, tmp_path: Path) -> None:
    old, new = parts(films)
    model = hr.TopicModel(3, edges=WEIGHTS, n_passes=5, seed=1).fit(old, progress=False)
    again = hr.load(model.save(tmp_path / "model"))
    model.partial_fit(new)
    again.partial_fit(new)
    assert model.state.embedding.tobytes() == again.state.embedding.tobytes()
    assert model.recommend(k=4).equals(again.recommend(k=4))
    assert model.history.height == 10
    third = hr.load(model.save(tmp_path / "more"))
    assert third.recommend(k=4).equals(model.recommend(k=4))


def test_labels_of_new_items_are_told(films: hr.Hypergraph) -> None:
    seen = pl.DataFrame({"user": ["a", "a", "b"], "item": ["x", "y", "x"]})
    schema = {
        "name": "shop", "tables": {"seen": {"file": "seen.csv"}, "names": {"file": "names.csv"}},
        "edges": {"seen": {"table": "seen", "vertices": {"user": "user", "item": "item"}}},
        "labels": {"item": {"table": "names", "id": "item", "text": "name"}},
    }  # fmt: skip
    names = pl.DataFrame({"item": ["x", "y"], "name": ["tea", "jam"]})
    model = hr.TopicModel(2, n_passes=2).fit(hr.read_logs(schema, {"seen": seen, "names": names}), progress=False)
    more = pl.DataFrame({"item": ["z", "x"], "name": ["rye", "black tea"]})
    model.partial_fit(hr.read_logs(schema, {"seen": pl.DataFrame({"user": ["b", "c"], "item": ["z", "x"]}), "names": more}))
    told = dict(model.topics("item").select("id", "label").iter_rows())
    assert told == {"x": "black tea", "y": "jam", "z": "rye"}


@pytest.mark.parametrize(
    ("more", "options", "message"),
    [
        ({"wached": ["user", "item"]}, {}, "no edge type 'wached'; it was fitted to watched, genre, watched_at. Did you mean"),
        ({"watched": ["item", "user"]}, {}, "'watched' joins user, item in the model; got item, user"),
        ({"watched": ["user", "item"]}, {"keep": 2}, "keep must be a number, 0 to 1; got 2"),
        ({"watched": ["user", "item"]}, {"n_passes": 0}, "n_passes must be a whole number, 1 or more; got 0"),
    ],
)
def test_what_is_not_of_the_model(more: dict[str, list[str]], options: dict[str, Any], message: str, films: hr.Hypergraph) -> None:
    model = hr.TopicModel(3, edges=WEIGHTS, n_passes=2).fit(films, progress=False)
    frames = {name: pl.DataFrame({column: ["a"] for column in columns}) for name, columns in more.items()}
    with pytest.raises(hr.ModelError, match=message):
        model.partial_fit(frames, **options)


def test_only_a_fitted_model_goes_on() -> None:
    frame = pl.DataFrame({"user": [1], "item": [2]})
    with pytest.raises(hr.ModelError, match="the model is not fitted"):
        hr.TopicModel(2).partial_fit({"seen": frame})
    model = hr.TopicModel(1, n_passes=1).fit({"seen": pl.DataFrame({"user": [1, 2], "item": [2, 3]})}, progress=False)
    with pytest.raises(hr.DataError, match="the model knows ids of type Int64; got 'x'"):
        model.partial_fit({"seen": pl.DataFrame({"user": [1], "item": ["x"]})})
