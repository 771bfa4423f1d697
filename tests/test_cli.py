"""The commands: tables on stdout, progress and messages on stderr, one line and exit code 2 for what can be mended."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import hyperrec as hr
from hyperrec import storage
from hyperrec.cli import main

OWN = """
name = "own"
[tables.events]
file = "events.csv"
[tables.films]
file = "films.csv"
[edges.watched]
table = "events"
vertices = { user = "user", item = "item" }
time = "time"
[edges.genre]
table = "films"
vertices = { item = "item", genre = "genre" }
[labels.item]
table = "films"
id = "item"
text = "title"
"""
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a log, a schema of it and a model fitted to it."""
    folder = tmp_path_factory.mktemp("shelf")
    rng = np.random.default_rng(5)
    genres = ["drama", "comedy", "horror"]
    liked = rng.random((40, 8)) < 0.85
    numbers = 3 * rng.integers(8, size=(40, 8)) + np.where(liked, np.arange(40)[:, None] % 3, rng.integers(3, size=(40, 8)))
    rows = [(f"u{u}", f"film-{numbers[u, s]}", 3600 * (50 * u + s)) for u in range(40) for s in range(8)]
    pl.DataFrame(rows, schema=["user", "item", "time"], orient="row").write_csv(folder / "events.csv")
    films = {"item": [f"film-{n}" for n in range(24)], "genre": genres * 8, "title": [f"Film No. {n}" for n in range(24)]}
    pl.DataFrame(films).write_csv(folder / "films.csv")
    (folder / "own.toml").write_text(OWN, "utf-8")
    graph = hr.read_logs(folder / "own.toml", folder)
    hr.TopicModel(3, edges={"watched": 1.0, "genre": 0.2}, n_passes=10, seed=4).fit(graph, progress=False).save(folder / "model")
    return folder


