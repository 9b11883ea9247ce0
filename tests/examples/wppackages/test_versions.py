"""The example wppackages: which tags are versions, as Composer itself would say."""

from __future__ import annotations

import random
import re
from itertools import pairwise

import pytest

from tests.examples.wppackages.php import php
from wppackages.versions import kept, normalize, order

SEMVER = "require '/usr/share/php/Composer/Semver/autoload.php'; use Composer\\Semver\\{Comparator, VersionParser};"
NORMALIZE = f"""{SEMVER} $parser = new VersionParser(); $out = [];
foreach ($in as $tag) {{
    try {{ $out[] = $parser->normalize($tag); }} catch (UnexpectedValueException $e) {{ $out[] = null; }}
}}"""
BRANCH = re.compile(r"^dev-|-dev$")
LESS = f"{SEMVER} $out = array_map(fn($pair) => Comparator::lessThan($pair[0], $pair[1]), $in);"


def archives(*tags: str) -> dict[str, str]:
    return {tag: f"https://downloads.example/{tag}.zip" for tag in tags}


def tags(count: int) -> list[str]:
    """Tags as people make them, and worse."""
    dice = random.Random(7)  # noqa: S311 -- the same each time
    parts = [
        ["", "v", "V", "version "],
        ["1", "0", "12", "2024", "20240115", "123456", "01"],
        ["", ".0", ".2", "-03", ".x"],
    ]
    parts += [["", ".3", ".15"], ["", ".4"], ["", ".5"], ["", "-", ".", "_", "+", " "]]
    parts += [["", "beta", "b", "RC", "a", "alpha", "pl", "p", "patch", "stable", "dev", "final", "rc", "Beta"]]
    parts += [["", "1", ".2", "-3.1", "0"], ["", "-dev", ".dev", "+build.5", "\n"]]
    return ["".join(map(dice.choice, parts)) for _ in range(count)]


@pytest.mark.parametrize(
    ("tag", "normalized"),
    [
        ("1", "1.0.0.0"),
        ("v1.2", "1.2.0.0"),
        ("1.2.3.4", "1.2.3.4"),
        ("1.2.3.4.5", None),
        ("1.0-b2", "1.0.0.0-beta2"),
        ("2.0RC1", "2.0.0.0-RC1"),
        ("1.1-patch3", "1.1.0.0-patch3"),
        ("20240115", "20240115"),
        ("trunk", None),
        ("1.0-dev", None),
        ("1.0 final", None),
    ],
)
def test_a_tag_is_spelled_as_composer_compares_it(tag: str, normalized: str | None) -> None:
    """`v` prefixes, up to four parts, suffixes, dates; what is no version of a release is none."""
    assert normalize(tag) == normalized


@pytest.mark.usefixtures("clients")
def test_composer_says_the_same_of_thousands_of_tags() -> None:
    """composer/semver normalizes each one to the same, or calls it a branch or no version where we leave it out."""
    asked = tags(4000)
    theirs = [None if said is None or BRANCH.search(said) else said for said in php(NORMALIZE, asked)]
    wrong = [(tag, normalize(tag), said) for tag, said in zip(asked, theirs, strict=True) if normalize(tag) != said]
    assert wrong == []
    assert sum(normalize(tag) is not None for tag in asked) > 500


@pytest.mark.usefixtures("clients")
def test_composer_orders_them_the_same() -> None:
    """Sorted by our key, each version that has another key than the next is less than it to Composer, too."""
    known = sorted({found for tag in tags(3000) if (found := normalize(tag))}, key=order)
    pairs = [(one, two) for one, two in pairwise(known) if order(one) < order(two)]
    assert len(pairs) > 100
    less = php(LESS, pairs)
    assert [pair for pair, said in zip(pairs, less, strict=True) if not said] == []


def test_tags_above_the_released_version_are_dropped() -> None:
    """A draft, a mistake, a date: what the author has not released is not offered."""
    found = kept(archives("1.0", "1.2", "1.3-beta1", "9.9", "2024.01.01", "1.2-RC1"), "1.2")
    assert [one.tag for one in found] == ["1.2", "1.2-RC1", "1.0"]


def test_of_tags_that_mean_the_same_one_is_left() -> None:
    """The one that is spelled as the released version, else the shortest: the same whatever order they come in."""
    several = ("1.0", "v1.0", "1.0.0", "0.9.0.0", "0.9")
    for way in (several, several[::-1]):
        assert [one.tag for one in kept(archives(*way), "1.0.0")] == ["1.0.0", "0.9"]


def test_a_released_version_that_is_none_drops_nothing() -> None:
    """Its author calls it "1.0 final": all tags that are versions are offered."""
    assert [one.tag for one in kept(archives("1.0", "2.0", "latest"), "1.0 final")] == ["2.0", "1.0"]


def test_only_archives_that_can_be_fetched_are_offered() -> None:
    """An address that is no http(s) goes into no document."""
    assert kept({"1.0": "file:///etc/passwd", "1.1": ""}, "1.1") == []
