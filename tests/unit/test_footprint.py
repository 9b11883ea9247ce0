"""What the soak calls flat: a proof that cannot fail proves nothing."""

from __future__ import annotations

import pytest
from bench import footprint
from bench.footprint import Figure, compare


def flat(figure: Figure, *values: float) -> bool:
    """Whether the soak lets these samples of a figure pass."""
    [row] = compare([{figure: value} for value in values])
    return row.flat


@pytest.mark.parametrize(("last", "passes"), [(44, True), (45, False)])
def test_one_descriptor_more_is_growth(last: int, passes: bool) -> None:
    """What is counted may not grow by one; what it is before the host has warmed up does not matter."""
    assert flat(footprint.counted("descriptors"), 30, 30, *[44] * 16, last, last) is passes


def test_memory_may_vary_and_not_grow() -> None:
    """A tenth more, and half a MiB, is what allocators do; more is a leak."""
    figure = footprint.memory("systemd")
    assert flat(figure, *[2 << 20] * 18, 2_700_000, 2_700_000)
    assert not flat(figure, *[2 << 20] * 18, 3_000_000, 3_000_000)


def test_few_samples_are_compared_as_well() -> None:
    """A quick form has three looks: the second is after the warm-up, the third is the end."""
    assert flat(footprint.counted("files"), 1, 7, 7)
    assert not flat(footprint.counted("files"), 1, 7, 8)