@pytest.fixture
def place(shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the shelf as the current folder."""
    place = shutil.copytree(shelf, tmp_path / "place")
    monkeypatch.chdir(place)
    return place


@pytest.fixture
def run(place: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """run("topics", "model") gives the exit code, stdout and stderr of a command in the place."""

    def run(*arguments: str) -> tuple[int, str, str]:
        code = 0
        try:
            main(list(arguments))
        except SystemExit as leaving:
            code = int(leaving.code or 0)
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def refused(place: Path, run: Run) -> Callable[..., str]:
    """refused("topics", "nothing") gives the one line that a command ends with, having written nothing."""

    def refused(*arguments: str) -> str:
        before = content(place)
        code, out, err = run(*arguments)
        assert (code, out) == (2, "")
        assert content(place) == before
        return last_line(err)

    return refused


def content(folder: Path) -> dict[Path, bytes | None]:
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def last_line(err: str) -> str:
    lines = err.replace("\r", "\n").splitlines()
    assert [line.startswith("hyperrec: ") for line in lines].count(True) == 1
    assert "Traceback" not in err
    assert lines[-1].startswith("hyperrec: ")
    return lines[-1].removeprefix("hyperrec: ")


def table(text: str) -> pl.DataFrame:
    return pl.read_csv(text.encode(), separator="\t")


def process(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), capture_output=True, text=True, check=False, env=environment())


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from hyperrec.cli import main; main()", *arguments]


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}


# ------------------------------------------------------------------------------------------------- what it does


def test_fit_saves_the_model_that_the_library_fits(place: Path, run: Run) -> None:
    options = ["--topics", "3", "--passes", "10", "--seed", "4", "--edge", "watched", "--edge", "genre=0.2"]
    code, out, err = run("fit", "own.toml", ".", "--out", "new/fitted", *options)
    assert (code, out) == (0, f"{Path('new/fitted')}\n")
    assert "watched: 320 edges user x item (timed)" in err
    assert "log-likelihood" in err
    new, old = hr.load("new/fitted"), hr.load("model")
    assert new.edges == {"watched": 1.0, "genre": 0.2}
    assert new.embedding("item").tobytes() == old.embedding("item").tobytes()
    assert os.listdir("new") == ["fitted"]


def test_fit_goes_on_from_a_checkpoint(place: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ("fit", "own.toml", ".", "--topics", "3", "--passes", "4", "--checkpoint", "kept")
    assert run(*arguments, "--out", "new")[0] == 0
    first = hr.load("new").embedding("item").tobytes()
    monkeypatch.setattr("hyperrec.topics.em.e_step", None)
    code, out, _ = run(*arguments, "--out", "again")
    assert (code, out) == (0, "again\n")
    assert hr.load("again").embedding("item").tobytes() == first


@pytest.mark.parametrize("folder", ["new", "new/kept"])
def test_a_checkpoint_is_no_part_of_the_model(folder: str, place: Path, refused: Callable[..., str]) -> None:
    message = refused("fit", "own.toml", ".", "--out", "new", "--checkpoint", folder)
    assert f"--checkpoint {folder} lies in the folder of the model, --out new: choose another one." in message
    assert not (place / "new").exists()


def test_fit_takes_a_config_and_what_is_given_beside_it(place: Path, run: Run) -> None:
    options = {"n_topics": 3, "n_passes": 10, "seed": 4, "edges": {"watched": 1.0, "genre": 0.2}, "context": hr.Recency(0.3)}
    hr.write_config(options, "best.json")
    assert run("fit", "own.toml", ".", "--config", "best.json", "--passes", "7", "--out", "new")[:2] == (0, "new\n")
    expected = hr.TopicModel(**{**options, "n_passes": 7}).fit(hr.read_logs("own.toml", "."), progress=False)
    assert hr.load("new").context == hr.Recency(0.3)
    assert hr.load("new").embedding("item").tobytes() == expected.embedding("item").tobytes()


def test_tune(place: Path, run: Run) -> None:
    arguments = ("tune", "own.toml", ".", "--trials", "3", "--topics", "3", "--by", "last", "--metric", "recall@5")
    code, out, err = run(*arguments)
    assert (code, out) == (0, f"{Path('hyperrec-tuned/model')}\n")
    assert "watched: 320 edges user x item (timed)" in err
    assert "trial 3 of 3, 5 passes: validation recall@5 0." in err
    assert set(os.listdir("hyperrec-tuned")) == {"question.json", "trials.parquet", "config.json", "trials.html", "model"}
    trials = pl.read_parquet("hyperrec-tuned/trials.parquet")
    assert trials["trial"].max() == 3
    assert "edges.genre" in trials.columns
    assert run("recommend", "hyperrec-tuned/model", "--user", "u1")[0] == 0
    assert run("fit", "own.toml", ".", "--config", "hyperrec-tuned/config.json", "--out", "new")[0] == 0
    new, tuned = hr.load("new"), hr.load("hyperrec-tuned/model")
    assert new.embedding("item").tobytes() == tuned.embedding("item").tobytes()
    code, out, err = run(*arguments)  # all of it is known
    assert (code, out) == (0, f"{Path('hyperrec-tuned/model')}\n")
    assert "trial 1 of 3" not in err
    held = run("tune", "own.toml", ".", "watched", "--trials", "1", "--edge", "watched", "--topics", "3", "--out", "held")
    assert held[0] == 0
    assert hr.read_config("held/config.json")["edges"] == {"watched": 1.0}


def test_fit_takes_a_shipped_schema_and_a_file(place: Path, run: Run) -> None:
    code, out, _ = run("fit", "events", "events.csv", "--topics", "2", "--passes", "2")
    assert (code, out) == (0, "hyperrec-model\n")
    assert (hr.load("hyperrec-model").n_topics, list(hr.load("hyperrec-model").sizes)) == (2, ["item"])


def test_fit_of_another_container(place: Path, run: Run) -> None:
    assert run("fit", "own.toml", ".", "--topics", "2", "--passes", "2", "--container", "item", "--out", "other")[0] == 0
    assert (hr.load("other").container, hr.load("other").user_modality) == ("item", "item")


def test_recommend(run: Run) -> None:
    code, out, err = run("recommend", "model", "--user", "u1", "--user", "u2", "--k", "3")
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == "user\titem\tlabel\tscore\trank"
    assert_frame_equal(table(out), hr.load("model").recommend(["u1", "u2"], k=3), check_dtypes=False, rel_tol=1e-4, abs_tol=1e-5)


def test_recommend_in_a_context_and_with_seen_items(run: Run) -> None:
    code, out, _ = run("recommend", "model", "--user", "u1", "--k", "20", "--given", "genre=horror", "--keep-seen")
    expected = hr.load("model").recommend(["u1"], k=20, given={"genre": "horror"}, filter_seen=False)
    assert code == 0
    assert table(out)["item"].to_list() == expected["item"].to_list()
    assert table(run("recommend", "model", "--user", "u1", "--k", "20")[1]).height < 20


def test_recommend_diverse_lists(run: Run) -> None:
    code, out, _ = run("recommend", "model", "--user", "u1", "--user", "u2", "--k", "4", "--diversify", "0.3")
    expected = hr.load("model").recommend(["u1", "u2"], k=4, diversify=0.3)
    assert (code, table(out)["item"].to_list()) == (0, expected["item"].to_list())
    assert not expected.equals(hr.load("model").recommend(["u1", "u2"], k=4))


def test_similar(run: Run) -> None:
    code, out, err = run("similar", "model", "item", "film-1", "film-2", "--k", "2")
    assert (code, err) == (0, "")
    assert table(out)["id"].to_list() == ["film-1", "film-1", "film-2", "film-2"]
    assert table(out)["neighbour"].to_list() == hr.load("model").similar("item", ["film-1", "film-2"], k=2)["neighbour"].to_list()
    code, out, err = run("similar", "model", "genre", "horror", "--to", "item")
    assert (code, err) == (0, "")
    assert table(out)["neighbour"].to_list() == hr.load("model").similar("genre", "horror", to="item")["neighbour"].to_list()


@pytest.mark.parametrize(("arguments", "modality"), [(["genre"], "genre"), ([], "item")])
def test_topics(arguments: list[str], modality: str, run: Run) -> None:
    code, out, err = run("topics", "model", *arguments, "--k", "2")
    assert (code, err) == (0, "")
    assert table(out).height == 6
    assert table(out)["id"].to_list() == hr.load("model").topics(modality, k=2)["id"].to_list()


def test_explain(run: Run) -> None:
    assert run("explain", "model", "u1", "film-3") == (0, f"{hr.load('model').explain('u1', 'film-3')}\n", "")
    told = hr.load("model").explain("u1", "film-3", filter_seen=False)
    assert run("explain", "model", "u1", "film-3", "--keep-seen") == (0, f"{told}\n", "")


@pytest.mark.parametrize("name", ["new.csv", "new.parquet", "new.json"])
def test_new_users_come_in_a_table(name: str, place: Path, run: Run) -> None:
    told = pl.DataFrame({"user": [1, 1, 2], "item": ["film-1", "film-4", "film-2"]})
    getattr(told, f"write_{name.partition('.')[2]}")(name)
    model = hr.load("model")
    code, out, _ = run("recommend", "model", "--user", "u1", "--histories", name, "--k", "3", "--exclude", "film-0")
    assert code == 0
    expected = model.recommend(["u1"], histories=told, k=3, exclude=["film-0"])
    assert_frame_equal(table(out), expected, check_dtypes=False, rel_tol=1e-4)
    among = table(run("recommend", "model", "--histories", name, "--among", "film-5", "--among", "film-7")[1])
    assert {*among["item"]} == {"film-5", "film-7"}
    Path("stars.csv").write_text("user,item,weight\n007,film-1,2\n007,film-4,0.5\n")
    assert run("recommend", "model", "--histories", "stars.csv", "--k", "1")[1].splitlines()[1].startswith("007\t")
    why = model.explain(2, "film-5", histories=told)
    assert run("explain", "model", "2", "film-5", "--histories", name) == (0, f"{why}\n", "")


def test_evaluate(place: Path, run: Run) -> None:
    code, out, err = run("evaluate", "own.toml", ".", "watched", "--topics", "3", "--passes", "5", "--by", "last")
    assert code == 0
    assert "log-likelihood" in err
    metrics = dict(table(out).select("metric", "value").iter_rows())
    assert 0 < metrics["ndcg@10"] <= 1
    assert metrics["recall@20"] >= metrics["recall@10"] > 0


def test_evaluate_takes_a_config(place: Path, run: Run) -> None:
    options = {"n_topics": 3, "n_passes": 5, "edges": {"watched": 1.0}}
    hr.config.write_config({**options, "n_topics": 4}, "options.json")
    by_hand = run("evaluate", "own.toml", ".", "watched", "--topics", "3", "--passes", "5")
    assert run("evaluate", "own.toml", ".", "watched", "--config", "options.json", "--topics", "3")[:2] == by_hand[:2]
    assert run("evaluate", "own.toml", ".", "watched", "--config", "options.json")[1] != by_hand[1]


@pytest.mark.parametrize(("name", "read"), [("a.csv", pl.read_csv), ("a.parquet", pl.read_parquet), ("a [b].json", pl.read_json)])
def test_out_is_written_by_its_ending(name: str, read: Callable[[str], pl.DataFrame], run: Run) -> None:
    assert run("recommend", "model", "--user", "u1", "--k", "4", "--out", name) == (0, "", "")
    expected = hr.load("model").recommend(["u1"], k=4)
    assert_frame_equal(read(name), expected, check_dtypes=False, rel_tol=1e-6)


def test_help_and_version(run: Run) -> None:
    code, out, err = run("--help")
    assert (code, err) == (0, "")
    for one in ("fit", "tune", "recommend", "similar", "topics", "explain", "evaluate"):
        assert f" {one} " in out
    assert run("--version") == (0, f"{hr.__version__}\n", "")
    code, out, _ = run("fit", "--help")
    assert code == 0
    assert "--topics" in out


# ---------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ("fitt", ["Unknown command", "fitt", 'Did you mean "fit"?', "hyperrec --help"]),
        ("fit own.toml . --topic 3", ["Unknown option", "--topic", "Did you mean --topics?"]),
        ("fit", ["--schema", "requires an argument"]),
        ("explain model u1", ["--item", "requires an argument"]),
        ("similar model item", ["--ids", "requires an argument"]),
        ("recommend model", ["recommend needs --user, --histories, or both."]),
        ("recommend model --histories none.csv", ["none.csv: cannot be read as a table"]),
        ("recommend model --histories films.txt", ['"films.txt" for --histories', ".csv, .parquet, .json"]),
        ("explain model u9 film-1 --histories films.csv", ["histories need a column"]),
        ("recommend model --user u1 --k ten", ["--k", '"ten"', "whole number"]),
        ("fit evnts .", ["no schema 'evnts'", "movielens-100k", "Did you mean 'events'?"]),
        ("fit none.toml .", ["none.toml", "No such file"]),
        ("fit own.toml none", ["no such file or folder: none"]),
        ("fit events none.csv", ["no such file: none.csv"]),
        ("fit own.toml model", ["model: no file 'events.csv'", "the folder has: ", "config.json"]),
        ("evaluate own.toml . watched --seed -1", ["seed must be a whole number, 0 or more; got -1"]),
        ("benchmark own.toml . --seed -1", ["seed must be a whole number, 0 or more; got -1"]),
        ("fit own.toml . --out own.toml/below", ["cannot write to", "own.toml: it is no folder that can be written to"]),
        ("benchmark own.toml . --out none/a.csv", ["--out", "none is no folder that can be written to"]),
        ("fit own.toml . --edge watched=much", ["--edge", "a number", "'much'"]),
        ("fit own.toml . --edge =1", ["--edge", "name=value", "'=1'"]),
        ("fit own.toml . --edge watchd=1", ["unknown edge type 'watchd'", "watched, genre", "Did you mean 'watched'?"]),
        ("fit own.toml . --edge watched=-1", ["edges['watched']", "a number > 0", "-1.0"]),
        ("fit own.toml . --edge watched=nan", ["edges['watched']", "a number > 0", "nan"]),
        ("fit own.toml . --topics 0", ["n_topics", "1 or more", "got 0"]),
        ("fit own.toml . --topics 1000", ["n_topics is 1000", "27 vertices", "fewer topics"]),
        ("fit own.toml . --passes 0", ["n_passes", "1 or more", "got 0"]),
        ("fit own.toml . --seed -1", ["seed", "0 or more", "got -1"]),
        ("fit own.toml . --container usr", ["container 'usr'", "user, item, genre", "Did you mean 'user'?"]),
        ("fit own.toml . --topics 2 --passes 1 --out own.toml", ["own.toml is a file", "left alone"]),
        ("fit own.toml . --topics 2 --passes 1 --out .", ["holds what is not of a hyperrec model", "left alone"]),
        ("evaluate own.toml . watchd", ["unknown edge type 'watchd'", "Did you mean 'watched'?"]),
        ("evaluate own.toml . watched --by tme", ["'tme'", "cold_items", "Did you mean 'time'?"]),
        ("evaluate own.toml . watched --fraction 2", ["fraction", "between 0 and 1", "2.0"]),
        ("fit own.toml . --config none.json", ["none.json cannot be read: No such file", "config.json of a tuning"]),
        ("fit own.toml . --config films.csv", ["films.csv is no config of a TopicModel"]),
        ("tune own.toml . watchd", ["unknown edge type 'watchd'", "Did you mean 'watched'?"]),
        ("tune own.toml . --trials 0", ["trials must be a whole number, 1 or more; got 0"]),
        ("tune own.toml . --metric ndgc@10", ["metric must be name@k", "got 'ndgc@10'"]),
        ("tune own.toml . --out .", ["holds what is not of a tuning", "left alone"]),
        ("recommend none --user u1", ["none does not exist", "save()"]),
        ("topics films.csv", ["films.csv is a file", "save()"]),
        ("recommend model --user nobody", ["unknown user 'nobody'", "knows 40"]),
        ("recommend model --user u1 --k 0", ["k must be", "1 or more", "got 0"]),
        ("recommend model --user u1 --diversify 2", ["diversify must be a number, 0 to 1; got 2.0"]),
        ("recommend model --user u1 --given genre", ["--given", "name=value", "'genre'"]),
        ("recommend model --user u1 --given genr=drama", ["unknown modality 'genr'", "Did you mean 'genre'?"]),
        ("recommend model --user u1 --given genre=noir", ["unknown genre 'noir'"]),
        ("recommend model --user u1 --given item=film-1", ["given['item']", "expected one of genre"]),
        ("recommend model --user u1 --out a.txt", ['"a.txt" for --out', ".csv, .parquet, .json"]),
        ("recommend model --user u1 --out a", ['"a" for --out', ".csv, .parquet, .json"]),
        ("similar model itm film-1", ["unknown modality 'itm'", "Did you mean 'item'?"]),
        ("similar model item film-1 film-99", ["unknown item 'film-99'", "Did you mean 'film-9'?"]),
        ("similar model item film-1 --k 0", ["k must be", "got 0"]),
        ("topics model --k 0", ["k must be", "got 0"]),
        ("topics model gnre", ["unknown modality 'gnre'", "Did you mean 'genre'?"]),
        ("explain model u99 film-1", ["unknown user 'u99'"]),
        ("explain model u1 film-99", ["unknown item 'film-99'"]),
    ],
)
def test_wrong_arguments(arguments: str, parts: list[str], refused: Callable[..., str]) -> None:
    line = refused(*arguments.split())
    for part in parts:
        assert part in line


@pytest.mark.parametrize(
    ("name", "raw", "parts"),
    [
        ("log.csv", b"", ["log.csv", "empty"]),
        ("log.csv", b"user,item,time\n", ["log.csv", "no edges left", "0 rows read"]),
        ("log.csv", b"user,itm,time\na,b,1\n", ["log.csv", "'item'", "user, itm, time", "Did you mean 'itm'?"]),
        ("log.csv", b"user,item,item,time\na,b,c,1\n", ["log.csv", "'item'", "more than once"]),
        ("log.csv", b"user,item,time\na,b,1\n\xff\xfe,c,2\n", ["log.csv", "line 3", "UTF-8", "encoding"]),
        ("log.csv", b"user,item,time\na,b,1,x,y\n", ["log.csv", "line 2", "5 fields", "expected 3"]),
        ("log.csv", b"user,item,time\n,b,1\na,,1\n", ["log.csv", "no edges left", "null id: user: 1", "null id: item: 1"]),
        ("log.csv", b"PK\x03\x04rest", ["log.csv", "zip", "unpack"]),
        ("log.parquet", b"user,item,time\na,b,1\n", ["log.parquet", "expected Parquet", "content"]),
        ("log.parquet", b"PAR1 and then nothing", ["log.parquet", "cannot be read"]),
        ("log.csv", b"PAR1\x15\x04", ["log.csv", "Parquet"]),
    ],
)
def test_wrong_logs(name: str, raw: bytes, parts: list[str], place: Path, refused: Callable[..., str]) -> None:
    (place / name).write_bytes(raw)
    line = refused("fit", "events", name)
    for part in parts:
        assert part in line


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ('time = "time"', 'tme = "time"', ["edges.watched.tme is not a key", "Did you mean 'time'?"]),
        ('time = "time"', 'time = "tme"', ["edges.watched.time", "'tme'", "Did you mean 'time'?"]),
        ('time = "time"', 'weight = "0 - 1"', ["edges.watched", "no edges left", "320 rows read", "weight <= 0: 320"]),
        (OWN[OWN.index("[edges.watched]") :], "", ["edges is missing"]),
        (OWN[OWN.index("[edges.watched]") :], "[edges]", ["edges is empty"]),
        ('table = "events"', 'table = "evnts"', ["edges.watched.table", "'evnts'", "Did you mean 'events'?"]),
        ('"films.csv"', '"flms.csv"', ["no file 'flms.csv'", "Did you mean 'films.csv'?"]),
        ('name = "own"', "name = own", ["not valid TOML", "line 2"]),
    ],
)
def test_wrong_schemas(old: str, new: str, parts: list[str], place: Path, refused: Callable[..., str]) -> None:
    assert old in OWN
    (place / "own.toml").write_text(OWN.replace(old, new, 1), "utf-8")
    line = refused("fit", "own.toml", ".")
    for part in parts:
        assert part in line


@pytest.mark.parametrize("name", ["config.json", "arrays.safetensors", "vocabulary-0.parquet"])
def test_a_truncated_model(name: str, place: Path, refused: Callable[..., str]) -> None:
    os.truncate(place / "model" / name, 300)
    for arguments in (["topics"], ["recommend", "--user", "u1"]):
        line = refused(arguments[0], "model", *arguments[1:])
        assert line.startswith(str(Path("model") / name))
        assert line.endswith("Save or copy the model again.")


def test_a_full_disk(place: Path, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(storage, "write_arrays", full)
    line = refused("fit", "own.toml", ".", "--topics", "2", "--passes", "1", "--out", "model")
    assert line == "cannot save the model to model: No space left on device. Nothing was changed there."


# --------------------------------------------------------------------------------------------- real processes


def test_a_process_that_succeeds(place: Path) -> None:
    done = process("topics", "model", "genre", "--k", "1")
    assert (done.returncode, done.stderr) == (0, "")
    assert table(done.stdout).columns == ["topic", "share", "rank", "id", "probability", "lift"]


def test_the_installed_command(place: Path) -> None:
    script = Path(sys.executable).with_name("hyperrec")
    if not script.exists():
        pytest.skip("the package is not installed")
    done = subprocess.run([script, "explain", "model", "u1", "film-3"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Film No. 3 for user u1: because of what every user likes (")  # she has few events


def test_a_process_that_fails(place: Path) -> None:
    done = process("explain", "model", "u1", "film-99")
    assert (done.returncode, done.stdout) == (2, "")
    assert last_line(done.stderr).startswith("unknown item 'film-99'")


def test_warnings_of_a_process_are_on_stderr(place: Path) -> None:
    (place / "log.csv").write_text("user,item,time\na,x,1\nb,x,2\n,x,3\n")
    done = process("fit", "events", "log.csv", "--topics", "1", "--passes", "1")
    assert (done.returncode, done.stdout) == (0, "hyperrec-model\n")
    assert "1 rows kept aside in graph.rejected: null id: user" in done.stderr


def test_ctrl_c_in_a_fit_leaves_no_model(place: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    before = content(place)
    monkeypatch.setattr(hr.TopicModel, "fit", interrupted)
    code, out, err = run("fit", "own.toml", ".", "--out", "new")
    assert (code, out) == (130, "")
    assert "interrupted" in last_line(err)
    assert content(place) == before


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for one process")
def test_a_real_ctrl_c_leaves_no_model(place: Path) -> None:
    rng = np.random.default_rng(1)
    large = pl.DataFrame({"user": rng.integers(2_000, size=60_000), "item": rng.integers(1_000, size=60_000), "time": 1})
    large.write_csv(place / "large.csv")
    before = content(place)
    arguments = command("fit", "events", "large.csv", "--topics", "300", "--passes", "100000", "--out", "new")
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()) as fit:
        timeout = threading.Timer(120, fit.kill)
        timeout.start()
        err = b""
        while b"log-likelihood" not in err and (more := os.read(fit.stderr.fileno(), 4096)):
            err += more
        fit.send_signal(signal.SIGINT)
        out, rest = fit.communicate()
        timeout.cancel()
    assert (fit.returncode, out) == (130, b"")
    assert "interrupted" in last_line((err + rest).decode())
    assert content(place) == before


@pytest.mark.skipif(sys.platform == "win32", reason="no such pipes")
@pytest.mark.parametrize("arguments", ["topics model", "explain model u1 film-3"])
def test_a_pipe_that_nobody_reads(arguments: str, place: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        command(*arguments.split()), stdout=writer, stderr=subprocess.PIPE, text=True, check=False, env=environment()
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_behind_stdout(place: Path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            command("topics", "model"), stdout=full, stderr=subprocess.PIPE, text=True, check=False, env=environment()
        )
    assert done.returncode == 2
    assert "No space left on device" in last_line(done.stderr)


def test_labels_that_the_terminal_cannot_show(place: Path) -> None:
    titles = pl.read_csv("films.csv").with_columns(title=pl.format("«{}» 映画", "title"))
    titles.write_csv("films.csv")
    assert process("fit", "own.toml", ".", "--topics", "2", "--passes", "2", "--out", "model").returncode == 0
    plain = environment() | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command("explain", "model", "u1", "film-3"), capture_output=True, check=False, env=plain)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("name", ["none/a.csv", "none/a.json", "none/a.parquet", "folder.csv"])
def test_out_that_cannot_be_written(name: str, place: Path, refused: Callable[..., str]) -> None:
    (place / "folder.csv").mkdir()
    line = refused("recommend", "model", "--user", "u1", "--out", name)
    assert name in line
    assert "None" not in line


@pytest.mark.parametrize("name", ["a.csv", "a.json", "a.parquet"])
def test_out_on_a_full_disk_leaves_what_was_there(name: str, place: Path) -> None:
    (place / name).write_text("mine")
    script = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200)); from hyperrec.cli import main; main()"
    before = content(place)
    done = subprocess.run(
        [sys.executable, "-c", script, "topics", "model", "--k", "20", "--out", name], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "File too large" in last_line(done.stderr)
    assert content(place) == before


def test_a_number_of_topics_that_is_not_whole(refused: Callable[..., str]) -> None:
    assert "2.5" in refused("fit", "own.toml", ".", "--topics", "2.5", "--passes", "1")


@pytest.mark.parametrize("arguments", ["fit own.toml . --out own.toml", "evaluate own.toml . watched --out a.txt"])
def test_a_place_that_cannot_be_written_is_told_before_the_fit(
    arguments: str, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(hr.TopicModel, "fit")
    assert arguments.split()[-1] in refused(*arguments.split())


def test_benchmark_of_one_model(place: Path, run: Run) -> None:
    code, out, err = run("benchmark", "own.toml", ".", "--only", "popularity", "--trials", "1")
    assert code == 0, err
    assert table(out)["model"].to_list() == ["popularity"]


def test_a_latin_1_header_and_utf_16_are_told(place: Path, refused: Callable[..., str]) -> None:
    (place / "latin.csv").write_bytes("user,item,tïme\na,b,1\n".encode("latin-1"))
    assert "its first line is not UTF-8 text; say its encoding in the schema" in refused("fit", "events", "latin.csv")
    (place / "wide.csv").write_bytes("user,item,time\na,b,1\n".encode("utf-16"))
    assert "this is UTF-16 text; say encoding = 'utf-16' in the schema" in refused("fit", "events", "wide.csv")
