"""Ask wordpress.org's API, which is busy at times, and often wrong."""

from __future__ import annotations

import html
import json
import random
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import IO, Any

from wppackages.settings import Failure

# What Composer takes as the second part of a name.
SLUG = re.compile(r"[a-z0-9](?:(?:[_.]|-{1,2})?[a-z0-9]+)*")
TRIES = 4
LONGEST_WAIT = 20.0  # seconds, whatever Retry-After says
LARGEST = 8 << 20  # bytes of an answer
KEPT = ("version", "requires", "requires_php", "tested", "last_updated")


class Unavailable(Failure):
    """The API gave no usable answer; the same question may get one later."""


def fetch(url: str) -> IO[bytes]:
    """Open `url`; tries again what a busy or broken server answers. An error of ours (4xx) is an answer, too.

    Raises Unavailable after TRIES tries.
    """
    request = urllib.request.Request(url, headers={"User-Agent": "wppackages/1"})  # noqa: S310 -- http(s) alone is asked for
    cause = ""
    for attempt in range(TRIES):
        wait = 0.2 * 2**attempt
        try:
            return urllib.request.urlopen(request, timeout=20)  # type: ignore[no-any-return]  # noqa: S310
        except urllib.error.HTTPError as error:
            if error.code != 429 and error.code < 500:
                return error
            cause = f"it answered {error.code}"
            after = error.headers.get("Retry-After", "")
            wait = float(after) if after.isdecimal() else wait
            error.close()
        except OSError as error:
            cause = str(error)
        if attempt + 1 < TRIES:
            time.sleep(min(wait, LONGEST_WAIT) * (1 + random.random() / 4))  # noqa: S311 -- only to not come all at once
    raise Unavailable(f"no answer from {url} in {TRIES} tries: {cause}")


class Upstream:
    """The API at `base`."""

    def __init__(self, base: str) -> None:
        self.base = base

    def pages(self, type_: str, size: int = 250) -> Iterator[list[tuple[str, str]]]:
        """Yield the listing of plugins or themes, the last changed first: (slug, last change) of each."""
        number, last = 1, 1
        while number <= last:
            asked = {"browse": "updated", "page": number, "per_page": size, "fields": {"last_updated": 1}}
            answer = self._ask(type_, f"query_{type_}s", asked)
            try:
                last = int(answer["info"]["pages"])
                found = [(str(one["slug"]), str(one["last_updated"])) for one in answer[f"{type_}s"]]
            except (KeyError, TypeError, ValueError) as error:
                raise Unavailable(f"the listing of {type_}s has no {error}") from error
            yield [(slug, changed) for slug, changed in found if SLUG.fullmatch(slug)]
            number += 1

    def describe(self, type_: str, slug: str) -> dict[str, Any] | None:
        """Ask for one package; None if it is closed, or was never there."""
        fields = {"versions": 1, "active_installs": 1, "short_description": 1, "description": int(type_ == "theme")}
        answer = self._ask(type_, f"{type_}_information", {"slug": slug, "fields": fields})
        if "error" in answer:
            return None
        if not isinstance(answer.get("version"), str):
            raise Unavailable(f"what the API says of {slug} has no version")
        try:
            return trimmed(answer)
        except (AttributeError, TypeError, ValueError) as error:
            raise Unavailable(f"what the API says of {slug} cannot be read: {error}") from error

    def _ask(self, type_: str, action: str, asked: dict[str, Any]) -> dict[str, Any]:
        query = {"action": action}
        for key, value in asked.items():
            if isinstance(value, dict):
                query |= {f"request[{key}][{inner}]": str(one) for inner, one in value.items()}
            else:
                query[f"request[{key}]"] = str(value)
        url = f"{self.base}/{type_}s/info/1.2/?{urllib.parse.urlencode(query)}"
        try:
            with fetch(url) as response:
                status = response.status  # type: ignore[attr-defined]  # urllib's responses have it
                answer = json.loads(response.read(LARGEST))
        except (OSError, ValueError) as error:
            raise Unavailable(f"no JSON from {url}: {error}") from error
        if not isinstance(answer, dict) or status not in (200, 404):  # 404: closed, or not there; 403 is neither
            raise Unavailable(f"no object from {url}, which answered {status}")
        return answer


def trimmed(answer: dict[str, Any]) -> dict[str, Any]:
    """What of an answer the service uses. PHP makes a list of an empty map, and false of an empty text."""
    tags, versions, author = answer.get("tags") or {}, answer.get("versions") or {}, answer.get("author") or ""
    if isinstance(author, dict):  # of themes
        author = author.get("display_name") or ""
    return {
        "name": _text(answer.get("name")),
        "summary": _text(answer.get("short_description") or answer.get("description"))[:300],
        "author": _text(author),
        "tags": [_text(tag) for tag in tags.values()] if isinstance(tags, dict) else [],
        "installs": int(answer.get("active_installs") or 0),
        "trunk": str(answer.get("download_link") or ""),
        "versions": {str(tag): str(url) for tag, url in versions.items()} if isinstance(versions, dict) else {},
        **{key: str(answer.get(key) or "") for key in KEPT},
    }


def _text(value: object) -> str:
    """Text as people read it: the API has markup and entities in it."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", "", str(value or ""))).split())
