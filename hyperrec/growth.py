"""A fitted model over longer vocabularies: what `partial_fit` starts from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from hyperrec.assembly import Assembly
from hyperrec.errors import DataError
from hyperrec.topics import em
from hyperrec.topics.shards import History
from hyperrec.topics.state import Layout, make_state
from hyperrec.vocabulary import Vocabulary

if TYPE_CHECKING:
    from hyperrec.answers import Answers


def grown(model: Answers, vocabularies: Mapping[str, Vocabulary]) -> tuple[em.Fit, Assembly]:
    """The fit and its assembly over longer vocabularies; new vertices are at p(t), without counts."""
    sizes = {m: len(vocabularies[m]) for m in model.sizes}
    starts = np.cumsum([0, *sizes.values()])
    n_rows, n_users = int(starts[-1]), len(vocabularies[model.user_modality])
    row = np.concatenate([start + np.arange(model.sizes[m]) for start, m in zip(starts, sizes, strict=False)])

    def spread(values: np.ndarray) -> np.ndarray:
        longer = np.zeros((n_rows, *values.shape[1:]), values.dtype)
        longer[row] = values
        return longer

    embedding = np.tile(model.state.prior, (n_rows, 1))
    embedding[row] = model.state.embedding
    phi_weight = None if model.layout.phi_weight is None else spread(model.layout.phi_weight)
    mass = spread(model.layout.mass)
    layout = Layout(tuple(sizes.values()), mass, phi_weight, model.layout.exponents, model.layout.gradient)
    weight = None if model.state.weight is None else spread(model.state.weight)
    state = make_state(embedding, model.state.prior.astype(np.float64), layout, model.state.shares, weight)
    n_vt = None if model.n_vt is None else spread(model.n_vt)
    fit = em.Fit(state, model.history.to_dicts(), np.zeros(0, bool), spread(model.n_v), model.weight, n_vt)
    known = model.histories
    indptr = np.append(known.indptr, np.full(n_users + 1 - len(known.indptr), known.indptr[-1]))
    history = History(indptr, row[known.vertices].astype(np.int32), known.weight, known.importance, known.starts)
    seen = model.seen.copy()
    seen.resize(n_users, sizes[model.item_modality])
    offsets = dict(zip(sizes, starts.tolist(), strict=False))
    return fit, Assembly(offsets, sizes, [], layout, history, seen, spread(model.counts))


def extended(known: Vocabulary, more: Vocabulary | None) -> Vocabulary:
    """A vocabulary with the new ids after the known ones."""
    if more is None:
        return known
    ids = more.ids.cast(known.ids.dtype, strict=False)
    if ids.null_count():
        raise DataError(f"{known.modality}: the model knows ids of type {known.ids.dtype}; got {more.ids[0]!r}. Cast the column.")
    return Vocabulary(known.modality, pl.concat([known.ids, ids.filter(~ids.is_in(known.ids.implode()))]))
