"""A competition's board on Kaggle, by the user's account: the best teams, and what the account has submitted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hsengine.base.errors import UserError
from hstasks.images.fetch import failed


@dataclass(frozen=True)
class Row:
    """A line of the board."""

    team: str
    score: float


@dataclass(frozen=True)
class Submission:
    """What the account has submitted; a score is None where there is none, or not yet."""

    file: str
    date: str
    public: float | None
    private: float | None


@dataclass(frozen=True)
class Board:
    """The best teams in their order, and the account's own submissions, the newest first."""

    rows: list[Row]
    own: list[Submission]


def read(name: str, top: int = 10) -> Board:
    """Ask Kaggle for a competition's board: the private one where it is public already.

    Args:
        name: of the competition, as its address has it.
        top: how many teams.

    Raises:
        UserError: kagglehub or credentials are missing, the account is refused, or the network fails.
    """
    try:
        from kagglehub.clients import build_kaggle_client  # type: ignore[import-untyped]
        from kagglehub.config import get_kaggle_credentials  # type: ignore[import-untyped]
        from kagglehub.exceptions import UnauthenticatedError  # type: ignore[import-untyped]
        from kagglesdk.competitions.types import competition_api_service as kinds  # type: ignore[import-untyped]
    except ImportError:
        raise UserError("The board needs the package kagglehub: pip install 'hyperobject-toolkit[tasks]'.") from None
    board, submissions = kinds.ApiGetLeaderboardRequest(), kinds.ApiListSubmissionsRequest()
    board.competition_name, board.page_size, submissions.competition_name = name, top, name
    try:
        if get_kaggle_credentials() is None:
            raise UnauthenticatedError
        with build_kaggle_client() as client:
            api = client.competitions.competition_api_client
            rows, own = api.get_leaderboard(board).submissions, api.list_submissions(submissions).submissions
    # The library, its HTTP client and the network have no class of errors in common.
    except Exception as error:
        raise failed(name, error, "board") from None
    return Board(
        [Row(str(row.team_name), score) for row in rows if (score := _number(row.score)) is not None][:top],
        [
            Submission(str(one.file_name), str(one.date)[:16], _number(one.public_score), _number(one.private_score))
            for one in own
        ],
    )


def _number(text: Any) -> float | None:
    try:
        return float(text)
    except (TypeError, ValueError):
        return None
