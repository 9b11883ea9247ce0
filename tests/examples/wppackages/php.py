"""Ask Composer's own classes, as Debian installs them."""

from __future__ import annotations

import json
import subprocess
from typing import Any

READ = "$in = json_decode(stream_get_contents(STDIN), true);"


def php(code: str, given: object) -> Any:
    """What PHP `code` makes of `$in`: it leaves its answer in `$out`."""
    whole = f"{READ} {code} echo json_encode($out, JSON_THROW_ON_ERROR);"
    said = subprocess.run(["php", "-r", whole], input=json.dumps(given), capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout + said.stderr
    return json.loads(said.stdout)
