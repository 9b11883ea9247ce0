"""systemctl, in whose place a program of the test answers."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from gapless.errors import GaplessError
from gapless.switch.systemd import systemctl


def test_a_systemd_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Invariant 8: it is said in words what was not answered; who has set a time of his own hears of that."""
    program = tmp_path / "systemctl"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(systemctl, "PATIENCE", 0.2)
    with pytest.raises(GaplessError, match="`systemctl show` got no answer within"):
        systemctl.Systemctl().show(["Id"], "shop.socket")
    with pytest.raises(subprocess.TimeoutExpired):
        systemctl.Systemctl().attempt("start", "shop.socket", timeout=0.2)
