"""For how long a process may act on its claims."""

import time

import pytest

from worker.engine.lease import Lease, boottime
from worker.ports import LEASE_S


@pytest.mark.parametrize(
    ("age_s", "holds"), [(0.0, True), (LEASE_S - 1.5, True), (LEASE_S - 0.5, False), (LEASE_S, False)]
)
def test_a_lease_is_let_go_a_second_before_another_process_may_take_it(age_s: float, holds: bool) -> None:
    lease = Lease()
    lease.renewed(boottime() - age_s)
    assert lease.holds() is holds


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="this system has no such clock")
def test_the_time_of_a_lease_goes_on_while_the_machine_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "clock_gettime", lambda clock: 5.0 if clock == time.CLOCK_BOOTTIME else 1.0)
    assert boottime() == 5.0
