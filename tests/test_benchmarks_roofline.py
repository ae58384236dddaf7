"""Predicted speeds: all operations of an update are in one of its parts, and a bound is a bound."""

import functools

import pytest
from builders import pqn, updater

from benchmarks import flops, roofline
from podarcade.envs.games.cartpole import CartPole


@functools.cache
def measured(**options):
    trainer = updater(CartPole(), pqn(num_actions=5, **options), num_envs=8)
    return trainer, roofline.parts(trainer)


def test_the_parts_have_all_operations():
    trainer, parts = measured(burn_in=0)
    steps = trainer.num_envs * trainer.algorithm.rollout_length
    total = flops.of_update(trainer, 1)["update"] / steps
    assert sum(part.operations for part in parts.values()) == pytest.approx(total)
    assert all(part.operations > 0 for name, part in parts.items() if name != "draw")


def test_a_step_is_encoded_once_to_act_and_with_gradients_in_every_epoch():
    """One more than the rollout's steps has a value; chunks of frames may be filled up."""
    trainer, parts = measured(burn_in=0)
    algorithm, encoder = trainer.algorithm, roofline._encoder(trainer)
    assert parts["encode to act"].operations == encoder.forward
    learned = parts["encode to learn"].operations / encoder.both
    expected = algorithm.num_epochs * (algorithm.rollout_length + 1) / algorithm.rollout_length
    assert expected <= learned < 1.25 * expected
    assert parts["draw"].bytes == pytest.approx((1 + learned) * 128 * 128 * 3)


def test_a_part_takes_as_long_as_its_slower_limit():
    part, device = roofline.Part(operations=6.0, bytes=4.0), roofline.Device(operations=2.0, bandwidth=1.0)
    assert part.seconds(device) == 4.0 and part.is_bound_by_bytes(device)
    fast = roofline.Device(operations=2.0, bandwidth=4.0)
    assert part.seconds(fast) == 3.0 and not part.is_bound_by_bytes(fast)


def test_a_row_adds_up_its_parts():
    trainer, parts = measured(burn_in=0)
    for name, found in roofline.row("x", trainer)["devices"].items():
        seconds = sum(part.seconds(roofline.DEVICES[name]) for part in parts.values())
        assert found["frames_per_second"] == pytest.approx(1 / seconds)
