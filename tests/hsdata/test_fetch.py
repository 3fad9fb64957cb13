import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from stand_in_kaggle import FILES, Kaggle, archive, served

from hsdata import fetch
from hsdata.fetch import COMPETITIONS
from hsengine.base.errors import UserError


@pytest.fixture
def kaggle(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kaggle]:
    monkeypatch.setenv("KAGGLE_USERNAME", "ada")
    monkeypatch.setenv("KAGGLE_KEY", "secret")
    monkeypatch.setattr("hsdata.fetch.time.sleep", lambda seconds: None)
    with served() as server:
        yield server


def unpacked(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


EXPECTED = {f"track2/{name.replace('public-test', 'test-public')}": data for name, data in FILES.items()}


@pytest.mark.parametrize("prefix", ["", "data/", "track2/", "Hyper-Object/track2/"])
def test_the_archive_is_unpacked_into_the_layout(kaggle: Kaggle, tmp_path: Path, prefix: str) -> None:
    kaggle.content = archive(FILES, prefix)
    done = fetch.fetch(2, tmp_path / "data", base_url=kaggle.url)
    found = unpacked(tmp_path / "data")
    assert {name: data for name, data in found.items() if "readme" not in name} == {
        name: data for name, data in EXPECTED.items() if "readme" not in name
    }
    assert any("readme" in name for name in found)
    assert done.samples == {"train": 3, "test-public": 1}
    assert kaggle.requests[0][0] == f"/api/v1/competitions/data/download-all/{COMPETITIONS[2]}"


def test_credentials_go_to_kaggle_and_not_to_the_store(kaggle: Kaggle, tmp_path: Path) -> None:
    kaggle.content = archive(FILES)
    fetch.fetch(2, tmp_path, base_url=kaggle.url)
    assert kaggle.requests[0][1] == "Basic " + base64.b64encode(b"ada:secret").decode()
    assert kaggle.requests[1][:2] == ("/store", "")


def test_a_broken_connection_is_taken_up_where_it_ended(kaggle: Kaggle, tmp_path: Path) -> None:
    kaggle.content = archive(FILES)
    kaggle.cut_after = [50_000, 30_000]
    fetch.fetch(2, tmp_path / "data", base_url=kaggle.url)
    assert unpacked(tmp_path / "data") == EXPECTED
    ranges = [wanted for path, _, wanted in kaggle.requests if path == "/store"]
    assert ranges == ["", "bytes=50000-", "bytes=80000-"]


def test_the_next_call_resumes_an_interrupted_download(kaggle: Kaggle, tmp_path: Path) -> None:
    kaggle.content = archive(FILES)
    kaggle.cut_after = [60_000] + [0] * 10
    with pytest.raises(UserError, match=r"failed .*60,000 bytes are kept, run the command again to resume"):
        fetch.fetch(2, tmp_path / "data", base_url=kaggle.url)
    kaggle.cut_after = []
    kaggle.requests.clear()
    fetch.fetch(2, tmp_path / "data", base_url=kaggle.url)
    assert kaggle.requests[-1][2] == "bytes=60000-"
    assert unpacked(tmp_path / "data") == EXPECTED


def test_a_changed_archive_is_not_glued_to_the_old_part(kaggle: Kaggle, tmp_path: Path) -> None:
    kaggle.content = b"x" * 90_000
    kaggle.cut_after = [60_000] + [0] * 10
    with pytest.raises(UserError, match="resume"):
        fetch.fetch(2, tmp_path / "data", base_url=kaggle.url)
    kaggle.content, kaggle.tag, kaggle.cut_after = archive(FILES), '"v2"', []
    fetch.fetch(2, tmp_path / "data", base_url=kaggle.url)
    assert unpacked(tmp_path / "data") == EXPECTED


def test_a_download_that_only_missed_its_end_is_finished(kaggle: Kaggle, tmp_path: Path) -> None:
    kaggle.content = archive(FILES)
    (tmp_path / f"{COMPETITIONS[2]}.zip.partial").write_bytes(kaggle.content)
    fetch.fetch(2, tmp_path, base_url=kaggle.url)
    assert unpacked(tmp_path) == EXPECTED


def test_servers_without_length_or_tags_will_do(kaggle: Kaggle, tmp_path: Path) -> None:
    kaggle.content, kaggle.length, kaggle.tag = archive(FILES), False, None
    fetch.fetch(2, tmp_path, base_url=kaggle.url)
    assert unpacked(tmp_path) == EXPECTED


def test_an_interrupted_unpacking_goes_on_without_a_download(
    kaggle: Kaggle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kaggle.content = archive(FILES)
    replacing, left = fetch.replacing, [3]

    def failing(path: Path):  # type: ignore[no-untyped-def]
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return replacing(path)

    monkeypatch.setattr(fetch, "replacing", failing)
    with pytest.raises(KeyboardInterrupt):
        fetch.fetch(2, tmp_path, base_url=kaggle.url)
    monkeypatch.setattr(fetch, "replacing", replacing)
    kaggle.requests.clear()
    done = fetch.fetch(2, tmp_path, base_url=kaggle.url)
    assert (done.unpacked, done.present) == (5, 3)
    assert kaggle.requests == []
    assert unpacked(tmp_path) == EXPECTED


def test_a_track_that_is_there_is_not_fetched_again(kaggle: Kaggle, tmp_path: Path) -> None:
    kaggle.content = archive(FILES)
    fetch.fetch(2, tmp_path, base_url=kaggle.url)
    with pytest.raises(UserError, match="holds track 2 already"):
        fetch.fetch(2, tmp_path, base_url=kaggle.url)
    assert fetch.fetch(2, tmp_path, base_url=kaggle.url, again=True).unpacked == 0
    (tmp_path / "track2/readme.txt").write_text("mine")
    with pytest.raises(UserError, match=r"readme\.txt differs from the archive's"):
        fetch.fetch(2, tmp_path, base_url=kaggle.url, again=True)
    assert (tmp_path / "track2/readme.txt").read_text() == "mine"


def test_the_archive_can_be_kept(kaggle: Kaggle, tmp_path: Path) -> None:
    kaggle.content = archive(FILES)
    fetch.fetch(2, tmp_path, base_url=kaggle.url, keep_archive=True)
    assert (tmp_path / f"{COMPETITIONS[2]}.zip").read_bytes() == kaggle.content


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (401, "refused the credentials"),
        (403, "accept its rules at https"),
        (404, "knows no competition"),
        (500, "status 500"),
    ],
)
def test_what_kaggle_refuses_is_explained(kaggle: Kaggle, tmp_path: Path, status: int, message: str) -> None:
    kaggle.status = status
    with pytest.raises(UserError, match=message):
        fetch.fetch(1, tmp_path, base_url=kaggle.url)
    assert unpacked(tmp_path) == {}


