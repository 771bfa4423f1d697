"""Run every notebook from its first cell to its last: `python tests/run_notebooks.py [--write] [NAME ...]`.

An error in a cell fails the run; a notebook whose data is not in $HYPERREC_DATA is left out, and says so. `--write` stores the
outputs in the notebooks, which must stay below 300 kB, and the pictures that README shows in docs/.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from hyperrec.datasets import locate
from hyperrec.errors import DataError

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
MAX_BYTES = 300_000
CELL_SECONDS = 300
SHOWN = {"02_transactions.ipynb": "topics-by-hour.svg"}
"""Notebook -> the file in docs/ for its first picture."""
READS = {"05_reading_texts.ipynb": ("20newsgroups", "nips")}
"""Notebook -> the data sets that it reads from $HYPERREC_DATA."""


def run(path: Path, *, write: bool) -> None:
    start = time.perf_counter()
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook,
            timeout=CELL_SECONDS,
            kernel_name="python3",
            resources={"metadata": {"path": folder}},
            record_timing=False,
        )
        client.execute()
    nbformat.validate(notebook)
    if write:
        for cell in notebook.cells:
            if "not-stored" in cell.metadata.get("tags", []):  # it shows texts of a data set, which is not ours to pass on
                cell.outputs, cell.execution_count = [], None
        notebook.metadata = {"kernelspec": notebook.metadata["kernelspec"], "language_info": {"name": "python"}}
        nbformat.write(notebook, path)
        if path.name in SHOWN:
            outputs = (output for cell in notebook.cells for output in cell.get("outputs", []))
            pictures = (output.data["image/svg+xml"] for output in outputs if "image/svg+xml" in output.get("data", {}))
            (FOLDER.parent / "docs" / SHOWN[path.name]).write_text(next(pictures), encoding="utf-8")
    if (size := path.stat().st_size) > MAX_BYTES:
        raise SystemExit(f"{path.name}: it may have {MAX_BYTES:,} bytes with its outputs, it has {size:,}; draw less.")
    print(f"{path.name}: ran in {time.perf_counter() - start:.1f} s, {size:,} bytes stored", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Run the notebooks.")
    parser.add_argument("names", nargs="*", help="file names in notebooks/; all of them by default")
    parser.add_argument("--write", action="store_true", help="store the outputs in the notebooks")
    options = parser.parse_args()
    paths = [FOLDER / name for name in options.names] or sorted(FOLDER.glob("*.ipynb"))
    if not paths:
        raise SystemExit("notebooks/ has no notebook.")
    for path in paths:
        try:
            for name in READS.get(path.name, ()):
                locate(name)
        except DataError as error:
            print(f"{path.name}: left out, its data is not here: {error}", flush=True)
            continue
        run(path, write=options.write)


if __name__ == "__main__":
    main()
