"""Saving and loading: the same bits come back; what is damaged is refused, and what is on disk survives a failed save."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import hyperrec as hr
from hyperrec import storage
from hyperrec.errors import ModelError

FORMS = {
    "expressed": {"container": "user"},
    "container": {"container": "user", "context": None},
    "symmetric": {"container": None},
}
FILES = ["config.json", "arrays.safetensors", "history.parquet", "vocabulary-0.parquet", "labels-1.parquet"]


@pytest.fixture(scope="module")
def logs() -> hr.Hypergraph:
    """30 users and 12 items with integer ids, labels of the items, genres with a word outside ASCII."""
    rng = np.random.default_rng(3)
    seen = pl.DataFrame({"user": rng.integers(30, size=200), "item": 100 + rng.integers(12, size=200)}).unique(maintain_order=True)
    items = pl.DataFrame({"item": range(100, 112), "title": [f"Title, «{n}»" for n in range(12)], "genre": ["drama", "ужас"] * 6})
    schema = {
        "name": "logs",
        "tables": {"seen": {"file": "seen.csv"}, "items": {"file": "items.csv"}},
        "edges": {
            "seen": {"table": "seen", "vertices": {"user": "user", "item": "item"}},
            "genre": {"table": "items", "vertices": {"item": "item", "genre": "genre"}},
        },
        "labels": {"item": {"table": "items", "id": "item", "text": "title"}},
    }
    return hr.read_logs(schema, {"seen": seen, "items": items})


def fitted(logs: hr.Hypergraph, **parameters: Any) -> hr.TopicModel:
    return hr.TopicModel(4, edges={"seen": 1.0, "genre": 0.3}, n_passes=8, **parameters).fit(logs, progress=False)


@pytest.fixture(scope="module")
def labelled(logs: hr.Hypergraph) -> hr.TopicModel:
    model = fitted(logs)
    model.vocabularies = {name: model.vocabularies[name] for name in ("user", "item", "genre")}
    return model


@pytest.fixture
def saved(labelled: hr.TopicModel, tmp_path: Path) -> Path:
    return labelled.save(tmp_path / "shop")


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refusal(action: Callable[[], object]) -> str:
    with pytest.raises(ModelError) as caught:
        action()
    message = str(caught.value)
    assert "\n" not in message
    return message


def edit(path: Path, change: Callable[[dict[str, Any]], None], *, sign: bool = False) -> None:
    """Change a config.json; sign: make its checksum fit again, as a forger would."""
    config = json.loads(path.read_text("utf-8"))
    change(config)
    if sign:
        config.pop("config_sha256")
        config["config_sha256"] = storage._config_digest(config)
    path.write_text(json.dumps(config, indent=1), "utf-8")


# ------------------------------------------------------------------------------------------------- the same bits


@pytest.mark.parametrize("form", FORMS)
def test_the_same_bits_come_back(form: str, logs: hr.Hypergraph, tmp_path: Path) -> None:
    model = fitted(logs, **FORMS[form])
    again = hr.load(model.save(tmp_path / form))
    assert repr(again) == repr(model)
    assert list(again.vocabularies) == list(model.vocabularies)
    for modality, vocabulary in model.vocabularies.items():
        assert again.vocabularies[modality] == vocabulary
        assert again.embedding(modality).dtype == np.float32
        assert again.embedding(modality).tobytes() == model.embedding(modality).tobytes()
        ids = vocabulary.ids.head(3).to_list()
        assert again.similar(modality, ids, k=4).equals(model.similar(modality, ids, k=4))
        assert again.topics(modality, k=3).equals(model.topics(modality, k=3))
    for options in ({}, {"given": {"genre": "ужас"}}, {"filter_seen": False, "among": [100, 105, 111]}):
        assert again.recommend(k=5, **options).equals(model.recommend(k=5, **options))
    new = pl.DataFrame({"user": ["a", "a"], "item": [101, 103]})
    assert again.recommend(histories=new).equals(model.recommend(histories=new))
    features = pl.DataFrame({"item": [500], "genre": ["ужас"]})
    assert again.fold_in("item", features).equals(model.fold_in("item", features))
    user = int(model.vocabularies[model.user_modality].ids[0])
    one, other = again.explain(user, 104), model.explain(user, 104)
    assert (one.sentence, one.score) == (other.sentence, other.score)
    assert one.sentence.startswith("Title, «4» for user")
    assert one.history.equals(other.history)
    assert one.topics.equals(other.topics)
    assert again.history.equals(model.history)


def test_contexts_and_a_model_without_labels(model: hr.TopicModel, tmp_path: Path) -> None:
    again = hr.load(model.save(tmp_path / "films"))
    assert again.labels == {}
    assert again.recommend(given={"hour": "night"}).equals(model.recommend(given={"hour": "night"}))
    assert not again.recommend(given={"hour": "night"}).equals(again.recommend(given={"hour": "day"}))


def test_parameters_and_a_second_fit(labelled: hr.TopicModel, saved: Path, logs: hr.Hypergraph, tmp_path: Path) -> None:
    again = hr.load(saved)
    assert {name: getattr(again, name) for name in storage.PARAMETERS} == {
        name: getattr(labelled, name) for name in storage.PARAMETERS
    }
    assert again.fit(logs, progress=False).embedding("item").tobytes() == labelled.embedding("item").tobytes()
    assert content(hr.load(saved).save(tmp_path / "copy")) == content(saved)


def test_weights_of_numpy_are_saved(logs: hr.Hypergraph, tmp_path: Path) -> None:
    model = hr.TopicModel(2, edges={"seen": np.float32(0.5), "genre": np.int64(2)}, n_passes=1).fit(logs, progress=False)
    assert hr.load(model.save(tmp_path / "numpy")).edges == {"seen": 0.5, "genre": 2.0}


def test_nothing_in_the_folder_can_be_executed(saved: Path) -> None:
    assert {path.suffix for path in saved.iterdir()} == {".safetensors", ".json", ".parquet"}
    assert set(FILES) <= {path.name for path in saved.iterdir()}
    script = """
