"""Nearest vertices, of the same modality or of another one: every vertex is a distribution over the same topics."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import scipy.sparse as sp

from hyperrec.cold import placed
from hyperrec.histories import listed_ids
from hyperrec.index import Index
from hyperrec.vocabulary import Vocabulary

if TYPE_CHECKING:
    from hyperrec.answers import Answers


def nearest(model: Answers, modality: str, ids: Iterable[Any], to: str, k: int) -> pl.DataFrame:
    """id, neighbour, score, rank: see `Answers.similar`."""
    own = modality == to
    (asked, of_asked), (vocabulary, index) = (model._neighbours(one, joint=not own) for one in (modality, to))
    rows = asked.rows(listed_ids(ids))
    found, scores = index.search(of_asked.vectors[rows], min(k + own, len(vocabulary)))
    left_out = (found < 0) | (own & (found == rows[:, None]))
    if own:
        left_out[~left_out.any(axis=1), -1] = True  # equal vectors may push the vertex itself out: drop the last instead
    at = np.nonzero(~left_out)
    return pl.DataFrame(
        {
            "id": asked.decode(rows[at[0]]),
            "neighbour": vocabulary.decode(found[at]),
            "score": scores[at],
            "rank": np.cumsum(~left_out, axis=1)[at],
        }
    )


def index_of(model: Answers, modality: str, *, joint: bool) -> tuple[Vocabulary, Index]:
    """The vertices of a modality, and vectors whose products are Bhattacharyya coefficients, sqrt(p(t|v)), or, between modalities
    (joint), Ochiai coefficients, p(t|v) sqrt(p(v) / p(t)). A vertex without edges has the p(v) of the rarest one."""
    vocabulary, embedding, mass = _vertices(model, modality)
    if not joint:
        return vocabulary, Index(np.sqrt(embedding))
    mass = np.maximum(mass, mass[mass > 0].min() if mass.any() else 1)
    return vocabulary, Index(embedding * np.sqrt((mass / mass.sum())[:, None] / np.maximum(model.state.prior, 1e-30)))


def _vertices(model: Answers, modality: str) -> tuple[Vocabulary, np.ndarray, np.ndarray]:
    """The vertices of a modality, their p(t|v) (V, T), and the weight (V,) of their edges; an attribute stands where a vertex would
    of which nothing else is known, with the number of those that have it."""
    for one in model.described or ():
        kinds = [kind for kind, _ in one.kinds]
        if modality in kinds and modality not in model.vocabularies:
            number = kinds.index(modality)
            first = sum(len(vocabulary) for vocabulary in one.vocabularies[:number])
            vocabulary = one.vocabularies[number]
            alone = sp.eye(len(vocabulary), len(one.idf), first, dtype=np.float32, format="csr")
            having = np.bincount(one.features.indices, minlength=len(one.idf))[first : first + len(vocabulary)]
            return vocabulary, placed(model, one, alone), having.astype(np.float64)
    embedding = model.embedding(modality)
    return model.vocabularies[modality], embedding, model._mass(modality)
