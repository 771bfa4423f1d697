"""TopicModel: what a user fits, saves and asks."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import polars as pl

from hyperrec.answers import Answers, check_number
from hyperrec.assembly import Assembly, Settings, assemble
from hyperrec.attributes import Attributes
from hyperrec.checkpoint import Checkpoint
from hyperrec.cold import describe
from hyperrec.errors import ModelError, did_you_mean, listed
from hyperrec.growth import extended, grown
from hyperrec.hypergraph import Hypergraph
from hyperrec.memory import memory_of
from hyperrec.neighbours import Neighbours
from hyperrec.roles import Roles, check_edges, roles
from hyperrec.situated import longer, situated_of
from hyperrec.storage import OF_LISTS, PARAMETERS
from hyperrec.store import StoredHypergraph
from hyperrec.streaming import assemble_stored, scratch_folder
from hyperrec.topics import em, online
from hyperrec.topics.contexts import Background, Context, Mean
from hyperrec.topics.online import Online
from hyperrec.topics.regularizers import Regularization, Regularizer, checked
from hyperrec.topics.shards import Edges, Pairs
from hyperrec.vocabulary import Vocabulary

N_TOPICS = 200


class TopicModel(Answers):
    """Latent topics of a hypergraph; every vertex gets an embedding p(t|v), a probability vector.

    Parameters
    ----------
    n_topics : number of topics T; by default 200, or a quarter of the vertices that have vectors (items, and what else the edges
        hold but the container, where a context reads it) where these are fewer than 800.
    container : the modality that owns histories (the users); None: every modality is treated alike (symmetric form).
    context : `Mean()`: containers have no parameters, they are read from their history, leaving out the vertex that is
        predicted. `FoldIn`: from all of it. `Recency`, `TwoSided`, `Window`: read in their order. `Mixture`: in several ways, with
        learned shares (`state.shares`). None: containers have free vectors (container form, PLSA for pairs).
    edges : edge type -> weight tau; all types of the graph with weight 1 when left out. The first type that joins the
        container to another modality says what an item is.
    seed : the random start; the same seed gives the same bits for any number of threads.
    n_passes : passes of EM at most. tolerance : stop when the likelihood per edge gains less in a pass.
    over_relaxation : exponent of the M-step, 1 is plain EM; a pass that loses likelihood is taken back.
    length_damping : the edges of a container with total weight n count n^-length_damping, so that long histories do not rule.
    context_exponent : power of the lifts of modalities that only accompany (container, item) edges, such as hour or store; at 1
        contexts that tell much the same (weekday, weekend) are counted as if each told something new.
    history_prior : in events; lists read a history of n events as (1 - s) p(t|history) + s p(t), s = (history_prior / (n +
        history_prior))^2, so that one event does not say all of a user; an event of twice the usual weight counts as two. No part
        of the fit, nor of embeddings.
    popularity_exponent : scores are multiplied by p(i) to this power: below 0 lists show less popular items, above 0 more popular
        ones. No part of the fit; it is read when the first list is asked for.
    drop_below : entries of p(t|v) under it are dropped, slowly at first, and stay zero unless a regularizer gives them counts: with
        thousands of topics the passes then go through the few that a vertex has (in `Mean`), and the saved model is small. 0 drops
        none; .001 to .002 cost no quality there. The threshold is whole in pass 20: passes become faster after it.
    attributes : `Attributes(...)`: places users and items without events by what is known of them, and steadies users with few;
        edges between them and attributes then are no part of the topics. None: such edges are fitted as all others are.
    regularizers : criteria that are maximized beside the likelihood: `Smooth`, `Decorrelate`, or any object with modality,
        value(phi) and addend(phi) = phi * dR/dphi, phi (V, T) = p(v|t) over the vertices of its modality; in the container form
        (context=None) that of the container is theta (D, T) = p(t|d). `model.regularizers` may be set anew before fitting on.
    neighbours : `Neighbours(...)`: weights between items, fitted to what the topics leave unexplained, that are added to the scores
        of recommendations; they are fitted at the first list, or `save`. None: topics alone.
    online : `Online(...)`: the M-step after each mini-batch of containers; n_passes then are passes over the log, all of which are
        made, of a graph in memory: tolerance and over_relaxation do not apply. In `history`, each batch is read before the model
        learns from it.

    Raises
    ------
    ModelError : a parameter outside its range.
    """

    def __init__(
        self,
        n_topics: int | None = None,
        container: str | None = "user",
        *,
        context: Context | None = Mean(),  # noqa: B008 -- frozen, without state
        edges: Mapping[str, float] | None = None,
        seed: int = 0,
        n_passes: int = 60,
        tolerance: float = 1e-4,
        over_relaxation: float = 1.8,
        length_damping: float = 0.25,
        context_exponent: float = 0.15,
        history_prior: float = 20.0,
        popularity_exponent: float = 0.0,
        drop_below: float = 0.0,
        regularizers: Iterable[Regularizer] = (),
        neighbours: Neighbours | None = Neighbours(),  # noqa: B008 -- frozen, without state
        attributes: Attributes | None = None,
        online: Online | None = None,
    ) -> None:
        check_number("n_topics", N_TOPICS if n_topics is None else n_topics, 1, whole=True)
        check_number("n_passes", n_passes, 1, whole=True)
        check_number("seed", seed, 0, whole=True)
        check_number("tolerance", tolerance, 0)
        check_number("length_damping", length_damping, 0, 1)
        check_number("context_exponent", context_exponent, 0, 1)
        check_number("history_prior", history_prior, 0)
        check_number("popularity_exponent", popularity_exponent, -1, 1)
        check_number("drop_below", drop_below, 0, 0.5)
        check_number("over_relaxation", over_relaxation, 1, 1.99)
        if context is not None and (not isinstance(context, Context) or isinstance(context, Background)):
            raise ModelError(f"context must be hr.Mean(), hr.Recency(...), another context or None; got {context!r}.")
        if edges is not None and not (isinstance(edges, Mapping) and edges):
            raise ModelError(f"edges must say edge type -> weight tau, such as {{'rated': 1.0}}; got {edges!r}.")
        self.n_topics, self.container, self.context = int(n_topics or N_TOPICS), container, context
        self._as_many_as_fit = n_topics is None
        self.edges = dict(edges) if edges is not None else None
        self.seed, self.n_passes, self.tolerance = int(seed), int(n_passes), float(tolerance)
        self.over_relaxation, self.length_damping = float(over_relaxation), float(length_damping)
        if online is not None and not isinstance(online, Online):
            raise ModelError(f"online must be hr.Online(...) or None; got {online!r}.")
        if neighbours is not None and not isinstance(neighbours, Neighbours):
            raise ModelError(f"neighbours must be hr.Neighbours(...) or None; got {neighbours!r}.")
        if attributes is not None and not isinstance(attributes, Attributes):
            raise ModelError(f"attributes must be hr.Attributes(...) or None; got {attributes!r}.")
        self.attributes, self.history_prior = attributes, float(history_prior)
        self.popularity_exponent = float(popularity_exponent)
        self.context_exponent, self.online, self.neighbours = float(context_exponent), online, neighbours
        self.drop_below, self.regularizers = float(drop_below), checked(regularizers, self.n_topics)

    name = "hyperrec"

    def __repr__(self) -> str:
        state = "fitted" if self.fitted else "not fitted"
        if self.fitted:
            emptied = {m: n for m, n in self.emptied.items() if n and self.regularizers}
            without = {m: left for m, n in self.degenerate.items() if (left := n - emptied.get(m, 0))}
            for why, rows in (("without counts", without), ("emptied by regularizers", emptied)):
                state += f", {why} and put at p(t): {', '.join(f'{n} {m}' for m, n in rows.items())}" if rows else ""
        told = f", regularizers={self.regularizers!r}" if self.regularizers else ""
        return f"TopicModel(n_topics={self.n_topics}, container={self.container!r}, context={self.context!r}{told}, {state})"

    @property
    def _settings(self) -> Settings:
        return {
            "container": self.container, "context": self.context, "length_damping": self.length_damping,
            "context_exponent": self.context_exponent,
        }  # fmt: skip

    def fit(
        self, graph: Any, *, progress: bool | None = None, checkpoint: str | Path | None = None, every: int = 5
    ) -> TopicModel:
        """Fit to a Hypergraph, to {edge type: frame}, or to one frame (edge type 'edges').

        A StoredHypergraph (`open_store`) is read part by part: memory holds the tables (V, T) and one part of the edges; what the
        passes read is laid out in files beside the store meanwhile. Afterwards the histories are mapped from disk, and read for
        those users who are asked about.

        progress : a bar on stderr with the log-likelihood of each pass; by default when stderr is a terminal.
        checkpoint : a folder to write the state of the fit to, `every` so many passes and at its end. A fit that was killed goes
            on from there when it is called again, and ends with the same bits as one that never was. What is finished is kept, so
            that nothing is lost before `save`: calling again gives the same result at once. Delete the folder when it has served.

        Raises
        ------
        ModelError : the parameters do not fit the graph; the checkpoint is of another fit, damaged, or cannot be written.
        DataError : a frame is wrong.
        """
        check_number("every", every, 1, whole=True)
        graph = graph if isinstance(graph, StoredHypergraph) else _as_graph(graph)
        edges = check_edges(graph, self.edges or self._topical(graph), self.container)
        kept = Path(checkpoint) if checkpoint is not None else None
        if isinstance(graph, StoredHypergraph):
            if self.attributes:
                raise ModelError("attributes= are read from a graph in memory: fit to a store without them.")
            if self.online:
                raise ModelError("online= takes its mini-batches from a graph in memory: fit to a store without it.")
            with scratch_folder(graph) as scratch:
                return self._fit(assemble_stored(graph, edges, scratch, **self._settings), graph, edges, progress, kept, every)
        user, item = roles(graph, edges, self.container)
        if self.attributes and not self.attributes.chosen(graph, edges, user, item):
            raise ModelError(
                f"attributes= says nothing: every edge type of {user} and {item} is fitted. Leave those of attributes out of "
                "TopicModel(edges=), or name them in Attributes(edges=)."
            )
        return self._fit(assemble(graph, edges, **self._settings), graph, edges, progress, kept, every)

    def _fit(
        self,
        assembly: Assembly,
        graph: Hypergraph | StoredHypergraph,
        edges: dict[str, float],
        progress: bool | None,
        checkpoint: Path | None,
        every: int,
    ) -> TopicModel:
        from tqdm import tqdm

        n_vertices = sum(assembly.sizes.values())
        if self._as_many_as_fit:
            self.n_topics = max(1, min(N_TOPICS, n_vertices // 4))
        if self.n_topics > n_vertices:
            raise ModelError(f"n_topics is {self.n_topics}, but the edges have {n_vertices} vertices only: ask for fewer topics.")
        regularize = self._regularization(assembly)
        kept = None
        if checkpoint is not None:
            kept = Checkpoint.of(checkpoint, self._problem(edges), [assembly.shards, assembly.layout])
        start = kept.read() if kept else None
        known = len(start.history) if start else 0
        show = sys.stderr.isatty() if progress is None else progress
        with tqdm(total=self.n_passes, initial=known, desc="fit", unit="pass", disable=not show, file=sys.stderr) as bar:

            def on_pass(now: em.Progress) -> None:
                row = now.history[-1]
                bar.set_postfix_str(f"log-likelihood {row['log_likelihood']:,.0f}, per edge {row['per_weight']:.4f}")
                bar.update()
                if kept and (now.done or len(now.history) % every == 0):
                    kept.write(now)

            common: dict[str, Any] = {
                "n_topics": self.n_topics, "n_passes": self.n_passes, "seed": self.seed, "start": start, "on_pass": on_pass,
                "drop_below": self.drop_below, "regularize": regularize,
            }  # fmt: skip
            if self.online:
                fit = online.fit(cast(Sequence[Pairs | Edges], assembly.shards), assembly.layout, self.online, **common)
            else:
                fit = em.fit(
                    assembly.shards, assembly.layout, tolerance=self.tolerance, over_relaxation=self.over_relaxation, **common
                )
        self.user_modality, self.item_modality = roles(graph, edges, self.container)
        self.fitted_edges = edges
        self.edge_modalities = {name: graph.edges[name].modalities for name in edges}
        self._take(fit, assembly, graph)
        self.memory, self.situated = None, None  # of a store there are none
        if isinstance(graph, Hypergraph):
            self.memory = memory_of(graph, edges, self.user_modality, self.item_modality)
            self.situated = situated_of(graph, edges, self.user_modality, self.item_modality)
        return self

    def partial_fit(self, more: Any, *, n_passes: int = 5, keep: float = 1.0, gain: float = 1.0) -> TopicModel:
        """Go on with new edges: events, users, items and other vertices that were not there before. The old ones are not needed.

        The counts become keep * old + gain * new (the slides' delta and alpha), so that keep < 1 forgets. New events of known users
        are read in the whole of their history, after what was there. `n_passes` over the new edges, each with one M-step, also
        where the model was fitted online; the threshold of `drop_below` is whole.

        more : as `fit` takes it, with edge types that the model was fitted to.

        Raises
        ------
        ModelError : the model is not fitted, or not to such edges. DataError : a frame is wrong.
        """
        self._fitted()
        if self.attributes:
            raise ModelError("partial_fit: what attributes say is learned from a whole graph: fit anew, or leave attributes= out.")
        check_number("n_passes", n_passes, 1, whole=True)
        check_number("keep", keep, 0, 1)
        check_number("gain", gain, 0)
        graph = _as_graph(more)
        for name, table in graph.edges.items():
            if (known := self.edge_modalities.get(name)) is None:
                raise ModelError(
                    f"partial_fit: the model knows no edge type '{name}'; it was fitted to {listed(self.fitted_edges)}."
                    f"{did_you_mean(name, self.fitted_edges)}"
                )
            if known != table.modalities:
                raise ModelError(f"partial_fit: '{name}' joins {listed(known)} in the model; got {listed(table.modalities)}.")
        edges = {name: tau for name, tau in self.fitted_edges.items() if name in graph.edges and graph.edges[name].frame.height}
        if not edges:
            raise ModelError("partial_fit: there are no edges.")
        graph = graph.over({m: extended(one, graph.vocabularies.get(m)) for m, one in self.vocabularies.items()}, self.labels)
        graph = replace(graph, tokenizers={**graph.tokenizers, **self.tokenizers})
        part_of = Roles.of(self.edge_modalities, self.fitted_edges, self.user_modality, self.item_modality, self.expressed)
        old, assembly = grown(self, graph.vocabularies)
        assembly = assemble(graph, edges, **self._settings, known=(assembly, part_of))
        fit = em.update(
            old, assembly.shards, assembly.layout, n_passes=n_passes, keep=keep, gain=gain, drop_below=self.drop_below,
            regularize=self._regularization(assembly),
        )  # fmt: skip
        self._take(fit, assembly, graph)
        if self.memory is not None:  # else the events before are not known, and the new ones alone would stand for them
            self.memory = memory_of(graph, edges, self.user_modality, self.item_modality, self.memory)
        if self.situated is not None:
            self.situated = longer(self.situated, graph, self.user_modality, self.item_modality, keep=keep, gain=gain)
        return self

    def _topical(self, graph: Hypergraph | StoredHypergraph) -> dict[str, float] | None:
        """The edge types to fit where none are named: all but those of attributes, the largest being the log; None: all."""
        if self.attributes is None:
            return None
        every = check_edges(graph, None, self.container)
        by_size = sorted(every, key=lambda name: -graph.edges[name].n_edges)  # of a user's age there is one, of purchases many
        user, item = roles(graph, dict.fromkeys(by_size, 1.0), self.container)
        attributes = {one.name for one in self.attributes.chosen(graph, (), user, item)}
        left = {name: tau for name, tau in every.items() if name not in attributes}
        if not any({user, item} <= {*graph.edges[name].modalities} for name in left):
            raise ModelError(
                f"Attributes: no edge type between {user} and {item} is left for the topics; leave one of {listed(attributes)} out "
                "of Attributes(edges=)."
            )
        return left

    def _problem(self, edges: Mapping[str, float]) -> dict[str, Any]:
        """What a fit depends on beside its data."""
        from hyperrec import __version__

        parameters = {name: getattr(self, name) for name in PARAMETERS if name not in OF_LISTS}
        context = self.context.as_json() if self.context else None
        regularizers = [re.sub(" at 0x[0-9a-f]+", "", repr(one)) for one in self.regularizers]  # of a user's own, less the address
        made_by = {"regularizers": regularizers, "online": vars(self.online) if self.online else None}
        return {"hyperrec": __version__, **parameters, "context": context, "edges": dict(edges), **made_by}

    def _regularization(self, assembly: Assembly) -> Regularization | None:
        """The regularizers over the rows of an assembly; checked again, as they may have been set since."""
        theta = self.container if self.context is None else None
        return Regularization.of(checked(self.regularizers, self.n_topics), assembly.offsets, assembly.sizes, theta)

    def _take(self, fit: em.Fit, assembly: Assembly, graph: Hypergraph | StoredHypergraph) -> None:
        """Hold the result of a fit."""
        self.vocabularies: dict[str, Vocabulary] = {
            m: graph.vocabulary(m) for m in dict.fromkeys([*assembly.sizes, self.user_modality])
        }
        self.tokenizers = dict(graph.tokenizers)
        self.offsets, self.sizes, self.counts = assembly.offsets, assembly.sizes, assembly.counts
        self.state, self.n_v, self.weight, self.layout = fit.state, fit.n_v, fit.weight, assembly.layout
        self.n_vt = fit.n_vt
        self.history = pl.DataFrame(fit.history, infer_schema_length=None)
        self.histories, self.seen = assembly.history, assembly.seen
        put_at_prior = {m: fit.empty[self._rows(m)] for m in self.sizes} if len(fit.empty) else {}
        self.degenerate = {m: int(rows.sum()) for m, rows in put_at_prior.items()}
        self.emptied = {m: int((rows & (fit.n_v[self._rows(m)] > 0)).sum()) for m, rows in put_at_prior.items()}
        self._forget_caches()
        self.described = None
        if self.attributes and isinstance(graph, Hypergraph):
            told = self.attributes.chosen(graph, self.fitted_edges, self.user_modality, self.item_modality)
            self.described = describe(self, graph, told)
            self._place_unmet()
        known = {*self.vocabularies, *(kind for one in self.described or () for kind, _ in one.kinds)}
        self.labels = {m: frame for m, frame in graph.labels.items() if m in known}
        self.fitted = True

    def save(self, folder: str | Path) -> Path:
        """Write the model to a folder (safetensors, JSON, Parquet), atomically. Returns the folder."""
        from hyperrec.storage import save

        return save(self._fitted(), Path(folder))


def load(folder: str | Path) -> TopicModel:
    """A model that `TopicModel.save` wrote. Raises ModelError for a folder that is damaged or not a model."""
    from hyperrec.storage import load as read

    if not isinstance(folder, (str, Path)):
        raise ModelError(f"load takes the folder that save() wrote; got {folder!r}.")
    return read(Path(folder))


def _as_graph(data: Any) -> Hypergraph:
    if isinstance(data, Hypergraph):
        return data
    if isinstance(data, StoredHypergraph):
        return data.read()
    return Hypergraph.from_frames(**data) if isinstance(data, Mapping) else Hypergraph.from_frames(edges=data)
