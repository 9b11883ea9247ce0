"""What commands advise, taken by its word: after `Try:` of an error, and in what doctor finds."""

from __future__ import annotations

import json
import re
import shlex
import sys

from tests.host.life import Shop

TRY = re.compile(r"^ *Try: +(.*)$", re.MULTILINE)
PATIENT = {"clock", "disk"}  # what doctor may say of the machine that tests run on, or of the small disk of a test


def doctor(shop: Shop) -> dict[str, dict[str, str]]:
    """Every finding, by its name."""
    return {one["name"]: one for one in json.loads(shop("doctor", "--json", check=False).stdout)["findings"]}


def wrong(shop: Shop) -> dict[str, dict[str, str]]:
    """What doctor finds wrong with the app."""
    found = doctor(shop).items()
    return {name: one for name, one in found if one["state"] in ("failed", "warning") and name not in PATIENT}


def hint(said: str) -> str:
    """The one advice in what a command said."""
    (found,) = TRY.findall(said)
    return str(found)


def follow(shop: Shop, advice: str) -> str:
    """Run an advice that is a command, or the first command in its text, word for word; what it said."""
    command = advice if "`" not in advice else advice.split("`")[1]
    ours = f"{shlex.quote(sys.executable)} -m gapless "
    command = re.sub(r"(^|&& |sudo )gapless ", rf"\1{ours}", command).replace("sudo ", "")
    done = shop.host.run("sh", "-c", command, cwd=shop.project, user=shop.user)
    return done.stdout + done.stderr