def test_without_a_network_it_says_so(kaggle: Kaggle, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"The download of {COMPETITIONS[1]} failed"):
        fetch.fetch(1, tmp_path, base_url="http://127.0.0.1:9/api/v1")


def test_what_is_no_archive_is_removed(kaggle: Kaggle, tmp_path: Path) -> None:
    kaggle.content = b"<html>log in</html>"
    with pytest.raises(UserError, match="no zip archive"):
        fetch.fetch(1, tmp_path, base_url=kaggle.url)
    assert unpacked(tmp_path) == {}


def test_a_damaged_file_in_the_archive_is_named(kaggle: Kaggle, tmp_path: Path) -> None:
    name = "train/hsi_61/Category-1_a_0001.h5"
    content = archive(FILES)
    at = content.index(FILES[name]) + 100
    kaggle.content = content[:at] + b"damage" + content[at + 6 :]
    with pytest.raises(UserError, match=rf"{name} is damaged in the archive .*again"):
        fetch.fetch(2, tmp_path, base_url=kaggle.url)
    assert f"track2/{name}" not in unpacked(tmp_path)
    kaggle.content = content
    fetch.fetch(2, tmp_path, base_url=kaggle.url)
    assert unpacked(tmp_path) == EXPECTED


@pytest.mark.parametrize("name", ["../evil.txt", "/etc/evil", "a/../../evil"])
def test_files_outside_of_the_folder_are_refused(kaggle: Kaggle, tmp_path: Path, name: str) -> None:
    kaggle.content = archive({name: b"x"})
    with pytest.raises(UserError, match="would lie outside"):
        fetch.fetch(1, tmp_path / "data", base_url=kaggle.url)
    assert not (tmp_path / "evil.txt").exists()


def test_litter_is_left_out(kaggle: Kaggle, tmp_path: Path) -> None:
    kaggle.content = archive(FILES | {"__MACOSX/train/._x": b"x", "train/.DS_Store": b"x"})
    fetch.fetch(2, tmp_path, base_url=kaggle.url)
    assert unpacked(tmp_path) == EXPECTED


def test_a_full_disk_is_told_before_the_download(
    kaggle: Kaggle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kaggle.content = archive(FILES)
    usage = fetch.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(fetch.shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(UserError, match="are needed in"):
        fetch.fetch(2, tmp_path, base_url=kaggle.url)


def test_without_credentials_it_says_what_is_missing_and_where_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path))
    monkeypatch.delenv("KAGGLE_KEY", raising=False)
    monkeypatch.setenv("KAGGLE_USERNAME", "ada")
    with pytest.raises(UserError) as caught:
        fetch.fetch(2, tmp_path / "data", base_url="http://127.0.0.1:9")
    text = str(caught.value)
    for part in (
        "KAGGLE_KEY is not set",
        str(tmp_path / "kaggle.json"),
        "https://www.kaggle.com/settings",
        f"https://www.kaggle.com/competitions/{COMPETITIONS[2]}/rules",
    ):
        assert part in text
    assert not (tmp_path / "data").exists()


def test_credentials_come_from_kaggles_file_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path))
    for name in ("KAGGLE_KEY", "KAGGLE_USERNAME"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "kaggle.json").write_text(json.dumps({"username": "ada", "key": "k"}))
    assert fetch.credentials("x") == ("ada", "k")
    (tmp_path / "kaggle.json").write_text("{}")
    with pytest.raises(UserError, match="no 'username' and 'key'"):
        fetch.credentials("x")


def test_there_is_no_third_track(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="choose 1 or 2"):
        fetch.fetch(3, tmp_path)
