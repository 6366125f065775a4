"""What the author of an extractor would test: the contract, and what it is meant to compute."""

from __future__ import annotations

import numpy as np
import pytest

from swapstream.models.errors import Rejected
from swapstream.operators.extractors.composite import Composite
from swapstream.operators.extractors.contract import check
from swapstream.operators.extractors.trials import run, series

from .later.vibration import Spectrum as Later
from .vibration import Spectrum

FIELDS = ("x", "y")


def shaking(period: float, mean: float = 0.0, readings: int = 400) -> list[tuple[float, float]]:
    """x swings around a mean, y stands still."""
    return [(mean + 3.0 * float(np.sin(2 * np.pi * n / period)), mean) for n in range(readings)]


@pytest.mark.parametrize("extractor", [Spectrum(), Spectrum(periods=(2.5,), halflife=3), Later(), Later(periods=(8, 3, 2))], ids=str)
def test_it_keeps_the_contract(extractor):
    check(extractor, FIELDS)


def test_the_later_version_goes_on_with_the_state_of_the_first():
    check(Later(), FIELDS, before=Spectrum())


def test_a_swing_is_seen_at_its_own_period():
    composite = Composite([Spectrum(periods=(4, 16))], FIELDS)
    assert composite.features == ("x.swing_4", "y.swing_4", "x.swing_16", "y.swing_16")
    last = run(composite, series(shaking(period=16))).features[-1]
    assert last[2] == pytest.approx(3.0, rel=0.1)
    assert last[[0, 1, 3]].max() < 0.2


def test_devices_warm_up_for_two_halflives():
    assert run(Composite([Spectrum(halflife=10)], FIELDS), series(shaking(4))).warming.sum() == 20


def test_the_later_version_gives_shares_that_no_mean_adds_to():
    last = run(Composite([Later(periods=(4, 16))], FIELDS), series(shaking(period=16, mean=5.0))).features[-1]
    assert last[2] == pytest.approx(1.0, rel=0.1)
    assert last[[0, 1, 3]].max() < 0.05


def test_after_a_migration_nothing_warms_up_again():
    first, later = Composite([Spectrum()], FIELDS), Composite([Later()], FIELDS)
    table = first.table()
    run(first, series(shaking(16)), [], table)
    ran = run(later, series(shaking(16)), [], later.restore({"base": table.snapshot()}))
    assert not ran.warming.any()
    assert ran.features[-1][2] == pytest.approx(1.0, rel=0.1)


def test_a_version_that_can_not_read_the_older_state_fails_the_check():
    class Forgetful(Later):
        def migrate(self, version, columns):
            return {"cosine": columns["cosine"]}

    with pytest.raises(Rejected, match="extractor 'spectrum': migrate: "):
        check(Forgetful(), FIELDS, before=Spectrum())
