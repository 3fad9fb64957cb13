"""The stage `code`: what code each stage of a challenge's pipeline runs through, so that DVC sees when it changes."""

from __future__ import annotations

from hsengine.base import code
from hsengine.base.paths import CODE
from hstasks.challenge import Challenge


def run(challenge: Challenge) -> str:
    """Bring the files of `derived/code` up to date, and say which stages run through other code than before."""
    known = CODE.is_dir()
    changed = code.write({stage: (module,) for stage, module in challenge.stages.items()}, CODE)
    if not known:
        return f"noted the code of {len(changed)} stages"
    return f"other code than before: {', '.join(changed)}" if changed else "the code is what it was"