import pickle, sys
import numpy as np, polars as pl
import hyperrec as hr
from hyperrec import storage

def hook(event, _):
    if event in ("exec", "compile", "pickle.find_class", "subprocess.Popen", "os.system") and watching:
        raise AssertionError(event)

watching = False
storage.load(storage.Path(sys.argv[1]))
sys.addaudithook(hook)
watching = True
storage.load(storage.Path(sys.argv[1]))
watching = False
"""
    done = subprocess.run([sys.executable, "-c", script, str(saved)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


# ------------------------------------------------------------------------------------------------- where it goes


def test_paths_relative_and_with_special_characters(
    labelled: hr.TopicModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("plain", "with spaces/and more", "glob [ab]*?", "~home", "модель"):
        assert labelled.save(name) == Path(name)
        assert hr.load(name).embedding("item").tobytes() == labelled.embedding("item").tobytes()
        assert {path.name for path in Path(name).parent.iterdir()} >= {Path(name).name}
    assert not list(tmp_path.rglob(".*"))


def test_saving_over_a_model_replaces_it(saved: Path, logs: hr.Hypergraph) -> None:
    new = hr.TopicModel(2, edges={"seen": 1.0}, n_passes=2).fit(logs, progress=False)
    new.save(saved)
    assert hr.load(saved).n_topics == 2
    assert not (saved / "vocabulary-2.parquet").exists()
    assert os.listdir(saved.parent) == ["shop"]


def test_saving_through_a_link_replaces_what_it_points_to(saved: Path, labelled: hr.TopicModel) -> None:
    link = saved.with_name("latest")
    link.symlink_to("shop")
    labelled.save(link)
    assert link.is_symlink()
    assert sorted(os.listdir(saved.parent)) == ["latest", "shop"]
    assert hr.load(link).n_topics == 4


def test_an_empty_folder_is_taken_with_the_usual_rights(labelled: hr.TopicModel, tmp_path: Path) -> None:
    usual = tmp_path / "usual"
    usual.mkdir()
    (tmp_path / "empty").mkdir(mode=0o700)
    assert labelled.save(tmp_path / "empty").stat().st_mode == usual.stat().st_mode


@pytest.mark.parametrize(
    ("there", "named"),
    [
        ({"thesis.tex": "words"}, "thesis.tex"),
        ({"config.json": '{"architectures": ["Bert"]}', "weights.bin": "w"}, "config.json, weights.bin"),
        ({"config.json": "not json"}, "config.json"),
    ],
)
def test_a_foreign_folder_is_left_alone(there: dict[str, str], named: str, labelled: hr.TopicModel, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    for name, text in there.items():
        (foreign / name).write_text(text)
    before = content(tmp_path)
    message = refusal(lambda: labelled.save(foreign))
    assert message.startswith(f"{foreign} exists and holds what is not of a hyperrec model ({named})")
    assert message.endswith("it is left alone. Choose another folder, or empty this one.")
    assert content(tmp_path) == before


def test_a_model_with_a_file_of_the_user_is_left_alone(saved: Path, labelled: hr.TopicModel) -> None:
    (saved / "notes.txt").write_text("mine")
    before = content(saved)
    assert "(notes.txt)" in refusal(lambda: labelled.save(saved))
    assert content(saved) == before


def test_a_file_is_left_alone(labelled: hr.TopicModel, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    assert refusal(lambda: labelled.save(file)) == f"{file} is a file: it is left alone. Choose another folder."
    message = refusal(lambda: labelled.save(file / "below"))
    assert message.startswith(f"cannot write to {file}: ")
    assert message.endswith("Choose another folder.")
    assert content(tmp_path) == {"file": b"mine"}


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_parent_that_is_read_only(labelled: hr.TopicModel, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    message = refusal(lambda: labelled.save(closed / "shop"))
    assert message == f"cannot write to {closed}: Permission denied. Choose another folder."


def test_a_model_that_is_not_fitted(tmp_path: Path) -> None:
    assert refusal(lambda: hr.TopicModel(2).save(tmp_path / "m")) == "the model is not fitted: call fit(graph) first."
    assert not list(tmp_path.iterdir())


# ----------------------------------------------------------------------------------------------------- damage


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def edit_byte(path: Path) -> None:
    changed = bytearray(path.read_bytes())
    changed[len(changed) // 2] ^= 1
    path.write_bytes(changed)


def append(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"x")


@pytest.mark.parametrize("damage", [truncate, empty, edit_byte, append])
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_named(name: str, damage: Callable[[Path], None], saved: Path) -> None:
    damage(saved / name)
    message = refusal(lambda: hr.load(saved))
    assert message.startswith(f"{saved / name} ")
    assert "is not what was saved" in message or (name == "config.json" and "cannot be read: " in message)
    assert message.endswith("Save or copy the model again.")


@pytest.mark.parametrize("name", FILES[1:])
def test_a_missing_file_is_named(name: str, saved: Path) -> None:
    (saved / name).unlink()
    assert refusal(lambda: hr.load(saved)) == f"{saved / name} is missing: the model is not whole. Save or copy it again."


@pytest.mark.parametrize("name", FILES)
def test_a_folder_in_the_place_of_a_file(name: str, saved: Path) -> None:
    (saved / name).unlink()
    (saved / name).mkdir()
    message = refusal(lambda: hr.load(saved))
    assert message == f"{saved / name} cannot be read: Is a directory. Save or copy the model again."


def test_what_is_no_model_folder(saved: Path, tmp_path: Path) -> None:
    advice = "Give the folder that save() wrote."
    assert refusal(lambda: hr.load(tmp_path / "none")) == f"{tmp_path / 'none'} does not exist: {advice.lower()[0]}{advice[1:]}"
    file = saved / "config.json"
    assert refusal(lambda: hr.load(file)) == f"{file} is a file: {advice.lower()[0]}{advice[1:]}"
    assert refusal(lambda: hr.load(tmp_path)) == f"{tmp_path} is not a hyperrec model: it has no config.json. {advice}"


@pytest.mark.parametrize(
    "change",
    [
        lambda config: config["parameters"].update(n_topics=5),
        lambda config: config["fitted_edges"].update(seen=2.0),
        lambda config: config.update(note="mine"),
        lambda config: config.pop("labels", None) or config.pop("degenerate"),
        lambda config: config["sha256"].pop("history.parquet"),
        lambda config: config.pop("config_sha256"),
        lambda config: config.update(offsets=dict(reversed(config["offsets"].items()))),
    ],
    ids=["parameter", "weight", "added", "removed", "file list", "checksum removed", "order"],
)
def test_an_edited_config_is_refused(change: Callable[[dict[str, Any]], None], saved: Path) -> None:
    edit(saved / "config.json", change)
    message = refusal(lambda: hr.load(saved))
    assert message == f"{saved / 'config.json'} is not what was saved (edited). Save or copy the model again."


@pytest.mark.parametrize("sign", [False, True])
def test_a_later_format(sign: bool, saved: Path) -> None:
    edit(saved / "config.json", lambda config: config.update(version=99), sign=sign)
    message = refusal(lambda: hr.load(saved))
    assert message == f"{saved / 'config.json'} has format version 99; this hyperrec reads 5. Update hyperrec."
    edit(saved / "config.json", lambda config: config.update(version=1), sign=sign)
    message = refusal(lambda: hr.load(saved))
    assert message == f"{saved / 'config.json'} has format version 1; this hyperrec reads 5. Fit and save the model again."


@pytest.mark.parametrize("text", ["{}", "[]", "null", '"text"', '{"format": "other", "version": 1}'])
def test_a_config_of_another_program(text: str, saved: Path) -> None:
    (saved / "config.json").write_text(text)
    message = refusal(lambda: hr.load(saved))
    assert message.startswith(f"{saved / 'config.json'} is not of a hyperrec model: expected format 'hyperrec-model'.")


@pytest.mark.parametrize("raw", [b"{", b"format = 1", b"\xff\xfe{}", b"\x80\x04K\x01."])
def test_a_config_that_is_not_json(raw: bytes, saved: Path) -> None:
    (saved / "config.json").write_bytes(raw)
    message = refusal(lambda: hr.load(saved))
    assert message.startswith(f"{saved / 'config.json'} cannot be read: ")
    assert message.endswith("Save or copy the model again.")


@pytest.mark.parametrize("name", FILES[1:])
def test_a_forged_file_is_refused_by_its_format(name: str, saved: Path) -> None:
    (saved / name).write_bytes(b"\x80\x04cos\nsystem\n(S'true'\ntR.")
    edit(saved / "config.json", lambda config: config["sha256"].update({name: storage._digest(saved / name)}), sign=True)
    assert refusal(lambda: hr.load(saved)).startswith(f"{saved / name} cannot be read: ")


@pytest.mark.parametrize("key", ["parameters", "offsets", "modalities", "user_modality", "edge_modalities"])
def test_a_forged_config_that_does_not_fit(key: str, saved: Path) -> None:
    edit(saved / "config.json", lambda config: config.pop(key), sign=True)
    message = refusal(lambda: hr.load(saved))
    assert message.startswith(f"{saved}: config.json does not fit the files beside it ('{key}')")


def test_a_file_that_the_disk_does_not_give(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(path: Path) -> str:
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

    monkeypatch.setattr(storage, "_digest", broken)
    message = refusal(lambda: hr.load(saved))
    assert message == f"{saved / 'arrays.safetensors'} cannot be read: Input/output error. Save or copy the model again."


# ------------------------------------------------------------------------------------------ a save that fails

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("over", [True, False], ids=["over a model", "new"])
@pytest.mark.parametrize(
    ("owner", "name", "error"),
    [
        (storage, "write_arrays", FULL),
        (pl.DataFrame, "write_parquet", FULL),
        (pl.DataFrame, "write_parquet", pl.exceptions.ComputeError("No space left on device\nmore")),
        (storage.os, "fsync", FULL),
        (Path, "write_text", FULL),
    ],
)
def test_a_full_disk_leaves_what_was_there(
    owner: Any, name: str, error: Exception, over: bool, saved: Path, labelled: hr.TopicModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise error

    target = saved if over else saved.with_name("new")
    before = content(saved.parent)
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, full)
        message = refusal(lambda: labelled.save(target))
    assert message.startswith(f"cannot save the model to {target}: ")
    assert "No space left on device" in message
    assert message.endswith("Nothing was changed there.")
    assert content(saved.parent) == before
    assert os.listdir(saved.parent) == ["shop"]
    assert hr.load(saved).n_topics == 4


@pytest.mark.skipif(sys.platform == "win32", reason="no limits on file size")
@pytest.mark.parametrize("large", ["arrays", "labels"])
def test_a_disk_that_is_really_full(large: str, saved: Path) -> None:
    """The limit on the size of a file stands for the full disk: the write is refused by the system."""
    script = """
