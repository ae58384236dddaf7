"""Processes of a run that exit after a failure."""

import jax
import pytest

from podarcade.runtime import peers


class Store:
    """The key-value store of a coordination service; the time passes when somebody sleeps."""

    def __init__(self, leaves_at: float):
        self.now, self.calls = 0.0, []
        self._leaves_at = leaves_at  # when the other process records that it exits

    def key_value_set(self, key, value, allow_overwrite=False):
        self.calls.append("set")

    def key_value_dir_get(self, directory):
        self.calls.append("get")
        return ["own"] + ["other"] * (self.now >= self._leaves_at)

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@pytest.fixture
def depart(monkeypatch):
    """Return a function that lets one of two processes depart: its index, when the other leaves -> the store."""

    def run(index: int, leaves_at: float) -> Store:
        store = Store(leaves_at)
        monkeypatch.setattr(jax, "process_index", lambda: index)
        monkeypatch.setattr(jax, "process_count", lambda: 2)
        monkeypatch.setattr(peers, "_client", lambda: store)
        monkeypatch.setattr(peers, "time", store)
        peers.depart()
        return store

    return run


# A process that has recorded its exit is aborted with a C++ stack trace if its coordinator exits first.


@pytest.mark.parametrize("leaves_at", [0.0, 3.0])
def test_the_coordinator_outlives_the_others(depart, leaves_at):
    assert depart(0, leaves_at).now >= leaves_at + peers.LOOK


def test_the_coordinator_does_not_wait_for_ever(depart):
    assert depart(0, float("inf")).now <= peers.FAREWELL + 2 * peers.LOOK


def test_the_others_exit_at_once(depart):
    store = depart(1, 0.0)
    assert (store.now, store.calls) == (0.0, ["set"])
