"""The board against a stand-in on this machine."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from hsengine.base.errors import UserError
from hstasks.biomass import leaderboard

BOARD = {"submissions": [{"teamName": "first", "score": "0.69"}, {"teamName": "second", "score": "0.66"}]}
OWN = {"submissions": [{"fileName": "submission.csv", "publicScore": "0.61", "privateScore": "", "ref": 1}]}


@pytest.fixture
def kaggle(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """A server that answers as Kaggle does; `refuse` makes it refuse, `asked` is what it was asked."""
    environment = pytest.importorskip("kagglesdk.kaggle_env")
    said: dict[str, Any] = {"asked": [], "refuse": False}

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or "{}")
            said["asked"].append((self.path.rpartition("/")[2], asked))
            body = json.dumps(BOARD if "Leaderboard" in self.path else OWN).encode()
            self.send_response(403 if said["refuse"] else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    place = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setitem(environment._env_to_endpoint, environment.KaggleEnv.PROD, place)
    monkeypatch.setenv("KAGGLE_USERNAME", "someone")
    monkeypatch.setenv("KAGGLE_KEY", "a key")
    yield said
    server.shutdown()
    thread.join()


def test_local_r2_stands_beside_the_boards(
    kaggle: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("outputs").mkdir()
    metrics = {"R2": 0.5731, "RMSE": 12.0, "images": 40, "run": {"strategy": "group"}}
    Path("outputs/metrics.json").write_text(json.dumps(metrics))
    told = str(leaderboard.run(2))
    assert "first" in told
    assert "0.69000" in told
    assert "0.6100" in told
    assert "0.5731" in told
    assert "12" not in told.split("here")[1]
    assert {name for name, _ in kaggle["asked"]} == {"GetLeaderboard", "ListSubmissions"}
    assert kaggle["asked"][0][1]["competitionName"] == "csiro-biomass"


def test_an_account_that_is_refused_is_told_what_to_do(kaggle: dict[str, Any]) -> None:
    kaggle["refuse"] = True
    with pytest.raises(UserError, match="accept the rules"):
        leaderboard.run()


def test_missing_credentials_are_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_API_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(UserError, match="No Kaggle credentials"):
        leaderboard.run()
