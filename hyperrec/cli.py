"""The command line: no logic, only arguments; progress on stderr, data on stdout or in --out."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, CycloptsError, Parameter

from hyperrec import __version__
from hyperrec.errors import DataError, HyperrecError, first_line

if TYPE_CHECKING:
    import polars as pl

ENDINGS = (".csv", ".parquet", ".json")

app = App(
    name="hyperrec",
    version=__version__,
    help="Recommendations, neighbours and readable topics from logs.",
    suppress_keyboard_interrupt=False,
)


def _whole(_type: Any, tokens: Sequence[Any]) -> int:
    """Cyclopts would round 2.5."""
    try:
        return int(tokens[0].value)
    except ValueError:
        raise ValueError(f'expected a whole number, got "{tokens[0].value}".') from None


def _known_ending(_type: Any, out: Path | None) -> None:
    if out is not None and out.suffix not in ENDINGS:
        raise ValueError(f"the ending must be one of {', '.join(ENDINGS)}.")
    if out is not None and not (out.parent.is_dir() and os.access(out.parent, os.W_OK)):
        raise ValueError(f"{out}: {out.parent} is no folder that can be written to.")
    if out is not None and out.is_dir():
        raise ValueError(f"{out} is a folder.")


def _is_table(_type: Any, given: Path | None) -> None:
    if given is not None and given.suffix not in ENDINGS:
        raise ValueError(f"the ending must be one of {', '.join(ENDINGS)}.")


def _page(_type: Any, out: Path | None) -> None:
    if out is not None and out.suffix != ".md":
        raise ValueError("the ending must be .md.")
    if out is not None and (out.is_dir() or not (out.parent.is_dir() and os.access(out.parent, os.W_OK))):
        raise ValueError(f"{out}: no page can be written there.")


Whole = Annotated[int, Parameter(converter=_whole)]
Edges = Annotated[
    list[str] | None, Parameter(help="edge type and weight, such as genre=0.1; repeat it; by default all types with weight 1")
]
Table = Annotated[Path | None, Parameter(validator=_known_ending)]
Told = Annotated[Path | None, Parameter(validator=_is_table)]


@app.command
def demo(*, out: Path = Path("hyperrec-demo")) -> None:
    """Run the whole line on a year of real grocery transactions (extra: demo)."""
    from hyperrec.demo import run_demo

    run_demo(out)


@app.command
def store(schema: str, source: Path, *, out: Path = Path("hyperrec-store"), container: str | None = None) -> None:
    """Make a store of a log larger than memory: what fit reads part by part.

    Parameters
    ----------
    schema
        A schema by name or path.
    source
        The folder or file of the log.
    out
        The folder of the store; a store that is there is replaced.
    container
        The modality whose histories stay together; by default "user", or else the first of the first edge type.
    """
    import hyperrec as hr

    made = hr.write_store(schema, source, out, container=container)
    print(made, file=sys.stderr)
    print(out)


@app.command
def fit(
    schema: str,
    source: Path | None = None,
    *,
    out: Path = Path("hyperrec-model"),
    config: Path | None = None,
    topics: Whole | None = None,
    passes: Whole | None = None,
    container: str | None = None,
    edge: Edges = None,
    seed: Whole | None = None,
    checkpoint: Path | None = None,
) -> None:
    """Fit a model to a log, or to a store.

    Parameters
    ----------
    schema
        A schema by name or path; or, without a source, the folder of a store.
    source
        The folder or file of the log; by default $HYPERREC_DATA holds that of a shipped schema.
    out
        The folder of the model; a model that is there is replaced.
    config
        A JSON file of options, such as the config.json of hyperrec tune; what is given beside it takes the place of its own.
    topics
        Number of topics; by default 200, fewer for a log of few items.
    passes
        Passes of EM at most; 60 by default.
    container
        The modality that owns histories; by default that of the store, "user", or the first of the first edge type.
    checkpoint
        A folder to write the state of the fit to: the same command goes on from there when it was killed. Delete it afterwards.
    """
    import hyperrec as hr
    from hyperrec.schema import shipped
    from hyperrec.storage import check_target

    check_target(out)
    if checkpoint is not None and out.resolve() in (checkpoint.resolve(), *checkpoint.resolve().parents):
        raise DataError(f"--checkpoint {checkpoint} lies in the folder of the model, --out {out}: choose another one.")
    given = {"n_topics": topics, "n_passes": passes, "seed": seed, "edges": _weights(edge), "container": container}
    options = hr.read_config(config) if config is not None else {}
    options |= {name: value for name, value in given.items() if value is not None}
    stored = source is None and (Path(schema).exists() or schema not in shipped())
    graph: hr.StoredHypergraph | hr.Hypergraph = hr.open_store(schema) if stored else hr.read_logs(schema, source)
    if isinstance(graph, hr.StoredHypergraph):
        options.setdefault("container", graph.container)
    else:
        first = next(iter(graph.edges.values())).modalities[0]
        options.setdefault("container", "user" if "user" in graph.modalities else first)
    print(graph, file=sys.stderr)
    model = hr.TopicModel(**options)
    model.fit(graph, progress=True, checkpoint=checkpoint)
    print(model, file=sys.stderr)
    print(model.save(out))


@app.command
def tune(
    schema: str,
    source: Path,
    edge_type: str | None = None,
    *,
    out: Path = Path("hyperrec-tuned"),
    by: str = "random",
    fraction: float = 0.1,
    trials: Whole = 30,
    metric: str = "ndcg@10",
    topics: Whole | None = None,
    edge: Annotated[
        list[str] | None, Parameter(help="edge type and weight, such as genre=0.1; repeat it; by default weights are tried, too")
    ] = None,
    seed: Whole = 0,
) -> None:
    """Choose the options of a model by random search with successive halving on a validation split, and fit the best.

    The folder --out gets the model, config.json (for fit --config), trials.parquet and, with the extra report, trials.html, a
    picture. The same command goes on when it was interrupted.

    Parameters
    ----------
    schema
        A schema by name or path.
    source
        The folder or file of the log.
    edge_type
        The user-item edges to predict, whose first modality owns the histories; the first type of the schema by default.
    out
        The folder of the results.
    by
        What the validation split holds out: random, last, time, cold_items or cold_users.
    fraction
        How much of it, but for last.
    trials
        Random settings tried.
    metric
        What is maximized, a name and a length of lists.
    topics
        Number of topics of all trials; by default it is tried, too.
    """
    import hyperrec as hr

    given = {"n_topics": topics, "edges": _weights(edge)}
    held: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    graph = hr.read_logs(schema, source)
    print(graph, file=sys.stderr)
    result = hr.tune(
        graph, edge_type, by=by, fraction=fraction, trials=trials, metric=metric, seed=seed, folder=out, progress=True, **held
    )
    print(result.model, file=sys.stderr)
    print(out / "model")


@app.command
def recommend(
    model: Path,
    *,
    user: list[str] | None = None,
    histories: Told = None,
    k: Whole = 10,
    given: Annotated[list[str] | None, Parameter(help="context, such as hour=18; repeat it")] = None,
    among: Annotated[list[str] | None, Parameter(help="an item to choose from; repeat it")] = None,
    exclude: Annotated[list[str] | None, Parameter(help="an item to leave out; repeat it")] = None,
    keep_seen: bool = False,
    diversify: float = 0.0,
    out: Table = None,
) -> None:
    """The best items for users, known or new.

    Parameters
    ----------
    user
        A known user; repeat it.
    histories
        A table of users never seen, with the columns user and item, maybe weight and time, or attributes.
    diversify
        The share of a list's expected gain (DCG by the model's scores) that may be given up at most for items of other topics.
    """
    import hyperrec as hr

    if user is None and histories is None:
        raise DataError("recommend needs --user, --histories, or both.")
    found = hr.load(model).recommend(
        user, histories=_read(histories), k=k, given=_pairs(given, "--given"), filter_seen=not keep_seen, among=among,
        exclude=exclude, diversify=diversify,
    )  # fmt: skip
    _show(found, out)


@app.command
def similar(
    model: Path, modality: str, ids: list[str], *, to: str | None = None, k: Whole = 10, out: Table = None
) -> None:  # fmt: skip
    """The nearest vertices of the same modality, or of another one: --to item."""
    import hyperrec as hr

    _show(hr.load(model).similar(modality, ids, to=to, k=k), out)


@app.command
def topics(model: Path, modality: str | None = None, *, k: Whole = 10, out: Table = None) -> None:
    """The vertices that each topic gives the highest probability."""
    import hyperrec as hr

    _show(hr.load(model).topics(modality, k=k), out)


@app.command
def explain(
    model: Path,
    user: str,
    item: str,
    *,
    histories: Told = None,
    given: Annotated[list[str] | None, Parameter(help="context, such as hour=18; repeat it")] = None,
    keep_seen: bool = False,
) -> None:
    """Why an item is recommended to a user, known or of a table of histories."""
    import hyperrec as hr

    context = _pairs(given, "--given")
    print(hr.load(model).explain(user, item, histories=_read(histories), given=context, filter_seen=not keep_seen))


@app.command
def evaluate(
    schema: str,
    source: Path,
    edge_type: str,
    *,
    by: str = "random",
    fraction: float = 0.2,
    config: Path | None = None,
    topics: Whole | None = None,
    passes: Whole | None = None,
    edge: Annotated[
        list[str] | None,
        Parameter(help="edge type and weight of the model, repeat it; by default those of --config, or the edge type alone"),
    ] = None,
    seed: Whole = 42,
    out: Table = None,
) -> None:
    """Split a log, fit to the one part and measure on the other.

    Parameters
    ----------
    schema
        A schema by name or path.
    source
        The folder or file of the log.
    edge_type
        The user-item edges to split; its first modality owns the histories.
    by
        What is held out: random, last, time, cold_items (which alone are ranked then) or cold_users.
    fraction
        How much of it, but for last.
    config
        A JSON file of options, as in fit; the options beside it take the place of its own.
    """
    import hyperrec as hr

    options = hr.read_config(config) if config is not None else {"edges": {edge_type: 1.0}}
    given = {"n_topics": topics, "n_passes": passes, "edges": _weights(edge)}
    options |= {name: value for name, value in given.items() if value is not None}
    train, test = hr.split(hr.read_logs(schema, source), edge_type, by=by, fraction=fraction, seed=seed)
    user, item = train.edge_table(edge_type).vertex_columns[:2]
    model = hr.TopicModel(**{"container": user, **options}).fit(train, progress=True)
    among = test.table(edge_type)[item] if by == "cold_items" else None
    _show(hr.evaluate(model, train, test, among=among).metrics, out)


measure = App(name="benchmark", help="Measure hyperrec beside its peers, all tuned alike (extra: bench).")
app.command(measure)


@measure.default
def benchmark(
    dataset: str,
    source: Path | None = None,
    *,
    edge_type: str | None = None,
    trials: Whole = 40,
    min_item_edges: Whole = 1,
    seed: Whole = 42,
    only: Annotated[list[str] | None, Parameter(help="a model of the table; repeat it")] = None,
    out: Table = None,
) -> None:
    """Tune hyperrec, ALS, iALS, EASE, item-kNN and popularity alike on a validation split; measure the best of each (extra: bench).

    Parameters
    ----------
    dataset
        A schema by name or path; or "all": see hyperrec benchmark all --help.
    source
        The folder or file of its log; by default $HYPERREC_DATA holds it, and Complete Journey comes with the extra demo.
    edge_type
        The user-item edges to split; the first type of the schema by default.
    trials
        Random settings tried for each model that has any.
    min_item_edges
        Items with fewer edges are left out.
    """
    import hyperrec as hr
    from hyperrec.benchmark import benchmark as run
    from hyperrec.benchmark import table

    graph = hr.read_logs(dataset, source)
    edge_type = edge_type or next(iter(graph.edges))
    measured = run(graph, edge_type, trials=trials, min_item_edges=min_item_edges, seed=seed, only=tuple(only or ()))
    _show(table(measured), out)


@measure.command(name="all")
def benchmark_all(
    *,
    data: Path | None = None,
    trials: Whole = 40,
    only: Annotated[
        list[str] | None, Parameter(help="a situation, or the beginning of its name, such as warm or next-movielens-1m; repeat it")
    ] = None,
    seed: Whole = 42,
    out: Annotated[Path | None, Parameter(validator=_page)] = None,
) -> None:
    """The scoreboard: every situation that hyperrec is for, beside the peers that are at home there (extra: bench).

    Takes long: a trial of a large model takes minutes. Each situation can be run alone, and its block in the page is replaced.

    Parameters
    ----------
    data
        The folder of the data sets; $HYPERREC_DATA by default.
    trials
        Random settings tried for each model that has any.
    seed
        Of the random settings.
    out
        A Markdown page; a table is written as its rows come, into a block of its own. By default finished tables are printed.
    """
    from functools import partial

    from hyperrec.benchmark import put, scoreboard

    scoreboard(data, trials=trials, only=tuple(only or ()), seed=seed, write=partial(put, out) if out else None)


def _pairs(given: list[str] | None, option: str, default: str | None = None) -> dict[str, str]:
    """['hour=18'] -> {'hour': '18'}."""
    pairs = {}
    for one in given or []:
        name, equals, value = one.partition("=")
        if not name or (not equals and default is None):
            raise DataError(f"{option} expects name=value, such as hour=18; got '{one}'.")
        pairs[name] = value if equals else str(default)
    return pairs


def _weights(edge: list[str] | None) -> dict[str, float] | None:
    return {name: _number(value, "--edge") for name, value in _pairs(edge, "--edge", "1").items()} or None


def _number(text: str, option: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise DataError(f"{option} expects a number after '='; got '{text}'.") from None


def _read(path: Path | None) -> pl.DataFrame | None:
    """A table by its ending."""
    import polars as pl

    if path is None:
        return None
    try:
        if path.suffix == ".csv":  # ids are read as they stand: 007 is no 7
            columns = pl.read_csv(path, n_rows=0).columns
            ids = dict.fromkeys((name for name in columns if name not in ("weight", "time")), pl.String)
            return pl.read_csv(path, schema_overrides=ids)
        frame: pl.DataFrame = (pl.read_parquet if path.suffix == ".parquet" else pl.read_json)(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{path}: cannot be read as a table: {first_line(error)}.") from None
    return frame


def _show(frame: pl.DataFrame, out: Path | None) -> None:
    """A table on stdout (tab-separated), or a file by its ending, whole or not at all."""
    if out is None:
        sys.stdout.write(frame.write_csv(separator="\t", float_precision=6))
        return
    content = io.BytesIO()
    writers: Sequence[Any] = (frame.write_csv, frame.write_parquet, frame.write_json)
    writers[ENDINGS.index(out.suffix)](content)
    draft = out.with_name(f".{out.name}-{os.getpid()}")
    try:
        draft.write_bytes(content.getvalue())
        draft.replace(out)
    except OSError as error:
        raise DataError(f"--out {out}: cannot be written: {error.strerror}.") from error
    finally:
        draft.unlink(missing_ok=True)


def main(arguments: list[str] | None = None) -> None:
    """Entry point: one line and exit code 2 for what the user can mend, 130 for Ctrl-C."""
    try:
        _run(arguments)
    except CycloptsError as error:
        _leave(f"{' '.join(str(error).split())} See hyperrec --help.", 2)
    except HyperrecError as error:
        _leave(str(error), 2)
    except BrokenPipeError:
        _drop_stdout()
        sys.exit(0)
    except OSError as error:
        _drop_stdout()
        _leave(f"{error.filename or 'writing'}: {error.strerror}.", 2)
    except KeyboardInterrupt:
        _leave("interrupted; no result was written.", 130)


def _run(arguments: list[str] | None) -> None:
    """Run a command; what stdout refuses is raised here, not when Python ends."""
    if sys.stdout is None:  # the shell closed it
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        app(arguments, exit_on_error=False, print_error=False)
    finally:
        sys.stdout.flush()


def _drop_stdout() -> None:
    """What could not be written is not tried again at exit."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _leave(message: str, code: int) -> None:
    print(f"hyperrec: {message}", file=sys.stderr)
    sys.exit(code)
