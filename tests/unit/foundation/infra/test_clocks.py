"""A process's time: the server's, never going back, never behind what has happened."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.foundation.infra.database_clock import (
    AHEAD_BOUND,
    UNCERTAINTY_BOUND,
    SteadyClock,
    machine_time,
    margin_of,
)
from hilum.foundation.kernel.errors import Unavailable
from tests.sim.world import START, FakeClock

MINUTE = timedelta(minutes=1)


class Machine(FakeClock):
    """A machine whose wall clock can be set, while its monotonic clock goes on."""

    def set_by(self, by: timedelta) -> None:
        self._now += by


@pytest.fixture
def machine() -> Machine:
    return Machine()


def measured(machine: Machine, ahead: timedelta, trip: timedelta = timedelta(milliseconds=2)) -> SteadyClock:
    """A process on a machine whose clock is ahead of the server's."""
    clock = SteadyClock(machine, follows_server=True)
    sample(clock, machine, ahead, trip)
    return clock


def sample(clock: SteadyClock, machine: Machine, ahead: timedelta, trip: timedelta) -> None:
    sent = clock.monotonic()
    machine.advance(trip / 2)
    server = machine.now() - ahead
    machine.advance(trip / 2)
    clock.observe(server, sent, clock.monotonic())


@pytest.mark.parametrize("ahead", [5 * MINUTE, -5 * MINUTE, timedelta(0), timedelta(days=-400)])
def test_machines_with_different_clocks_keep_one_time(machine: Machine, ahead: timedelta) -> None:
    """Fault: clocks five minutes apart, and a full stop revived tokens of the fast node."""
    clock = measured(machine, ahead)

    assert clock.now() == machine.now() - ahead
    machine.advance(7 * MINUTE)
    assert clock.now() == machine.now() - ahead
    found = clock.skew()
    assert found is not None
    assert found.ahead == ahead
    assert found.uncertainty < timedelta(seconds=1)


@pytest.mark.parametrize("jump", [timedelta(hours=-1), timedelta(hours=1), timedelta(seconds=-3)])
def test_a_machine_whose_clock_is_set_changes_nothing_where_there_is_a_server(
    machine: Machine, jump: timedelta
) -> None:
    clock = measured(machine, timedelta(0))
    before = clock.now()
    machine.set_by(jump)
    machine.advance(MINUTE)

    assert clock.now() == before + MINUTE
    assert machine_time(clock) == before + MINUTE + jump


@given(
    jumps=st.lists(st.tuples(st.integers(-4_000, 4_000), st.integers(0, 100)), max_size=30),
    served=st.booleans(),
)
def test_time_never_goes_back(jumps: list[tuple[int, int]], served: bool) -> None:
    """An expired token does not come back to life, whatever is done to the clocks of machine and server."""
    machine = Machine()
    clock = measured(machine, timedelta(0)) if served else SteadyClock(machine)
    last = clock.now()
    for set_by, passed in jumps:
        machine.set_by(timedelta(seconds=set_by))
        machine.advance(timedelta(seconds=passed))
        sample(clock, machine, timedelta(seconds=set_by), timedelta(milliseconds=1))
        now = clock.now()

        assert now >= last
        last = now


def test_without_a_server_time_continues_while_the_machine_is_set_back(machine: Machine) -> None:
    """SQLite: one machine. Time does not stand still for the hour either, or tokens would live an hour longer."""
    clock = SteadyClock(machine)
    before = clock.now()
    machine.set_by(timedelta(hours=-1))
    machine.advance(10 * MINUTE)

    assert clock.now() == before + 10 * MINUTE


def test_a_slow_measurement_does_not_replace_a_good_one_and_replaces_an_old_one(machine: Machine) -> None:
    clock = measured(machine, timedelta(0))
    sample(clock, machine, timedelta(milliseconds=300), timedelta(seconds=1))
    assert clock.now() == machine.now()

    machine.advance(timedelta(hours=2))
    sample(clock, machine, -timedelta(milliseconds=300), timedelta(seconds=1))

    assert clock.now() == machine.now() + timedelta(milliseconds=300)


def test_a_server_that_went_back_takes_nobody_with_it(machine: Machine) -> None:
    """A standby whose clock is ten minutes behind is promoted."""
    clock = measured(machine, timedelta(0))
    before = clock.now()

    sample(clock, machine, timedelta(minutes=10), timedelta(milliseconds=2))
    machine.advance(MINUTE)

    assert clock.now() >= before + MINUTE


def test_a_process_is_not_behind_what_has_happened(machine: Machine) -> None:
    """A machine that was set back and restarted; or a slow one."""
    for clock in (SteadyClock(machine), measured(machine, timedelta(0))):
        happened = clock.now() + 5 * MINUTE
        clock.not_before(happened)
        assert clock.now() == happened

        clock.not_before(happened - timedelta(hours=1))
        assert clock.now() == happened


def test_a_process_that_would_have_to_leap_refuses(machine: Machine) -> None:
    """Fails closed: some clock is wrong, and nobody knows which."""
    clock = SteadyClock(machine)
    with pytest.raises(Unavailable) as refused:
        clock.not_before(START + AHEAD_BOUND + MINUTE)

    assert refused.value.code == "clock_behind"
    assert clock.now() == machine.now()


def test_the_margin_covers_what_two_processes_may_differ_by(machine: Machine) -> None:
    assert margin_of(SteadyClock(machine)) == timedelta(0)
    assert margin_of(measured(machine, timedelta(0))) == 2 * UNCERTAINTY_BOUND
    far = measured(machine, timedelta(0), timedelta(seconds=1))
    assert margin_of(far) >= timedelta(milliseconds=550)
    assert margin_of(machine) == timedelta(0)


def test_before_the_server_was_measured_the_clock_says_so(machine: Machine) -> None:
    clock = SteadyClock(machine, follows_server=True)

    assert not clock.is_set
    assert clock.skew() is None
    sample(clock, machine, timedelta(0), timedelta(milliseconds=1))
    assert clock.is_set
