"""Tuning: halving by hand, the best over the rungs, the split, resuming, configs, spaces, the picture and what is refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from strategies import seeded

import hyperrec as hr
from hyperrec import tuning
from hyperrec.config import as_json, from_json
from hyperrec.errors import DataError, HyperrecError, ModelError
from hyperrec.space import check_space, default_space, draw, draws, flat
from hyperrec.tuning import Tuning

SPACE = {"n_topics": [2, 3, 4, 5], "length_damping": (0.0, 0.5)}
KEPT = ["trial", "rung", "n_passes", "passes", "n_topics", "length_damping", "value"]
small: dict[str, Any] = {"trials": 5, "n_passes": (2, 4, 8), "space": SPACE, "edges": {"watched": 1.0}, "progress": False}


@pytest.fixture(scope="module")
def tuned(films: hr.Hypergraph) -> Tuning:
    return hr.tune(films, "watched", **small)


@pytest.fixture
def fitted(monkeypatch: pytest.MonkeyPatch) -> list[hr.TopicModel]:
    """The models that are measured."""
    measured: list[hr.TopicModel] = []
    evaluate = tuning.evaluate

    def noted(model: hr.TopicModel, *arguments: Any, **options: Any) -> Any:
        measured.append(model)
        return evaluate(model, *arguments, **options)

    monkeypatch.setattr(tuning, "evaluate", noted)
    return measured


# ---------------------------------------------------------------------------------------------------- the search


def test_the_better_half_goes_on(tuned: Tuning) -> None:
    trials = tuned.trials
    assert trials.columns == [*KEPT, "seconds"]
    assert trials["rung"].to_list() == [1] * 5 + [2] * 2 + [3]
    for rung in (1, 2):
        before, after = (trials.filter(rung=one).sort("value", descending=True, maintain_order=True) for one in (rung, rung + 1))
        assert set(after["trial"]) == set(before["trial"].head(before.height // 2))
    assert trials.filter(rung=1).select(pl.struct("n_topics", "length_damping").n_unique()).item() == 5


def test_the_best_over_all_rungs_with_its_passes(tuned: Tuning) -> None:
    best = tuned.trials.row(int(tuned.trials["value"].arg_max() or 0), named=True)
    drawn = {name: best[name] for name in SPACE}
    assert tuned.config == {"container": "user", "edges": {"watched": 1.0}, "seed": 0, **drawn, "n_passes": best["n_passes"]}


def test_the_config_gives_what_was_measured_and_the_model(tuned: Tuning, films: hr.Hypergraph) -> None:
    inner, validation = hr.split(films, "watched", fraction=0.1, seed=0)
    again = hr.TopicModel(**tuned.config).fit(inner, progress=False)
    assert hr.evaluate(again, inner, validation)["ndcg@10"] == tuned.trials["value"].max()
    whole = hr.TopicModel(**tuned.config).fit(films, progress=False)
    assert tuned.model.embedding("item").tobytes() == whole.embedding("item").tobytes()


def test_passes_that_do_harm_are_not_chosen(films: hr.Hypergraph, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values by passes and topics: the best has few passes, and is left behind in its rung."""
    values = {(2, 2): 0.3, (2, 3): 0.5, (2, 4): 0.4, (2, 5): 0.1, (4, 3): 0.2, (4, 4): 0.45, (8, 4): 0.46}
    monkeypatch.setattr(tuning, "evaluate", lambda model, *_, **__: {"ndcg@10": values[model.n_passes, model.n_topics]})
    options = {**small, "space": {"n_topics": [2, 3, 4, 5]}, "trials": 4, "tolerance": 0.0}
    found = hr.tune(films, "watched", **options)
    assert (found.config["n_passes"], found.config["n_topics"]) == (2, 3)
    shown = found.trials.select("n_passes", "n_topics", "value").rows()
    assert {(passes, topics): value for passes, topics, value in shown} == values
    assert found.model.history.height == 2


