"""Parts of 20 Newsgroups for the benchmarks of texts."""

from __future__ import annotations

from typing import Any

import numpy as np

import hyperrec as hr
from hyperrec.datasets import locate

PARTS = {"all": "**/20news-bydate-*/*/*", "train": "**/20news-bydate-train/*/*", "test": "**/20news-bydate-test/*/*"}


def read(part: str, **word: Any) -> hr.Hypergraph:
    """Edge types text (document, word), in order, and posted (document, group); word: options of the words beside those shipped."""
    schema = hr.LogSchema.load("20newsgroups")
    text = schema.edges["text"]
    vertices = {**text.vertices, "word": (text.vertices["word"][0].model_copy(update=word),)}
    changed = {
        "tables": {"posts": schema.tables["posts"].model_copy(update={"file": PARTS[part]})},
        "edges": {**schema.edges, "text": text.model_copy(update={"vertices": vertices})},
    }
    return hr.read_logs(schema.model_copy(update=changed), locate("20newsgroups"))


def words(graph: hr.Hypergraph, known: hr.Hypergraph) -> list[np.ndarray]:
    """Rows of the known graph's words, in the order of each document of a graph; a document may be without any."""
    frame, rows = graph.edges["text"].frame, known.vocabulary("word").encode(graph.vocabulary("word").ids)
    of_words = rows[frame["word"].to_numpy()]
    owners = frame["document"].to_numpy()[of_words >= 0]
    order = np.argsort(owners, kind="stable")
    ends = np.cumsum(np.bincount(owners, minlength=len(graph.vocabulary("document"))))
    return np.split(of_words[of_words >= 0][order], ends[:-1])
