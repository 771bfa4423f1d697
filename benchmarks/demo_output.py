"""What `hyperrec demo` prints, how long it takes and how much memory, for README.

    python benchmarks/demo_output.py

Writes the block `demo` in README.md.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time

from report import fill, machine


def main() -> None:
    command = [sys.executable, "-c", "from hyperrec.cli import main; main()", "demo"]
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        paths = {**os.environ, "PATH": f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ['PATH']}"}  # where hyperrec is
        done = subprocess.run(command, cwd=folder, env=paths, stdout=subprocess.PIPE, text=True, check=True)
        seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / (2**30 if sys.platform == "darwin" else 2**20)
    note = f"{seconds:.0f} s and {peak:.1f} GiB at most, imports and compiling included; {machine()}, {os.cpu_count()} cores."
    fill("demo", f"```text\n{done.stdout}```\n\n{note}\n")


if __name__ == "__main__":
    main()
