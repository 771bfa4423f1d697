"""BigARTM and tomotopy, run pass by pass from outside: `Peer` starts this file in a Python that has them, and asks it.

In the child, standard input says `pass` or `phi FILE`, and standard output answers with the seconds of a pass (or of nothing).
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

MAKE = {
    "bigartm": "python3.11 -m venv peers && peers/bin/pip install bigartm==0.9.2 six protobuf==3.20.3 'numpy<2' tomotopy==0.14.0",
    "bigartm10": "python3.11 -m venv transactions && transactions/bin/pip install bigartm10==0.10.1 six protobuf==3.20.3",
}


class Peer:
    """A child that holds one model of a tool, fitted to the data of a file; it ends with the `with`.

    data, npz: indptr (D + 1,), tokens (N,), or (N, h) where h tokens make a transaction, weight (N,), n_tokens.
    """

    def __init__(self, python: str, tool: str, data: Path, **options: Any) -> None:
        command = [python, str(Path(__file__).resolve()), tool, str(data), json.dumps(options)]
        self.child = subprocess.Popen(  # BigARTM writes logs where it stands
            command, cwd=data.parent, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.version = self._answer()

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self.child.communicate()

    def run(self) -> float:
        """Seconds of one more pass."""
        return float(self._ask("pass"))

    def phi(self, file: Path) -> np.ndarray:
        """p(v|t), (V, T), after the passes so far."""
        self._ask(f"phi {file}")
        return np.load(file)

    def _ask(self, line: str) -> str:
        print(line, file=self.child.stdin, flush=True)
        return self._answer()

    def _answer(self) -> str:
        for line in self.child.stdout:  # the tools print, too
            if line.startswith("answer "):
                return line.removeprefix("answer ").strip()
        raise SystemExit("The peer ended. A Python that has it is made by\n  " + "\n  ".join(MAKE.values()))


class Artm:
    """BigARTM's offline algorithm, without regularizers."""

    def __init__(self, data: dict[str, np.ndarray], n_topics: int, inner: int, threads: int, seed: int) -> None:
        import artm

        self.version = f"BigARTM {artm.version()}"
        self.artm, self.n_tokens, self.threads = artm, int(data["n_tokens"]), threads
        kinds = {"transaction_typenames": {"together": 1.0}} if data["tokens"].ndim > 1 else {}
        self.model = artm.ARTM(
            num_topics=n_topics, num_processors=threads, num_document_passes=inner, seed=seed, cache_theta=False,
            class_ids={"token": 1.0}, **kinds,
        )  # fmt: skip
        self.batches = artm.BatchVectorizer(
            batches=list(self._batches(**data)), data_format="batches", process_in_memory_model=self.model
        )
        words = artm.messages.DictionaryData(name="words")
        words.token.extend(str(row) for row in range(self.n_tokens))
        words.class_id.extend(["token"] * self.n_tokens)
        words.token_value.extend([1.0] * self.n_tokens)
        dictionary = artm.Dictionary()
        dictionary.create(words)
        self.model.initialize(dictionary)

    def _batches(self, indptr: np.ndarray, tokens: np.ndarray, weight: np.ndarray, **_: Any) -> Iterator[Any]:
        order = tokens[0].size
        cuts = np.linspace(0, len(indptr) - 1, self.threads + 1).astype(int)  # more of them, and BigARTM is slower
        for first, stop in itertools.pairwise(cuts):
            batch = self.artm.messages.Batch(id=f"00000000-0000-0000-0000-{first:012d}")
            used, places = np.unique(tokens[indptr[first] : indptr[stop]], return_inverse=True)
            places = places.reshape(-1, order)
            batch.token.extend(map(str, used))
            batch.class_id.extend(["token"] * len(used))
            if tokens.ndim > 1:
                batch.transaction_typename.append("together")
            for d in range(first, stop):
                here = places[indptr[d] - indptr[first] : indptr[d + 1] - indptr[first]]
                item = batch.item.add(id=int(d))
                item.token_id.extend(here.ravel().tolist())
                item.token_weight.extend(np.repeat(weight[indptr[d] : indptr[d + 1]], order).astype(float).tolist())
                if tokens.ndim > 1:
                    item.transaction_start_index.extend(range(0, here.size + 1, order))
                    item.transaction_typename_id.extend([0] * len(here))
            yield batch

    def run(self) -> None:
        self.model.fit_offline(self.batches, num_collection_passes=1)

    def phi(self) -> np.ndarray:
        values, names, _ = self.model.get_phi_dense()
        names = [name if isinstance(name, str) else name[1] for name in names]
        phi = np.zeros((self.n_tokens, values.shape[1]), np.float32)
        phi[np.array(names, int)] = values
        return phi


class Tomotopy:
    """tomotopy's LDA: collapsed Gibbs sampling, a pass visits each occurrence of each word."""

    def __init__(self, data: dict[str, np.ndarray], n_topics: int, inner: int, threads: int, seed: int) -> None:
        import tomotopy

        self.version = f"tomotopy {tomotopy.__version__}"
        self.threads, self.n_tokens = threads, int(data["n_tokens"])
        self.model = tomotopy.LDAModel(k=n_topics, seed=seed)
        indptr, occurrences = data["indptr"], data["weight"].astype(int)
        for d in range(len(indptr) - 1):
            at = slice(indptr[d], indptr[d + 1])
            self.model.add_doc(list(map(str, np.repeat(data["tokens"][at], occurrences[at]))))
        self.model.train(0, workers=threads)  # makes the start

    def run(self) -> None:
        self.model.train(1, workers=self.threads)

    def phi(self) -> np.ndarray:
        phi = np.zeros((self.n_tokens, self.model.k), np.float32)
        rows = np.array(list(self.model.used_vocabs), int)
        for topic in range(self.model.k):
            phi[rows, topic] = self.model.get_topic_word_dist(topic)
        return phi


def main() -> None:
    tool, data, options = sys.argv[1:]
    model = {"artm": Artm, "tomotopy": Tomotopy}[tool](dict(np.load(data)), **json.loads(options))
    print("answer", model.version, flush=True)
    for line in sys.stdin:
        start = time.perf_counter()
        if line.startswith("phi "):
            np.save(line[4:].strip(), model.phi())
        else:
            model.run()
        print("answer", time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    main()
