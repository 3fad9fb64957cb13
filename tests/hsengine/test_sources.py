"""Models that lie elsewhere: brought here whole, by their hash, or not at all."""

import functools
import hashlib
import http.server
import json
import sys
import threading
import types
from pathlib import Path

import pytest
import torch
from torch import nn

from hsengine import folder, sources
from hsengine.base import paths
from hsengine.base.errors import UserError

CONFIG = {"model": {"name": "line"}}


class Handler(http.server.SimpleHTTPRequestHandler):
    asked: list[str] = []

    def do_GET(self):
        type(self).asked.append(self.path)
        if self.path.startswith("/short/"):
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"too little")
        else:
            super().do_GET()

    def log_message(self, *_):
        pass


@pytest.fixture
def model(tmp_path):
    torch.manual_seed(0)
    place = tmp_path / "served" / "model"
    place.parent.mkdir()
    folder.save(place, {"best": nn.Linear(2, 1).state_dict(), "last": nn.Linear(2, 1).state_dict()}, CONFIG, "card\n")
    return place


@pytest.fixture
def server(tmp_path, model, monkeypatch):
    """The address at which the folder `served` is."""
    monkeypatch.setenv("HYPEROBJECT_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("no_proxy", "*")
    handler = functools.partial(Handler, directory=str(tmp_path / "served"))
    Handler.asked = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{served.server_port}"
        served.shutdown()


def sha256(file):
    return hashlib.sha256(file.read_bytes()).hexdigest()


def kept():
    place = paths.state_folder() / "models"
    return [file for file in place.rglob("*") if file.is_file()] if place.exists() else []


@pytest.mark.parametrize("name", ["model.safetensors", "last.safetensors"])
def test_weights_and_their_record_are_fetched_once(server, model, name):
    address = f"{server}/model/{name}#sha256={sha256(model / name)}"
    for _ in range(2):
        place = sources.local(address)
        assert (place / name).read_bytes() == (model / name).read_bytes()
        assert folder.record(place) == folder.record(model)
    assert Handler.asked == [f"/model/{name}", "/model/config.json"]


def test_the_hash_may_stand_beside_the_address_and_a_path_keeps_one_slash(server, model):
    address, hash_ = f"{server}/model/model.safetensors", sha256(model / "model.safetensors")
    assert sources.local(Path(address), hash_) == sources.local(f"{address}#sha256={hash_.upper()}")
    assert sources.shown(Path(f"{address}#sha256=x")) == f"{address}#sha256=x"


def test_a_damaged_copy_is_fetched_again(server, model):
    address = f"{server}/model/model.safetensors#sha256={sha256(model / 'model.safetensors')}"
    (sources.local(address) / "model.safetensors").write_bytes(b"damaged")
    assert folder.state(sources.local(address)).keys() == {"weight", "bias"}


def test_the_record_is_held_to_its_hash_too(server, model):
    weights, record = sha256(model / "model.safetensors"), sha256(model / "config.json")
    address = f"{server}/model/model.safetensors#sha256={weights}&config="
    assert folder.record(sources.local(address + record)) == folder.record(model)
    with pytest.raises(UserError, match=r"SHA-256 of config\.json is"):
        sources.local(address + weights)
    assert len(kept()) == 2


@pytest.mark.parametrize(
    ("name", "hash_", "told"),
    [
        ("model/model.safetensors", "", "comes without a hash"),
        ("model/model.safetensors", "#sha256=abc", "'abc' is no SHA-256"),
        ("model/model.safetensors", "#md5=" + "0" * 64, "is no address of a model"),
        ("model/config.json", "#sha256=" + "0" * 64, "is no address of a model"),
        ("model/model.safetensors", "#sha256=" + "0" * 64, "another model or damaged, and was not taken"),
        ("model/none.safetensors", "#sha256=" + "0" * 64, r"answers 404 \(File not found\)"),
        ("short/model.safetensors", "#sha256=" + "0" * 64, "(broke off after 10 of 1,000 bytes|cannot be reached)"),
    ],
)
def test_what_is_not_what_was_asked_for_is_refused_and_not_kept(server, name, hash_, told):
    with pytest.raises(UserError, match=told):
        sources.local(f"{server}/{name}{hash_}")
    assert kept() == []


def test_weights_without_a_record_are_refused(server, model):
    hash_ = sha256(model / "model.safetensors")
    (model / "config.json").unlink()
    with pytest.raises(UserError, match=r"config\.json: the server answers 404"):
        sources.local(f"{server}/model/model.safetensors#sha256={hash_}")
    assert kept() == []


def test_without_a_network_the_remedy_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("HYPEROBJECT_STATE", str(tmp_path))
    monkeypatch.setenv("no_proxy", "*")
    with pytest.raises(UserError, match=r"cannot be reached \(.*refused.*copy the model's folder here"):
        sources.local("http://127.0.0.1:9/model.safetensors#sha256=" + "0" * 64)


def test_several_models_have_no_common_hash():
    with pytest.raises(UserError, match="cannot be that of several"):
        sources.locals_of(["a", "b"], "0" * 64)


def test_a_folder_is_held_to_a_hash_that_is_given(model):
    assert sources.local(model) == model
    assert sources.local(model, sha256(model / "model.safetensors")) == model
    with pytest.raises(UserError, match="another model or damaged"):
        sources.local(model, "0" * 64)


def test_the_folder_of_a_hubs_cache_is_read_through_its_links(model, tmp_path):
    cache = tmp_path / "models--owner--name"
    (cache / "blobs").mkdir(parents=True)
    for revision in ("aaa", "bbb"):
        (cache / "snapshots" / revision).mkdir(parents=True)
        for file in model.iterdir():
            blob = cache / "blobs" / sha256(file)
            blob.write_bytes(file.read_bytes())
            (cache / "snapshots" / revision / file.name).symlink_to(Path("..", "..", "blobs", blob.name))
    with pytest.raises(UserError, match=r"holds 2 revisions of a model: name one, such as .*aaa"):
        sources.local(cache)
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text("bbb")
    found = sources.local(cache)
    assert found == cache / "snapshots" / "bbb"
    assert folder.record(found) == json.loads((model / "config.json").read_text())
    assert folder.state(found).keys() == {"weight", "bias"}


def test_a_repository_of_the_hub_is_fetched_by_its_package(model, monkeypatch):
    asked = []

    def download(repository, *, revision, allow_patterns):
        asked.append((repository, revision))
        if repository == "owner/none":
            raise OSError("Repository Not Found\nfor url: ...")
        return str(model)

    monkeypatch.setitem(sys.modules, "huggingface_hub", types.SimpleNamespace(snapshot_download=download))
    assert sources.local("hf://owner/name@v1") == model
    assert sources.local(Path("hf://owner/name")) == model
    assert asked == [("owner/name", "v1"), ("owner/name", None)]
    with pytest.raises(UserError, match=r"cannot be fetched \(Repository Not Found\): check the name"):
        sources.local("hf://owner/none")
    with pytest.raises(UserError, match="names no repository"):
        sources.local("hf://name")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match="needs the package huggingface_hub"):
        sources.local("hf://owner/name")


def test_a_state_folder_that_cannot_be_written_is_named_with_the_remedy(server, model, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("HYPEROBJECT_STATE", str(tmp_path / "file" / "below"))
    address = f"{server}/model/model.safetensors#sha256={sha256(model / 'model.safetensors')}"
    with pytest.raises(UserError, match=r"cannot hold what is fetched \(.*set HYPEROBJECT_STATE"):
        sources.local(address)
    assert Handler.asked == []
