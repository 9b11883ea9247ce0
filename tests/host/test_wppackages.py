"""The example wppackages on a real host: in its sandbox, with its timers, replaced while Composer installs from it."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator

import pytest

from tests.host.host import Host
from tests.host.life import Shop
from tests.support import ROOT, figure, wait_until

EXAMPLE = ROOT / "examples" / "wppackages"
PHP = "/opt/php"  # inside
URL = "http://127.0.0.1:8000"
SITE = {
    "name": "acme/site",
    "require": {"wp-plugin/high-tags": "^1.0"},
    "replace": {"composer/installers": "2.2.0"},
    "repositories": [{"type": "composer", "url": URL}, {"packagist.org": False}],
    "config": {"secure-http": False},
}
INSTALLS = """
set -e
n=0
while [ ! -e over ] && [ $n -lt 500 ]; do
    rm -rf vendor "$COMPOSER_HOME"
    composer update --no-interaction --no-ansi 2>&1
    n=$((n + 1))
done
echo "$n installs"
"""


@pytest.fixture
def service(host: Host) -> Iterator[Shop]:
    """The example's project, with what its build would install already there; nothing of it is left afterwards."""
    one = Shop(host, "wppackages", 8000)
    host.run("mkdir", "-p", one.project, PHP)
    host.run("cp", "-r", f"{EXAMPLE}/wppackages", f"{EXAMPLE}/pyproject.toml", one.project)
    text = (EXAMPLE / "gapless.toml").read_text()
    text = re.sub(r"\[build\].*?(?=\[release\])", "", text, flags=re.DOTALL)
    text = text.replace("https://packages.example.com", URL).replace("# WPPACKAGES_UPSTREAM", "WPPACKAGES_UPSTREAM")
    text = re.sub(r"# WPPACKAGES_MIRROR = .*", 'WPPACKAGES_MIRROR = "wp-plugin/high-*"', text)
    text = re.sub(r'calendar = ".*?"', 'calendar = "*-*-* *:*:0/3"', text).replace("python -m", f"{sys.executable} -m")
    migrate = json.dumps([sys.executable, "-m", "wppackages", "migrate"])  # as a list its program is known, and shown
    text = text.replace(f'"{sys.executable} -m wppackages migrate"', migrate)
    host.run(sys.executable, "-m", "wppackages", "assets", "public/static", cwd=one.project)
    host.write(f"{one.project}/gapless.toml", text.replace("[drain]", '[drain]\nlinger = "1s"'))
    yield one
    one.remove()
    assert one.left() == ""


@pytest.mark.usefixtures("clients")
def test_timers_fill_it_and_deploys_lose_no_install(host: Host, service: Shop) -> None:
    """Invariants 6 and 10: `up` gives an empty service, its timers fill it, each install of Composer's is counted."""
    standin = host.popen(sys.executable, "-m", "wppackages.standin", "--packages", "30", cwd=service.project)
    service("up")
    assert json.loads(service.get("/ready"))["ready"] is True
    wait_until(lambda: host.get(8000, "/p2/wp-plugin/high-tags.json")[0] == 200, 30, "a build with packages")
    host.write(f"{PHP}/composer.json", json.dumps(SITE))
    env = {"COMPOSER_HOME": f"{PHP}/caches", "COMPOSER_ALLOW_SUPERUSER": "1"}
    composer = host.popen("env", *(f"{key}={value}" for key, value in env.items()), "sh", "-c", INSTALLS, cwd=PHP)
    for _ in range(2):
        service.deploy()
    service("rollback", "--yes")
    host.write(f"{PHP}/over", "")
    said = composer.communicate(timeout=60)[0]
    assert composer.returncode == 0, said
    assert "could not be fully loaded" not in said
    done = int(re.findall(r"^(\d+) installs$", said, re.MULTILINE)[0])
    assert done >= 3
    figure(f"{done} installs while it was deployed twice and rolled back")
    assert json.loads(service.get("/api/stats"))["installs"]["total"] == done
    standin.terminate()
    standin.communicate(timeout=20)
