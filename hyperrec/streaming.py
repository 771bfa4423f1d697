"""The training problem of a stored hypergraph: made part by part, kept in files, so that a pass holds one shard in memory."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, Unpack

import numpy as np
import scipy.sparse as sp

from hyperrec.assembly import Assembly, Outline, Settings
from hyperrec.errors import ModelError
from hyperrec.roles import roles
from hyperrec.store import SCRATCH, StoredHypergraph
from hyperrec.topics.contexts import Ordered
from hyperrec.topics.shards import History, Pairs
from hyperrec.topics.stored import CSRFiles, StoredShard, constant

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]


@contextmanager
def scratch_folder(store: StoredHypergraph) -> Iterator[Path]:
    """A folder for the files of a fit: in the store, whose disk has the room, or where temporary files go if it is read-only.

    It is removed at the end; what is still mapped from it (a model's histories) stays readable until it is let go. What fits that
    were killed have left in the store is removed too: a fit that lives holds a lock.
    """
    parent = store.folder if os.access(store.folder, os.W_OK) else None
    for left in store.folder.glob(f"{SCRATCH}*") if parent else ():
        if (left / "lock").exists() and (free := _locked(left / "lock")):
            shutil.rmtree(left, ignore_errors=True)
            free.close()
    scratch = Path(tempfile.mkdtemp(prefix=SCRATCH, dir=parent))
    (scratch / "lock").touch()
    lock = _locked(scratch / "lock")
    try:
        yield scratch
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise ModelError(f"cannot write to {scratch}: {error.strerror}. A fit lays out about 40 bytes an edge there.") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        if lock:
            lock.close()


def _locked(path: Path) -> IO[bytes] | None:
    """The file, locked for this process; None where another one holds it, or the system has no such locks."""
    if fcntl is None:
        return None
    file = path.open("rb")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file


def assemble_stored(
    store: StoredHypergraph,
    edges: Mapping[str, float],
    scratch: Path,
    **settings: Unpack[Settings],
) -> Assembly:
    """Like `assemble`, each part of the store with the same code; shards, histories and seen items are in files in `scratch`.

    Raises
    ------
    ModelError : the users of the model are not the containers that the store is sorted by.
    """
    context = settings["context"]
    user, _ = roles(store, edges, settings["container"])
    if user != store.container:
        raise ModelError(
            f"{store.folder} is sorted by '{store.container}', but the histories of this model are those of '{user}': make the "
            f"store with container='{user}', or choose other edges= or container=."
        )
    outline = Outline.of(store, edges, **settings)
    plain = not (isinstance(context, Ordered) and (context.importance or context.pause is not None))
    columns = ("vertices", "weight") if plain else ("vertices", "weight", "importance", "starts")
    kept, met = CSRFiles(scratch, "history", columns), CSRFiles(scratch, "seen", ("indices", "data"))
    sums = np.zeros((3, len(outline.importance)))
    shards: list[StoredShard] = []
    for first, stop, graph in store.parts(edges):
        part = outline.part(graph, first, stop)
        sums += part.sums
        kept.append(part.history.indptr, **{name: getattr(part.history, name) for name in columns})
        met.append(part.seen.indptr, indices=part.seen.indices.astype(np.int32), data=part.seen.data)
        for shard in part.shards:
            if len(shard.history.vertices if isinstance(shard, Pairs) else shard.weight):
                shards.append(StoredShard.write(scratch / f"shard-{len(shards)}", shard))
    arrays = kept.read()
    n = len(arrays["vertices"])
    constants = {"importance": constant(1, np.float32, n), "starts": constant(False, np.bool_, n)} if plain else {}
    history = History(**arrays, **constants)
    seen = met.read()
    shape = outline.n_users, outline.sizes[outline.part_of.item]
    return outline.assembly(
        [replace(shard, history=history) for shard in shards], history,
        sp.csr_matrix((seen["data"], seen["indices"], seen["indptr"]), shape), sums,
    )  # fmt: skip