import resource, sys
import polars as pl
import hyperrec as hr
from hyperrec.errors import ModelError

model = hr.load(sys.argv[1])
if sys.argv[2] == "labels":
    text = [str(number**7) for number in range(20_000)]
    model.labels = {modality: pl.DataFrame({"id": text, "label": text}) for modality in model.vocabularies}
limit = 100_000 if sys.argv[2] == "labels" else 100
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    model.save(sys.argv[1])
except ModelError as error:
    print(error)
"""
    before = content(saved.parent)
    done = subprocess.run([sys.executable, "-c", script, str(saved), large], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"cannot save the model to {saved}: ")
    assert done.stdout.endswith("Nothing was changed there.\n")
    assert "File too large" in done.stdout
    assert content(saved.parent) == before
    assert os.listdir(saved.parent) == ["shop"]
    assert hr.load(saved).n_topics == 4


@pytest.mark.parametrize("failing", [1, 2], ids=["the old does not go", "the new does not come"])
def test_a_rename_that_fails_puts_the_old_model_back(
    failing: int, saved: Path, labelled: hr.TopicModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename, calls = os.rename, []

    def flaky(source: Path, target: Path) -> None:
        calls.append(target)
        if len(calls) == failing:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(source))
        rename(source, target)

    before = content(saved.parent)
    monkeypatch.setattr(storage.os, "rename", flaky)
    message = refusal(lambda: labelled.save(saved))
    assert message == f"cannot save the model to {saved}: Device or resource busy. Nothing was changed there."
    assert content(saved.parent) == before
    assert os.listdir(saved.parent) == ["shop"]


def test_an_old_model_that_cannot_be_put_back_is_kept(
    saved: Path, labelled: hr.TopicModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename, calls = os.rename, []

    def only_once(source: Path, target: Path) -> None:
        calls.append(target)
        if len(calls) > 1:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(source))
        rename(source, target)

    monkeypatch.setattr(storage.os, "rename", only_once)
    with pytest.raises(OSError, match="Input/output error") as caught:
        labelled.save(saved)
    assert hr.load(caught.value.filename).n_topics == 4


@pytest.mark.parametrize("over", [True, False], ids=["over a model", "new"])
@pytest.mark.parametrize("at", ["write_arrays", "_digest", "rename"])
def test_ctrl_c_leaves_what_was_there(
    at: str, over: bool, saved: Path, labelled: hr.TopicModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename, owner = os.rename, storage.os if at == "rename" else storage

    def interrupted(*arguments: Any) -> None:
        if at == "rename":
            monkeypatch.setattr(owner, at, rename)
            rename(*arguments)
            if not over:
                rename(arguments[1], arguments[0])
        raise KeyboardInterrupt

    before = content(saved.parent)
    monkeypatch.setattr(owner, at, interrupted)
    with pytest.raises(KeyboardInterrupt):
        labelled.save(saved if over else saved.with_name("new"))
    assert content(saved.parent) == before
    assert os.listdir(saved.parent) == ["shop"]


def test_load_takes_a_folder() -> None:
    with pytest.raises(hr.ModelError, match=r"load takes the folder that save\(\) wrote; got None"):
        hr.load(None)  # type: ignore[arg-type]
