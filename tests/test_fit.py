"""Fitting: the three forms of the model, what fit takes, refuses and repeats."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numba
import numpy as np
import polars as pl
import pytest

import hyperrec as hr
from hyperrec.topics import em

EDGES = {"watched": 1.0, "genre": 0.2, "watched_at": 0.1}
FORMS: dict[str, dict[str, Any]] = {"expressed": {}, "container": {"context": None}, "symmetric": {"container": None}}
MODALITIES = ["user", "item", "genre", "hour"]

Fit = Callable[..., hr.TopicModel]


@pytest.fixture(scope="module", params=FORMS)
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def fit(films: hr.Hypergraph) -> Fit:
    """fit(form, graph=films, **parameters): three topics and few passes unless told."""

    def run(form: str = "expressed", graph: Any = films, **parameters: Any) -> hr.TopicModel:
        defaults = {"n_topics": 3, "edges": EDGES, "n_passes": 8, "seed": 1}
        return hr.TopicModel(**{**defaults, **FORMS[form], **parameters}).fit(graph, progress=False)

    return run


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = numba.get_num_threads()
    yield
    numba.set_num_threads(before)


def bits(model: hr.TopicModel) -> tuple[bytes, ...]:
    return (model.state.embedding.tobytes(), model.state.prior.tobytes(), model.history.write_json().encode())


def purity(model: hr.TopicModel, modality: str, groups: np.ndarray) -> float:
    """Share of vertices whose strongest topic is the one of most of their group; 0 when two groups share a topic."""
    strongest = model.embedding(modality).argmax(axis=1)
    tables = np.array([np.bincount(strongest[groups == g], minlength=model.n_topics) for g in np.unique(groups)])
    return float(tables.max(axis=1).sum() / len(groups)) if len(set(tables.argmax(axis=1))) == len(tables) else 0.0


def genre_of(graph: hr.Hypergraph, modality: str = "item") -> np.ndarray:
    """The planted genre of each film, in the order of the vocabulary."""
    return np.array([int(one.split("-")[1]) % 3 for one in graph.vocabulary(modality).ids])


def test_rows_are_probabilities(films: hr.Hypergraph, fit: Fit, form: str) -> None:
    model = fit(form, n_passes=30)
    for modality in MODALITIES:
        embedding = model.embedding(modality)
        assert embedding.shape == (len(films.vocabulary(modality)), 3)
        assert embedding.dtype == np.float32
        assert (embedding >= 0).all()
        np.testing.assert_allclose(embedding.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(model.state.prior.sum(), 1, atol=1e-5)


def test_planted_genres_come_back(films: hr.Hypergraph, fit: Fit, form: str) -> None:
    model = fit(form, n_passes=40)
    assert purity(model, "item", genre_of(films)) == 1
    assert sorted(model.embedding("genre").argmax(axis=1)) == [0, 1, 2]
    drama, day = (model.embedding(m)[films.vocabulary(m).rows([one])[0]] for m, one in (("genre", "drama"), ("hour", "day")))
    assert drama.argmax() == day.argmax()
    counts = np.zeros((120, 3))
    table = films.edges["watched"].frame
    np.add.at(counts, (table["user"].to_numpy(), genre_of(films)[table["item"].to_numpy()]), 1)
    clear = counts.max(axis=1) > 0.7 * counts.sum(axis=1)
    assert clear.sum() > 60
    of_genre = model.embedding("genre")[films.vocabulary("genre").rows(["drama", "comedy", "horror"])].argmax(axis=1)
    assert (model.embedding("user").argmax(axis=1) == of_genre[counts.argmax(axis=1)])[clear].mean() > 0.95


def test_genres_come_back_without_being_told(films: hr.Hypergraph, fit: Fit, form: str) -> None:
    assert purity(fit(form, edges={"watched": 1.0}, n_passes=60), "item", genre_of(films)) > 0.9


def test_same_seed_same_bits(fit: Fit, form: str) -> None:
    model = fit(form)
    assert bits(fit(form)) == bits(model)
    assert bits(fit(form, seed=2))[0] != bits(model)[0]


@pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="one core only")
def test_threads_change_no_bit(fit: Fit, form: str, two_threads: None) -> None:
    found = []
    for n_threads in (1, 2):
        numba.set_num_threads(n_threads)
        found.append(bits(fit(form, n_topics=17)))
    assert found[0] == found[1]


def test_fitting_again_is_fitting_afresh(films: hr.Hypergraph, fit: Fit, form: str) -> None:
    model = fit(form, films.select("watched", "genre"), edges=None)
    model.recommend("user-1")
    model.similar("item", "film-1")
    model.fit(films, progress=False)
    fresh = fit(form, edges=None)
    assert bits(model) == bits(fresh)
    assert model.recommend(given={"hour": "day"}).equals(fresh.recommend(given={"hour": "day"}))
    assert model.similar("item", "film-1").equals(fresh.similar("item", "film-1"))


def test_history(fit: Fit, form: str) -> None:
    history = fit(form, n_passes=6, tolerance=0).history
    assert history.columns == ["pass", "log_likelihood", "per_weight", "eta", "stepped_back", "degenerate_edges"]
    assert history["pass"].to_list() == [1, 2, 3, 4, 5, 6]
    assert history["log_likelihood"].is_finite().all()
    weight = history["log_likelihood"] / history["per_weight"]
    assert np.allclose(weight, weight[0])
    assert history["eta"].to_list() == [1, 1, 1, 1.8, 1.8, 1.8]


def test_plain_em_never_loses_likelihood_in_the_symmetric_form(fit: Fit) -> None:
    gained = np.diff(fit("symmetric", over_relaxation=1, n_passes=40, tolerance=0).history["log_likelihood"])
    assert len(gained) > 20
    assert (gained > -1e-3).all()


def test_tolerance_stops_early(fit: Fit, form: str) -> None:
    """Where the gains are small and no longer grow: the small gains of a random start, which grow, are no end."""
    tolerances = (1e9, 1e-3, 1e-4)
    runs = [fit(form, n_passes=100, tolerance=tolerance, over_relaxation=1).history for tolerance in tolerances]
    passes = [run.height for run in runs]
    assert 2 < passes[0] < passes[1] < passes[2] < 100
    for run, tolerance in zip(runs, tolerances, strict=True):
        gains = np.diff(run["per_weight"])
        small = (gains[1:] < tolerance) & (gains[1:] <= gains[:-1])
        assert not small[:-1].any()
        assert small[-1]


def test_takes_frames_of_any_library(films: hr.Hypergraph, fit: Fit) -> None:
    frames = {name: films.table(name) for name in EDGES}
    expected = bits(fit())
    assert bits(fit(graph=frames)) == expected
    assert bits(fit(graph={name: frame.to_pandas() for name, frame in frames.items()})) == expected
    assert bits(fit(graph={name: frame.to_arrow() for name, frame in frames.items()})) == expected
    assert bits(fit(graph={name: frame.lazy() for name, frame in frames.items()})) == expected


@pytest.mark.parametrize("convert", [lambda frame: frame, pl.DataFrame.to_pandas, pl.DataFrame.to_arrow])
def test_takes_one_frame(films: hr.Hypergraph, fit: Fit, convert: Callable[[pl.DataFrame], Any]) -> None:
    model = fit(graph=convert(films.table("watched")), edges=None)
    assert model.fitted_edges == {"edges": 1.0}
    assert model.state.embedding.tobytes() == fit(edges={"watched": 1.0}).state.embedding.tobytes()


def test_does_not_change_its_input(films: hr.Hypergraph, fit: Fit) -> None:
    edges = dict(EDGES)
    before = {name: films.table(name) for name in EDGES}
    fit(edges=edges)
    assert edges == EDGES
    assert all(films.table(name).equals(frame) for name, frame in before.items())


@pytest.mark.parametrize("given", [42, "no such file", None])
def test_refuses_what_is_no_graph(given: Any) -> None:
    with pytest.raises(hr.DataError, match="frame 'edges'"):
        hr.TopicModel(2).fit(given)


def test_a_heavier_edge_type_is_explained_better(films: hr.Hypergraph, fit: Fit) -> None:
    shuffled = films.table("genre").with_columns(pl.col("genre").shuffle(seed=1))
    frames = {"watched": films.table("watched"), "genre": shuffled}
    told = {row["item"]: row["genre"] for row in shuffled.iter_rows(named=True)}

    def agreement(tau: float) -> float:
        model = fit(graph=frames, edges={"watched": 1.0, "genre": tau}, n_passes=30)
        names = model.vocabularies["genre"].ids
        labels = np.array([names.index_of(told[one]) for one in model.vocabularies["item"].ids])
        return float((model.embedding("item") * model.embedding("genre")[labels]).sum(axis=1).mean())

    assert agreement(0.01) + 0.2 < agreement(100.0)


@pytest.mark.parametrize("factor", [4.0, 0.3])
def test_a_common_factor_of_taus_changes_nothing(fit: Fit, form: str, factor: float) -> None:
    plain, scaled = fit(form), fit(form, edges={name: factor * tau for name, tau in EDGES.items()})
    for modality in MODALITIES:
        np.testing.assert_allclose(scaled.embedding(modality), plain.embedding(modality), rtol=2e-3, atol=1e-5)
    np.testing.assert_allclose(scaled.history["per_weight"], plain.history["per_weight"], rtol=1e-3, atol=1e-5)
    lists = [model.recommend(["user-1"], k=60, given={"hour": "day"}).sort("item") for model in (plain, scaled)]
    np.testing.assert_allclose(lists[1]["score"], lists[0]["score"], rtol=5e-3, atol=1e-7)


def test_weight_two_is_the_edge_twice(films: hr.Hypergraph, fit: Fit, form: str) -> None:
    watched = films.table("watched").drop("time")
    doubled = watched.with_columns(weight=pl.when(pl.col("user") < "user-5").then(2.0).otherwise(1.0))
    twice = pl.concat([watched, watched.filter(pl.col("user") < "user-5")])
    one, other = (fit(form, graph=frame, edges=None) for frame in (doubled, twice))
    np.testing.assert_allclose(one.embedding("item"), other.embedding("item"), rtol=1e-3, atol=1e-5)


def test_the_order_of_columns_says_nothing(films: hr.Hypergraph, fit: Fit, form: str) -> None:
    frames = {name: films.table(name) for name in EDGES}
    turned = {**frames, "watched_at": frames["watched_at"].select("hour", "user", "item", "weight")}
    one, other = fit(form, graph=frames), fit(form, graph=turned)
    for modality in MODALITIES:
        np.testing.assert_allclose(one.embedding(modality), other.embedding(modality), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_topics": 0}, "n_topics must be a whole number, 1 or more; got 0."),
        ({"n_topics": 2.5}, "n_topics must be a whole number, 1 or more; got 2.5."),
        ({"n_topics": True}, "n_topics must be a whole number, 1 or more; got True."),
        ({"n_topics": "3"}, "n_topics must be a whole number, 1 or more; got '3'."),
        ({"n_passes": -1}, "n_passes must be a whole number, 1 or more; got -1."),
        ({"n_passes": 0}, "n_passes must be a whole number, 1 or more; got 0."),
        ({"seed": -1}, "seed must be a whole number, 0 or more; got -1."),
        ({"seed": 0.5}, "seed must be a whole number, 0 or more; got 0.5."),
        ({"over_relaxation": 2}, "over_relaxation must be a number, 1 to 1.99; got 2."),
        ({"over_relaxation": 0.9}, "over_relaxation must be a number, 1 to 1.99; got 0.9."),
        ({"tolerance": float("nan")}, "tolerance must be a number, 0 or more; got nan."),
        ({"tolerance": -0.1}, "tolerance must be a number, 0 or more; got -0.1."),
        ({"length_damping": 1.5}, "length_damping must be a number, 0 to 1; got 1.5."),
        ({"history_prior": -1}, "history_prior must be a number, 0 or more; got -1."),
        ({"popularity_exponent": -2}, "popularity_exponent must be a number, -1 to 1; got -2."),
        ({"context_exponent": None}, "context_exponent must be a number, 0 to 1; got None."),
        ({"context": "mean"}, "context must be hr.Mean(), hr.Recency(...), another context or None; got 'mean'."),
        ({"context": hr.Mean}, "context must be hr.Mean(), hr.Recency(...), another context or None; got <class"),
        ({"edges": ["watched"]}, "edges must say edge type -> weight tau, such as {'rated': 1.0}; got ['watched']."),
        ({"edges": {}}, "edges must say edge type -> weight tau, such as {'rated': 1.0}; got {}."),
    ],
    ids=str,
)
def test_refuses_parameters(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(hr.ModelError) as caught:
        hr.TopicModel(**parameters)
    assert message in str(caught.value)


def test_a_small_log_gets_fewer_topics_by_default(tmp_path: Path) -> None:
    small, large = (pl.DataFrame({"user": np.arange(n) // 4, "item": np.arange(n) % m}) for n, m in ((120, 30), (4000, 1000)))
    model = hr.TopicModel(n_passes=2).fit(small)
    assert model.n_topics == 7
    model.save(tmp_path / "model")
    assert hr.load(tmp_path / "model").recommend([0], k=3).equals(model.recommend([0], k=3))
    assert model.fit(large).n_topics == 200
    with pytest.raises(hr.ModelError, match="n_topics is 200, but the edges have 30 vertices only: ask for fewer topics"):
        hr.TopicModel(200).fit(small)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_topics": 67}, "n_topics is 67, but the edges have 66 vertices only: ask for fewer topics."),
        ({"n_topics": 187, "context": None}, "n_topics is 187, but the edges have 186 vertices only"),
        ({"container": "users"}, "container 'users' is not a modality of the graph, which has user, item, genre, hour."),
        ({"container": "users"}, "Did you mean 'user'? Set container=... to the one that owns the histories."),
        ({"edges": {"genres": 1.0}}, "unknown edge type 'genres' in edges: the graph has watched, genre, watched_at."),
        ({"edges": {"genres": 1.0}}, "Did you mean 'genre'?"),
        ({"edges": {"watched": 0.0}}, "edges['watched'] is the weight tau of an edge type: expected a number > 0, got 0.0."),
        ({"edges": {"genre": -1}}, "edges['genre'] is the weight tau of an edge type: expected a number > 0, got -1."),
        ({"edges": {"genre": float("nan")}}, "expected a number > 0, got nan."),
        ({"edges": {"genre": float("inf")}}, "expected a number > 0, got inf."),
        ({"edges": {"genre": "1"}}, "expected a number > 0, got '1'."),
        ({"edges": {"genre": None}}, "expected a number > 0, got None."),
        ({"edges": {"genre": 1.0}}, "no edge type joins user to another modality: edges has genre."),
    ],
    ids=str,
)
def test_refuses_what_does_not_fit_the_graph(fit: Fit, parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(hr.ModelError) as caught:
        fit(**parameters)
    assert message in str(caught.value)


def test_as_many_topics_as_vertices(fit: Fit) -> None:
    np.testing.assert_allclose(fit(n_topics=66, n_passes=3).embedding("item").sum(axis=1), 1, atol=1e-5)


def test_refuses_an_edge_type_without_edges(films: hr.Hypergraph, fit: Fit) -> None:
    genre = films.edges["genre"]
    empty = films.with_edges({**films.edges, "genre": type(genre)(genre.modalities, genre.frame.clear())})
    with pytest.raises(hr.ModelError, match="edge type 'genre' has no edges: leave it out of edges=, or check the log"):
        fit(graph=empty)
    assert fit(graph=empty, edges={"watched": 1.0}).fitted


def test_an_order_one_edge_of_the_container_alone(films: hr.Hypergraph, fit: Fit) -> None:
    frames = {"watched": films.table("watched"), "joined": films.table("watched").select("user").unique()}
    with pytest.raises(hr.ModelError, match="edge type 'joined' holds nothing but the container 'user': leave it out of edges="):
        fit(graph=frames, edges=None)
    for form in ("container", "symmetric"):
        assert fit(form, graph=frames, edges=None).fitted


@pytest.mark.parametrize("was_fitted", [False, True])
def test_an_interrupted_fit_leaves_the_model_as_it_was(
    films: hr.Hypergraph, fit: Fit, monkeypatch: pytest.MonkeyPatch, was_fitted: bool
) -> None:
    model = fit() if was_fitted else hr.TopicModel(3, n_passes=8)
    before = bits(model) if was_fitted else None
    passes = []

    def interrupted(*arguments: Any) -> Any:
        passes.append(1)
        if len(passes) == 3:
            raise KeyboardInterrupt
        return e_step(*arguments)

    e_step = em.e_step
    monkeypatch.setattr(em, "e_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.fit(films.select("watched", "genre") if not was_fitted else films, progress=False)
    assert len(passes) == 3
    assert model.fitted == was_fitted
    if was_fitted:
        assert bits(model) == before
    else:
        with pytest.raises(hr.ModelError, match="the model is not fitted"):
            model.recommend()


def test_progress_goes_to_stderr(fit: Fit, films: hr.Hypergraph, capsys: pytest.CaptureFixture[str]) -> None:
    fit()
    quiet = capsys.readouterr()
    assert (quiet.out, quiet.err) == ("", "")
    hr.TopicModel(3, n_passes=4).fit(films, progress=True)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "4/4" in shown.err
    assert "log-likelihood" in shown.err


def test_shows_itself(fit: Fit) -> None:
    assert repr(hr.TopicModel(7)) == "TopicModel(n_topics=7, container='user', context=Mean(), not fitted)"
    assert repr(fit("symmetric")) == "TopicModel(n_topics=3, container=None, context=Mean(), fitted)"