def test_more_passes_of_a_fit_that_was_done_are_not_made(films: hr.Hypergraph, fitted: list[hr.TopicModel]) -> None:
    found = hr.tune(films, "watched", **{**small, "trials": 1, "n_passes": (2, 30, 60, 90), "tolerance": 0.5})
    assert [model.n_passes for model in fitted] == [2, 30]
    assert found.trials["n_passes"].to_list() == [2, 30, 60, 90]
    assert found.trials["passes"].to_list()[1:] == [fitted[1].history.height] * 3
    assert found.trials["value"].n_unique() <= 2
    assert found.config["n_passes"] in (2, 30)


def test_no_trial_sees_the_validation_split(films: hr.Hypergraph, fitted: list[hr.TopicModel]) -> None:
    hr.tune(films, "watched", by="last", **small)
    train, _ = hr.split(films, "watched", by="last")
    assert all((model.seen != fitted[0].seen).nnz == 0 for model in fitted)
    assert fitted[0].seen.nnz == train.table("watched").height


def test_another_metric_and_length(films: hr.Hypergraph) -> None:
    found = hr.tune(films, "watched", metric="recall@5", **{**small, "trials": 1, "n_passes": [3]})
    inner, validation = hr.split(films, "watched", fraction=0.1, seed=0)
    measured = hr.evaluate(hr.TopicModel(**found.config).fit(inner, progress=False), inner, validation, 5)
    assert (found.trials["value"].to_list(), found.metric) == ([measured["recall@5"]], "recall@5")


def test_seen_items_are_asked_for_again(films: hr.Hypergraph) -> None:
    options = {**small, "trials": 1, "n_passes": [3], "metric": "recall@5"}
    found = hr.tune(films, "watched", filter_seen=False, **options)
    inner, validation = hr.split(films, "watched", fraction=0.1, seed=0)
    model = hr.TopicModel(**found.config).fit(inner, progress=False)
    measured = [hr.evaluate(model, inner, validation, 5, filter_seen=one)["recall@5"] for one in (False, True)]
    assert found.trials["value"].to_list() == measured[:1] != measured[1:]


def test_the_same_seed_the_same_trials(tuned: Tuning, films: hr.Hypergraph) -> None:
    again = hr.tune(films, **small)
    assert_frame_equal(again.trials.select(KEPT), tuned.trials.select(KEPT))
    other = hr.tune(films, seed=1, **small)
    assert other.config["seed"] == 1
    assert other.trials["value"].to_list() != tuned.trials["value"].to_list()


def test_by_default_a_space_of_the_situation(films: hr.Hypergraph) -> None:
    found = hr.tune(films, "watched", by="last", trials=2, n_passes=[2], n_topics=4, progress=False)
    edges = ["edges.watched", "edges.genre", "edges.watched_at"]
    drawn = ["length_damping", "drop_below", "neighbours", "popularity_exponent", "context", *edges, "context_exponent"]
    assert found.trials.columns == ["trial", "rung", "n_passes", "passes", *drawn, "value", "seconds"]
    assert found.config["n_topics"] == 4
    assert list(found.config["edges"]) == ["watched", "genre", "watched_at"]


def test_lines_on_stderr(films: hr.Hypergraph, capsys: pytest.CaptureFixture[str]) -> None:
    hr.tune(films, "watched", **{**small, "progress": True, "n_passes": [2], "trials": 2})
    lines = capsys.readouterr().err.splitlines()
    assert lines[1].startswith("trial 2 of 2, 2 passes: validation ndcg@10 0.")
    assert "(n_topics " in lines[1]
    hr.tune(films, "watched", **{**small, "n_passes": [2], "trials": 1})
    assert capsys.readouterr().err == ""


# ------------------------------------------------------------------------------------------------------ resuming


