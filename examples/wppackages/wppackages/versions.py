"""Which of the tags that wordpress.org lists are versions, and how Composer orders them.

The rules are those of composer/semver's VersionParser::normalize; the tests ask the real one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

MODIFIER = r"[._-]?(?:(stable|beta|b|RC|alpha|a|patch|pl|p)((?:[.-]?\d+)*+)?)?([.-]?dev)?"
FLAGS = re.ASCII | re.IGNORECASE
CLASSIC = re.compile(rf"v?(\d{{1,5}})(\.\d++)?(\.\d++)?(\.\d++)?{MODIFIER}", FLAGS)
DATED = re.compile(rf"v?(\d{{4}}(?:[.:-]?\d{{2}}){{1,6}}(?:[.:-]?\d{{1,3}})?){MODIFIER}", FLAGS)
BUILD = re.compile(r"([^,\s+]++)\+\S++")
STABILITIES = {"a": "alpha", "b": "beta", "p": "patch", "pl": "patch", "rc": "RC"}
# As version_compare of PHP ranks them; a version that ends is before one that goes on with a number.
END, NUMBER = 3, 4
RANKS = {"alpha": 0, "beta": 1, "RC": 2, "patch": 5}
Key = list[tuple[int, int]]


def normalize(tag: str) -> str | None:
    """Spell `tag` as Composer compares it ("v1.2-b3" is "1.2.0.0-beta3"); None if it is no version of a release."""
    tag = tag.strip()
    if build := BUILD.fullmatch(tag):  # what is behind "+" says nothing of the order
        tag = build[1]
    if match := CLASSIC.fullmatch(tag):
        version = "".join((match[1], *(match[part] or ".0" for part in (2, 3, 4))))
    elif match := DATED.fullmatch(tag):
        version = re.sub(r"[^0-9]", ".", match[1])
    else:
        return None
    stability, number, dev = match.groups()[-3:]
    stability = (stability or "").lower()
    if stability == "stable":
        return version  # whatever is behind it
    if dev:  # a branch, not a release
        return None
    if not stability:
        return version
    return f"{version}-{STABILITIES.get(stability, stability)}{(number or '').lstrip('.-')}"


@dataclass(frozen=True)
class Version:
    """A tag with its archive, and the spelling of it that is unique in its package."""

    tag: str
    normalized: str
    archive: str

    @cached_property
    def key(self) -> Key:
        """What orders versions as version_compare of PHP does."""
        return order(self.normalized)


def order(normalized: str) -> Key:
    """Make the sort key of a normalized version: its numbers, its stability, the numbers of that."""
    numbers, _, suffix = normalized.partition("-")
    key = [(NUMBER, int(part)) for part in numbers.split(".")]
    if suffix:
        key.append((RANKS[suffix.rstrip("0123456789.-")], 0))
        key += [(NUMBER, int(part)) for part in re.findall("[0-9]+", suffix)]
    return [*key, (END, 0)]


def kept(archives: Mapping[str, str], released: str) -> list[Version]:
    """Choose from the tags with their archives what to offer, newest first.

    Tags above `released` were never released: they are drafts, or mistakes. Of tags that mean the same version one is
    left: the one that is spelled as `released`, else the shortest.
    """
    newest = normalize(released)
    highest = order(newest) if newest else None
    found: dict[str, Version] = {}
    for tag in sorted(archives, key=lambda one: (one != released, len(one), one)):
        normalized = normalize(tag)
        if normalized is not None and archives[tag].startswith(("https://", "http://")):
            found.setdefault(normalized, Version(tag, normalized, archives[tag]))
    offered = [one for one in found.values() if highest is None or one.key <= highest]
    return sorted(offered, key=lambda one: one.key, reverse=True)
