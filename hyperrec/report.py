"""Pictures of results (extra: report), and the page of a text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from hyperrec.errors import DataError, HyperrecError
from hyperrec.text import THRESHOLD, WIDTH, tokenizer_of

if TYPE_CHECKING:
    from hyperrec.model import TopicModel

PANEL = 220  # pixels
FEW = 8  # values of a parameter that stand side by side, and not on a scale
WIDE = 100  # times the lowest number, from which a scale is logarithmic
LEVEL = {"labelAngle": 0}


def text(
    model: TopicModel, text: str, to: str | Path | None = None, *, title: str = "Topics of a text", modality: str | None = None,
    width: float = WIDTH, threshold: float = THRESHOLD,
) -> str:  # fmt: skip
    """A page of a text as a model reads it: its words coloured by topic, with their topics on hover, the segments, and the curve of
    how far left and right contexts are apart. HTML that needs nothing else.

    to : a file that the page is written to. modality, width, threshold : as in `TopicModel.read`.

    Returns the page.

    Raises
    ------
    DataError : it is no text. ModelError : a parameter of `read`; more than 20,000 known words.
    """
    from hyperrec.pages import page

    if not isinstance(text, str):
        raise DataError(f"report.text shows one text, a string; got {type(text).__name__}.")
    reading = model.read(text, modality=modality, width=width, threshold=threshold)
    shown, _ = tokenizer_of(model, modality).place(text)
    html = page(model, shown, reading, title, threshold)
    if to is not None:
        try:
            Path(to).write_text(html, encoding="utf-8")
        except OSError as error:
            raise DataError(f"report.text cannot write '{to}': {error.strerror}.") from None
    return html


def trials_chart(trials: pl.DataFrame, metric: str, parameters: Sequence[str]) -> Any:
    """The metric on the validation split against the passes, a line for each trial, and against each parameter that varies.

    trials : frame trial, n_passes, value, and a column for each of parameters; see `Tuning.trials`.

    Returns an altair.Chart. Raises HyperrecError without altair.
    """
    try:
        import altair as alt
    except ImportError as error:
        raise HyperrecError("a picture needs the package altair: pip install 'hyperrec[report]'.") from error
    varied = [name for name in parameters if trials[name].n_unique() > 1]
    fields = {name: f"parameter_{number}" for number, name in enumerate(varied)}  # a dot in a name would be read as a path
    table = trials.select("trial", "n_passes", "value", *(pl.col(name).alias(field) for name, field in fields.items()))
    table = table.with_columns(best=pl.int_range(pl.len()) == trials["value"].arg_max())
    value = alt.Y("value:Q", title=metric, scale=alt.Scale(zero=False))
    passes = alt.Color("n_passes:O", title="passes", scale=alt.Scale(scheme="viridis", reverse=True))
    titles = {"trial": "trial", "n_passes": "passes", "value": metric, **{field: name for name, field in fields.items()}}
    tooltip = [alt.Tooltip(field=field, type="nominal", title=title) for field, title in titles.items()]
    base = alt.Chart(alt.InlineData(values=table.to_dicts())).properties(width=PANEL, height=PANEL)

    def panel(x: Any, *under: Any) -> Any:
        points = base.mark_circle(size=60, opacity=0.9).encode(x=x, y=value, color=passes, tooltip=tooltip)
        ring = base.transform_filter("datum.best").mark_point(size=180, color="black", strokeWidth=2).encode(x=x, y=value)
        return alt.layer(*under, points, ring)

    x = alt.X("n_passes:O", title="passes", axis=LEVEL)
    panels = [panel(x, base.mark_line(color="lightgrey", strokeWidth=1).encode(x=x, y=value, detail="trial:N"))]
    for name, field in fields.items():
        column = trials[name]
        if not column.dtype.is_numeric() or column.n_unique() <= FEW:
            panels.append(panel(alt.X(field=field, type="ordinal", title=name, axis=LEVEL if column.dtype.is_numeric() else {})))
            continue
        low, high = (float(one) for one in trials.select(low=pl.col(name).min(), high=pl.col(name).max()).row(0))
        scale = alt.Scale(type="log", nice=False) if low > 0 and high / low > WIDE else alt.Scale(zero=False)
        panels.append(panel(alt.X(field=field, type="quantitative", title=name, scale=scale)))
    title = f"{metric} on the validation split, {trials['trial'].n_unique()} trials; the best one is ringed"
    return alt.concat(*panels, columns=3).properties(title=title)
