"""From a configuration to a run: what is chosen where nothing is given."""

import pathlib

import jax
import pytest

from podarcade import launch
from podarcade.build import build
from podarcade.configuration import command_line
from podarcade.reporting import summary

CPU = f"--config={pathlib.Path(__file__).parent.parent}/configs/pqn_lru.py:preset=cpu"


@pytest.mark.parametrize(
    ("given", "shape"), [([], (2, 4)), (["seed=2"], (2, 4)), (["data=2"], (2, 2)), (["seed=1", "data=1"], (1, 1))]
)
def test_an_axis_of_the_mesh_that_is_not_given_is_chosen(given, shape):
    options = ["--config.seeds=2", "--config.algorithm.num_minibatches=2", *(f"--config.mesh.{item}" for item in given)]
    config = command_line.load(launch.make_flags(), ["launch", CPU, *options])
    mesh = build(config).updater.mesh.shape
    assert (mesh["seed"], mesh["data"]) == shape
    assert not summary.idle(config, 8, 8)
    # Who gave a mesh knows that devices are left over.
    assert bool(summary.idle(config, 4, 8)) == (not given)


def test_a_process_without_a_device_in_the_mesh_is_refused(monkeypatch):
    """It would wait for the others for ever; here process 1 has no devices at all."""
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    config = command_line.load(launch.make_flags(), ["launch", CPU])
    with pytest.raises(ValueError, match=r"1 seed x 1 data devices leaves process 1 without any; start fewer"):
        build(config)