def test_what_was_interrupted_goes_on(
    tuned: Tuning, films: hr.Hypergraph, fitted: list[hr.TopicModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted = tuning.evaluate

    def interrupted(*arguments: Any, **options: Any) -> Any:
        if len(fitted) == 6:
            raise KeyboardInterrupt
        return noted(*arguments, **options)

    monkeypatch.setattr(tuning, "evaluate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        hr.tune(films, "watched", folder=tmp_path / "kept", **small)
    assert {one.name for one in (tmp_path / "kept").iterdir()} == {"question.json", "trials.parquet"}
    assert_frame_equal(pl.read_parquet(tmp_path / "kept" / "trials.parquet").select(KEPT), tuned.trials.select(KEPT).head(6))
    monkeypatch.setattr(tuning, "evaluate", noted)
    found = hr.tune(films, "watched", folder=tmp_path / "kept", **small)
    assert len(fitted) == 8
    assert_frame_equal(found.trials.select(KEPT), tuned.trials.select(KEPT))
    assert found.config == tuned.config
    hr.tune(films, "watched", folder=tmp_path / "kept", **small)
    assert len(fitted) == 8


def test_what_the_folder_holds(tuned: Tuning, films: hr.Hypergraph, tmp_path: Path) -> None:
    found = hr.tune(films, "watched", folder=tmp_path, **small)
    assert {one.name for one in tmp_path.iterdir()} == {"question.json", "trials.parquet", "config.json", "model", "trials.html"}
    assert_frame_equal(pl.read_parquet(tmp_path / "trials.parquet"), found.trials)
    assert hr.read_config(tmp_path / "config.json") == tuned.config
    loaded = hr.load(tmp_path / "model")
    assert loaded.embedding("item").tobytes() == tuned.model.embedding("item").tobytes()
    assert "vegaEmbed" in (tmp_path / "trials.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"trials": 6}, "trials 5 there, 6 here"),
        ({"n_passes": (2, 4)}, r"n_passes \[2, 4, 8\] there, \[2, 4\] here"),
        ({"by": "last"}, "by random there, last here"),
        ({"space": {"n_topics": [2, 3]}}, r"space \{'n_topics': \[2, 3, 4, 5\], .* there, \{'n_topics': \[2, 3\]\} here"),
        ({"tolerance": 0.5}, r"options \{.*\} there, \{.*'tolerance': 0.5.*\} here"),
    ],
)
def test_another_question_is_refused(change: dict[str, Any], told: str, films: hr.Hypergraph, tmp_path: Path) -> None:
    begun(films, tmp_path)
    with pytest.raises(ModelError, match=rf"is of another tuning \({told}\)\. Delete it, or choose another folder\."):
        hr.tune(films, "watched", folder=tmp_path, **{**small, **change})


def test_other_edges_are_another_question(films: hr.Hypergraph, tmp_path: Path) -> None:
    begun(films, tmp_path)
    fewer, _ = hr.split(films, "watched")
    with pytest.raises(ModelError, match=r"is of another tuning \(other edges\)"):
        hr.tune(fewer, "watched", folder=tmp_path, **small)


def begun(films: hr.Hypergraph, folder: Path) -> None:
    """A folder in which `small` was begun."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tuning, "evaluate", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            hr.tune(films, "watched", folder=folder, **small)


@pytest.mark.parametrize(("name", "content"), [("trials.parquet", b"PAR1"), ("question.json", b"{"), ("question.json", b"[]")])
def test_a_damaged_folder(name: str, content: bytes, films: hr.Hypergraph, tmp_path: Path) -> None:
    begun(films, tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=r"holds no tuning that can be read: delete it to begin again\."):
        hr.tune(films, "watched", folder=tmp_path, **small)


def test_a_folder_of_other_things(films: hr.Hypergraph, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ModelError, match=r"holds what is not of a tuning \(thesis\.tex\): it is left alone\. Choose another"):
        hr.tune(films, "watched", folder=tmp_path, **small)
    with pytest.raises(ModelError, match=r"cannot write to .*thesis\.tex.*: .*\. Choose another folder\."):
        hr.tune(films, "watched", folder=tmp_path / "thesis.tex" / "below", **small)
    (tmp_path / "thesis.tex").unlink()
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine").touch()
    with pytest.raises(ModelError, match="holds what is not of a hyperrec model"):
        hr.tune(films, "watched", folder=tmp_path, **small)


# ----------------------------------------------------------------------------------------------- configs, spaces


def test_configs_come_back_from_json(tmp_path: Path) -> None:
    contexts = [None, hr.Mean(), hr.Recency(0.3, pause=5.0), hr.Mixture(hr.Recency(0.5), hr.Mean(), importance={1: 0.5})]
    for context in contexts:
        options = {"n_topics": 7, "context": context, "edges": {"watched": 1.0, "genre": 0.1}, "length_damping": np.float64(0.2)}
        hr.write_config(options, tmp_path / "config.json")
        assert hr.read_config(tmp_path / "config.json") == options
        assert repr(hr.TopicModel(**hr.read_config(tmp_path / "config.json"))) == repr(hr.TopicModel(**options))
    options = {"online": hr.Online(batch_size=7), "regularizers": [hr.Smooth(0.1, "item")]}
    assert from_json(json.loads(json.dumps(as_json(options)))) == options


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, r"none\.json cannot be read: .*\. Give the config\.json of a tuning\."),
        ("{", r"is no config of a TopicModel \(.*\)\. Give"),
        ("[1]", r"is no config of a TopicModel \(expected an object, got list\)"),
        ('{"context": {"kind": "Moon"}}', r"is no config of a TopicModel \(context must have a kind, one of Mean, .*; got"),
        ('{"context": {"gamma": 0.4}}', r"\(context must have a kind, one of Mean, .*; got {'gamma': 0.4}\)"),
        ('{"neighbours": {"weight_exp": 1}}', r"\(neighbours has no parameter 'weight_exp': it has .* mean 'weight_exponent'\?"),
        ('{"neighbours": 0.5}', r"\(neighbours must be an object of its parameters; got 0.5\)"),
        ('{"n_topic": 3}', r"TopicModel has no option 'n_topic': it has n_topics, .*\. ?Did you mean 'n_topics'\?"),
    ],
)
def test_wrong_configs(content: str | None, told: str, tmp_path: Path) -> None:
    path = tmp_path / "none.json"
    if content is not None:
        path.write_text(content, "utf-8")
    with pytest.raises(ModelError, match=told):
        hr.read_config(path)


def test_a_config_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot write .*config\.json: .*\. Choose another place\."):
        hr.write_config({"n_topics": 3}, tmp_path / "none" / "config.json")


@settings(max_examples=100, deadline=None, derandomize=True)
@given(seeded(), st.integers(1, 50), st.integers(1, 50), st.floats(1e-3, 1, exclude_min=True), st.floats(0, 10))
def test_draws_lie_in_the_space(rng: np.random.Generator, low: int, width: int, start: float, more: float) -> None:
    space = {
        "whole": (low, low + width), "log": (low, low + width, "log"), "real": (start, start + more + 0.1),
        "small": (start * 1e-3, start, "log"), "choice": ["a", None], "held": 7, "nested": {"x": (0.0, 1.0), "y": 2.0},
    }  # fmt: skip
    one = draw(space, rng)
    assert isinstance(one["whole"], int)
    assert isinstance(one["log"], int)
    assert low <= one["whole"] <= low + width
    assert low <= one["log"] <= low + width
    assert start <= one["real"] <= start + more + 0.1
    assert start * 1e-3 <= one["small"] <= start
    assert one["choice"] in ("a", None)
    assert (one["held"], one["nested"]["y"]) == (7, 2.0)
    assert 0 <= one["nested"]["x"] <= 1


def test_draws_reach_all_of_the_space_and_differ() -> None:
    rng = np.random.default_rng(0)
    assert {draw((1, 3), rng) for _ in range(100)} == {1, 2, 3}
    assert {draw((1, 3, "log"), rng) for _ in range(100)} == {1, 2, 3}
    logs = np.array([draw((1e-4, 1.0, "log"), rng) for _ in range(400)])
    assert np.median(logs) == pytest.approx(1e-2, rel=0.5)
    few = draws({"n_topics": [2, 3], "drop_below": [0.0, 0.1]}, 10, 0)
    assert len(few) == 4
    assert draws(SPACE, 3, 5) == draws(SPACE, 6, 5)[:3]


def test_columns_of_the_trials() -> None:
    given = {"edges": {"a": 1.0, "b": 0.5}, "context": hr.Recency(0.4), "n_topics": 3, "regularizers": [], "container": None}
    assert flat(given) == {
        "edges.a": 1.0, "edges.b": 0.5, "context": "Recency(gamma=0.4)", "n_topics": 3, "regularizers": "[]", "container": "None",
    }  # fmt: skip


def test_attributes_are_left_out_of_the_default_space(films: hr.Hypergraph) -> None:
    options = {"n_passes": (3,), "n_topics": 4, "progress": False}
    found = hr.tune(films, "watched", by="cold_items", trials=2, attributes=hr.Attributes(), **options)
    assert found.config["attributes"] is not None
    assert "genre" not in (found.config.get("edges") or {})
    assert found.model.described is not None
    named = hr.Attributes(edges={"genre": 2.0})
    found = hr.tune(films, "watched", trials=1, attributes=named, **options)
    assert list(found.model.fitted_edges) == ["watched", "watched_at"]


def test_a_config_may_leave_out_all_parameters(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"attributes": {}, "neighbours": {}, "online": null}')
    found = hr.read_config(tmp_path / "config.json")
    assert found == {"attributes": hr.Attributes(), "neighbours": hr.Neighbours(), "online": None}


def test_types_that_no_trial_sees_are_not_in_the_model(films: hr.Hypergraph) -> None:
    rows = films.table("watched").with_columns(time=pl.int_range(pl.len()))
    often = rows.select("user", "item", weight=1.0 + pl.col("time") % 3)
    graph = hr.Hypergraph.from_frames(watched=rows, often=often)
    options: dict[str, Any] = {"by": "time", "trials": 1, "n_passes": (2,), "n_topics": 3, "progress": False}
    found = hr.tune(graph, "watched", **options)
    assert found.model.fitted_edges == found.config["edges"] == {"watched": 1.0}
    for edges in ({"edges": {"watched": 1.0, "often": 0.5}}, {"space": {"edges": {"watched": 1.0, "often": (0.1, 1.0)}}}):
        with pytest.raises(ModelError, match="edges names 'often', which by='time' leaves out: it says how often, and not when"):
            hr.tune(graph, "watched", **options, **edges)


def test_default_spaces(films: hr.Hypergraph) -> None:
    alone = default_space(films, "watched", edges=["watched"])
    weights = alone["neighbours"]
    assert {name: one for name, one in alone.items() if name != "neighbours"} == {
        "n_topics": [60], "length_damping": (0.0, 0.5), "drop_below": [0.0, 0.002], "popularity_exponent": (-0.2, 0.05),
    }  # fmt: skip
    assert {one.gamma for one in weights} == {0.15}  # not read: histories are sets
    assert {one.sharpness for one in weights} == {1.0, 2.0}
    assert {one.weight_exponent for one in weights} == {0.0}  # all pairs are alike
    often = hr.Hypergraph.from_frames(watched=films.table("watched").with_columns(weight=pl.int_range(1, pl.len() + 1)))
    for by in ("random", "last", "time"):
        assert {one.weight_exponent for one in default_space(often, "watched", by=by)["neighbours"]} == {0.0, -0.2, 0.5, 1.0}
    assert list(default_space(films, "watched", by="last", edges=["watched"])) == [*alone, "context"]
    in_time = default_space(films, "watched", by="time", edges=["watched"])
    assert list(in_time) == [*alone, "history_prior"]
    assert in_time["popularity_exponent"] == (-0.1, 0.5)
    assert max(one.regularization for one in in_time["neighbours"]) > max(one.regularization for one in weights)
    full = default_space(films, "watched")
    assert full["edges"] == {"watched": 1.0, "genre": (0.003, 1.0, "log"), "watched_at": (0.003, 1.0, "log")}
    assert full["context_exponent"] == (0.0, 0.5)
    for space in (alone, full, default_space(films, "watched", by="last")):
        check_space(space)


@pytest.mark.parametrize(
    ("space", "told"),
    [
        ([1], r"space must say option -> values, such as \{'n_topics': \[100, 200\]\}; got \[1\]"),
        ({"n_topic": [3]}, r"TopicModel has no option 'n_topic'.*Did you mean 'n_topics'\?"),
        ({"n_passes": [3]}, r"n_passes and seed are arguments of tune itself"),
        ({"tolerance": [0.1]}, "'tolerance' is in the space and held as an option, too: give it once"),
        ({"n_topics": []}, r"space\['n_topics'\] is an empty list: there is nothing to draw"),
        ({"n_topics": (3,)}, r"space\['n_topics'\] must be \(low, high\) or \(low, high, 'log'\) .*\. A choice is a list"),
        ({"n_topics": (5, 3)}, "with low < high"),
        ({"n_topics": (1, 3, "ln")}, "with low < high"),
        ({"n_topics": ("a", "b")}, "with low < high"),
        ({"length_damping": (0.0, 1.0, "log")}, "above 0 for 'log'"),
        ({"edges": {"watched": (1.0, 0.5)}}, r"space\['edges'\]\['watched'\] must be"),
    ],
)
def test_wrong_spaces(space: Any, told: str) -> None:
    with pytest.raises(ModelError, match=told):
        check_space(space, {"tolerance": 0.0})


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({"trials": 0}, ModelError, "trials must be a whole number, 1 or more; got 0"),
        ({"trials": True}, ModelError, "trials must be a whole number, 1 or more; got True"),
        ({"n_passes": (4, 2)}, ModelError, r"n_passes must be whole numbers, ascending, such as \(10, 20, 40\); got \(4, 2\)"),
        ({"n_passes": ()}, ModelError, "n_passes must be whole numbers, ascending"),
        ({"n_passes": 20}, ModelError, "n_passes must be whole numbers, ascending, .*; got 20"),
        ({"metric": "ndcg"}, ModelError, "metric must be name@k, such as ndcg@10, with one of ndcg, precision, .*; got 'ndcg'"),
        ({"metric": "coverage@10"}, ModelError, "metric must be name@k"),
        ({"by": "tme"}, DataError, "by must be one of .*Did you mean 'time'"),
        ({"n_topic": 3}, ModelError, "TopicModel has no option 'n_topic'"),
        ({"tolerance": -1}, ModelError, "tolerance must be a number, 0 or more; got -1"),
        ({"space": {"n_topics": [0]}}, ModelError, "n_topics must be a whole number, 1 or more; got 0"),
    ],
)
def test_wrong_questions(options: dict[str, Any], error: type[HyperrecError], told: str, films: hr.Hypergraph) -> None:
    with pytest.raises(error, match=told):
        hr.tune(films, "watched", **{**small, **options})


def test_tune_needs_a_graph(films: hr.Hypergraph) -> None:
    with pytest.raises(DataError, match="split takes a Hypergraph in memory"):
        hr.tune(films.table("watched"))  # type: ignore[arg-type]
    with pytest.raises(DataError, match="unknown edge type 'watchd'"):
        hr.tune(films, "watchd")


# --------------------------------------------------------------------------------------------------- the picture


def test_the_picture_has_a_panel_for_each_parameter(tuned: Tuning) -> None:
    picture = tuned.chart().to_dict()
    panels = picture["concat"]
    assert [panel["layer"][-1]["encoding"]["x"]["title"] for panel in panels] == ["passes", "n_topics", "length_damping"]
    assert len(panels[0]["layer"]) == 3  # its lines too
    (values,) = picture["datasets"].values()
    assert [value["value"] for value in values] == tuned.trials["value"].to_list()
    assert [value["best"] for value in values].index(True) == tuned.trials["value"].arg_max()


def test_a_picture_of_names_and_wide_ranges() -> None:
    rows = {"trial": range(9), "n_passes": [2] * 9, "value": np.arange(9) / 10, "edges.a[b]:c": 10.0 ** np.arange(9)}
    trials = pl.DataFrame({**rows, "context": ["Mean()"] * 8 + ["Recency(gamma=0.4)"], "same": [1] * 9})
    found = Tuning(hr.TopicModel(), {}, trials, "map@5").chart().to_dict()["concat"]
    axes = [panel["layer"][-1]["encoding"]["x"] for panel in found]
    assert [one["title"] for one in axes] == ["passes", "edges.a[b]:c", "context"]
    assert axes[1]["scale"]["type"] == "log"
    assert axes[2]["type"] == "ordinal"


def test_without_altair(tuned: Tuning, films: hr.Hypergraph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "altair", None)
    monkeypatch.setattr(tuning, "find_spec", lambda name: None)
    with pytest.raises(HyperrecError, match=r"a picture needs the package altair: pip install 'hyperrec\[report\]'"):
        tuned.chart()
    hr.tune(films, "watched", folder=tmp_path, **{**small, "trials": 1, "n_passes": [2]})
    assert not (tmp_path / "trials.html").exists()
    assert (tmp_path / "model").is_dir()
