"""The documents that Composer 2 reads: https://getcomposer.org/doc/05-repositories.md#composer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from wppackages.catalogue import Package
from wppackages.versions import Version, kept

ROOT = {
    "packages": [],
    "metadata-url": "/p2/%package%.json",
    "available-package-patterns": ["wp-plugin/*", "wp-theme/*"],
    "notify-batch": "/downloads",
    "search": "/search.json?q=%query%&type=%type%",
    "list": "/packages/list.json",
}
Entry = dict[str, Any]


def documents(package: Package, mirrored: Mapping[str, str], url: str) -> dict[str, Entry]:
    """Make the metadata of a package: its releases, and what is under development, by their paths below p2.

    `mirrored` has the SHA-1 of the archives, by normalized version, that the service at `url` serves itself.
    """
    info, name = package.info, package.name
    common = {
        "name": name,
        "description": info["summary"],
        "homepage": f"https://wordpress.org/{package.type}s/{package.slug}/",
        "type": f"wordpress-{package.type}",
    }
    entries = [
        {**common, **_version(one, info, _dist(one, name, mirrored.get(one.normalized), url))}
        for one in kept(info["versions"], info["version"])
    ]
    development = []
    trunk = info["versions"].get("trunk") or info["trunk"]
    if trunk.startswith(("https://", "http://")):
        # The same address has other contents later: the reference tells Composer's cache.
        dist = {"type": "zip", "url": trunk, "reference": f"trunk@{info['last_updated']}"}
        version = Version("dev-trunk", "dev-trunk", trunk)
        development = [{**common, **_version(version, info, dist)}]
    return {name: _document(name, entries), f"{name}~dev": _document(name, development)}


def _version(one: Version, info: dict[str, Any], dist: Entry) -> Entry:
    require = {"composer/installers": "^1.0 || ^2.0"}
    if one.tag in (info["version"], "dev-trunk") and re.fullmatch(r"\d+(\.\d+){0,2}", info["requires_php"]):
        require["php"] = f">={info['requires_php']}"  # of older versions the API does not say it
    return {"version": one.tag, "version_normalized": one.normalized, "require": require, "dist": dist}


def _dist(one: Version, name: str, shasum: str | None, url: str) -> Entry:
    if shasum is None:
        return {"type": "zip", "url": one.archive, "reference": f"tags/{one.tag}"}
    ours = f"{url}/dist/{name}/{one.normalized}-{shasum}.zip"
    return {"type": "zip", "url": ours, "reference": f"tags/{one.tag}", "shasum": shasum}


def _document(name: str, entries: list[Entry]) -> Entry:
    return {"minified": "composer/2.0", "packages": {name: minified(entries)}}


def minified(entries: list[Entry]) -> list[Entry]:
    """Leave out of each entry what the one before it says, too (composer/metadata-minifier)."""
    found, before = [], Entry()
    for entry in entries:
        changed = {key: value for key, value in entry.items() if key not in before or before[key] != value}
        found.append(changed | {key: "__unset" for key in before if key not in entry})
        before = entry
    return found
