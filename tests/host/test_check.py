"""What a release is asked before its first visitor, on a real host."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.host.host import Host
from tests.host.life import Shop

# Answers who comes by https with two headers, and has an address; everybody else is sent away.
PARTICULAR = """
async def particular(scope, receive, send):
    given = dict(scope["headers"])
    asked = (scope["scheme"], given.get(b"x-one"), given.get(b"x-two"), scope["client"][0], scope["server"][1])
    status = 200 if asked == ("https", b"1 a", b"2", "127.0.0.1", {port}) else 403
    await send({{"type": "http.response.start", "status": status, "headers": []}})
    await send({{"type": "http.response.body", "body": repr(asked).encode()}})
"""


@pytest.fixture
def shop(host: Host) -> Iterator[Shop]:
    one = Shop(host, "shop", 8000)
    yield one
    one.remove()
    assert one.left() == ""


@pytest.mark.parametrize("rehearse", ["false", "true"])
def test_the_check_is_a_visitor_of_the_kind_that_the_app_wants(shop: Shop, rehearse: str) -> None:
    """Scheme, headers and addresses reach the app over systemd's private socket, a rehearsal's, and from the proof."""
    shop.write()
    asks = f'scheme = "https", headers = {{ x-one = "1 a", x-two = "2" }}, rehearse = {rehearse}'
    path = f"{shop.project}/gapless.toml"
    said = shop.host.read(path).replace('path = "/",', f'path = "/", {asks},').replace("app:app", "app:particular")
    shop.host.write(path, said)
    app = PARTICULAR.format(port=shop.port) if rehearse == "false" else PARTICULAR.format(port="scope['server'][1]")
    shop.host.write(f"{shop.project}/app.py", app)
    shop("up")
    units = shop.host.run(
        "sh", "-c", "systemctl show 'shop*'; grep -rs . /etc/systemd/system/shop*", user="nobody"
    ).stdout
    assert "GAPLESS_CHECK_SCHEME=https" in units
    assert "1 a" not in units  # a login perhaps, and everybody reads units
    if rehearse == "true":
        return
    assert json.loads(shop("deploy", "--prove", "--watch", "1s", "--json").stdout)["outcome"] == "switched"
    shop.host.write(path, said.replace('scheme = "https", ', "").replace('"20s"', '"3s"'))
    refused = shop.fails("deploy")
    assert "answered 403" in refused
    assert "if the page needs a login, set `[check] path`" in refused
