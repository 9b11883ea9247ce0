"""Waves are planned: which hosts get a release first, and who is next."""

from __future__ import annotations

import itertools

import pytest

from gapless.fleet.waves import plan

DEFAULT = (1, "10%", "100%")


def hosts(count: int) -> list[str]:
    return [f"web{number}" for number in range(1, count + 1)]


@pytest.mark.parametrize(
    ("count", "waves", "sizes"),
    [
        (0, DEFAULT, []),
        (1, DEFAULT, [1]),
        (6, DEFAULT, [1, 5]),  # 10 % of six is none: there is no empty wave
        (10, DEFAULT, [1, 9]),
        (25, DEFAULT, [1, 1, 23]),
        (100, DEFAULT, [1, 9, 90]),
        (1000, DEFAULT, [1, 99, 900]),
        (6, ("100%",), [6]),
        (6, ("10%", "100%"), [1, 5]),  # a first wave has a host
        (6, (1, 2, 3), [1, 1, 1, 3]),  # what the last one leaves
        (6, (), [6]),
        (6, (4, 2, "50%", 9), [4, 2]),  # what would add nothing is left out
        (3, (1, 1, 5), [1, 2]),
        (1000, ("1%", "10%", "50%", "100%"), [10, 90, 400, 500]),
    ],
)
def test_each_wave_is_what_its_number_or_share_adds(count: int, waves: tuple[int | str, ...], sizes: list[int]) -> None:
    """A number or share says how many hosts are done after the wave, and no wave is empty."""
    assert [len(wave) for wave in plan(hosts(count), waves)] == sizes


@pytest.mark.parametrize("waves", [DEFAULT, (), (3,), ("33%", 2), ("7%", "50%")])
def test_every_host_is_in_one_wave_in_its_order(waves: tuple[int | str, ...]) -> None:
    """Whatever the waves are, all hosts are done once, in the order they were given."""
    for count in range(40):
        planned = plan(hosts(count), waves)
        assert list(itertools.chain(*planned)) == hosts(count)
        assert all(planned)


@pytest.mark.parametrize("wave", [0, -1, True, "0%", "101%", "ten", "10", "1.5%", "", "10 %", "-5%", "٣%"])
def test_what_is_no_wave_is_refused_in_a_sentence(wave: int | str) -> None:
    """A slip in `waves` is named and told how to write it, however few hosts there are."""
    for count in (0, 6):
        with pytest.raises(ValueError, match=r'is no wave; write .* 1 or "10%"'):
            plan(hosts(count), (1, wave))
