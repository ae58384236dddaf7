"""Saliency: gradients by pixel against those of the whole network, twins, pictures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from builders import ppo, pqn
from PIL import Image

from podarcade.agents import Agent
from podarcade.agents.records import Origin
from podarcade.configuration import FrozenConfigDict
from podarcade.diagnostics.saliency import Saliency
from podarcade.envs.environment import Environment, make
from podarcade.envs.tasks.tmaze import TMaze
from podarcade.reporting import saliency_pictures


def agent(algorithm, environment):
    key = jax.random.key(3)
    params = jax.tree.map(lambda p: p + 0.02, algorithm.init(key, environment.reset(key)[1]))
    return Agent(params, algorithm, environment, Origin(FrozenConfigDict({}), 0, 0))


@pytest.fixture(scope="module")
def pixels():
    made = agent(pqn(memory="gru", num_actions=5), make("CartPoleEasy", partial_obs=True))
    return made, jax.device_get(Saliency(length=4)(made, jax.random.key(0)))


def brute_force(made, played, decide_at):
    """The norm over actions and channels of the whole Jacobian of one decision, float[T, ...]."""

    def decide(observation):
        timestep = played.timestep.replace(observation=observation)
        values = made.unroll(made.initial(1).memory, timestep, played.previous_action)
        values = values["q"] if "q" in values else jax.nn.log_softmax(values["logits"])
        return values[decide_at, 0] - values[decide_at, 0].mean()

    jacobian = jax.jacrev(decide)(played.timestep.observation.astype(jnp.float32))[:, :, 0]
    return np.sqrt((jacobian**2).sum(axis=(0, -1) if jacobian.ndim == 5 else 0))


@pytest.mark.parametrize("twin", ["full", "partial"])
def test_pixels_of_the_past_and_of_the_present(pixels, twin):
    made, found = pixels
    played = made.rollout(4, 1, jax.random.key(0), partial=twin == "partial")
    assert found[f"{twin}/last"] == 3
    np.testing.assert_array_equal(found[f"{twin}/picture"][0], played.timestep.observation[:, 0])
    past = brute_force(made, played, 3)
    np.testing.assert_allclose(found[f"{twin}/past"][0], past / past.max(), atol=2e-3)
    present = np.stack([brute_force(made, played, t)[t] for t in range(4)])
    np.testing.assert_allclose(found[f"{twin}/present"][0], present / present.max(), atol=2e-3)


def test_what_all_actions_share_has_no_saliency():
    """A network whose values are equal for all actions decides nothing, although its values depend on what it saw."""
    made = agent(pqn(memory="gru", num_actions=4), Environment(TMaze(), partial=True))
    value = made.params["q"]["params"]["value"]
    kernel = jnp.broadcast_to(value["kernel"][:, :1], value["kernel"].shape)
    made.params["q"]["params"]["value"] = value | {"kernel": kernel}
    found = jax.device_get(Saliency(length=5)(made, jax.random.key(0)))
    assert not found["partial/past"].any() and not found["full/present"].any()
    assert Saliency().summarise(found) == {"full": {"now": None}, "partial": {"now": None}}


def test_without_memory_only_the_present_matters():
    made = agent(ppo(memory="none", num_actions=4), Environment(TMaze(), partial=True))
    found = jax.device_get(Saliency(episodes=2)(made, jax.random.key(0)))
    assert Saliency().summarise(found) == {"full": {"now": 1.0}, "partial": {"now": 1.0}}
    steps = np.arange(found["full/past"].shape[1])
    assert not found["full/past"][steps[None] != found["full/last"][:, None]].any()


def test_nothing_is_shown_after_the_end_of_an_episode():
    made = agent(pqn(memory="gru", num_actions=4), Environment(TMaze(), partial=True))
    found = jax.device_get(Saliency(episodes=3, length=30)(made, jax.random.key(0)))
    after = np.arange(30)[None] > found["full/last"][:, None]
    assert after.any()
    for name in ("past", "present", "seen", "picture", "decision"):
        assert not found[f"full/{name}"][after].any()


def test_pictures(pixels, tmp_path):
    _, found = pixels
    seeds = {name: value[None] for name, value in found.items()}
    files = saliency_pictures.draw(seeds, tmp_path / "saliency")
    assert [path.name for path in files] == ["saliency-full.png", "saliency-partial.png", "saliency.gif"]
    assert Image.open(files[2]).n_frames == 4
    picture, saliency = saliency_pictures.episode(seeds, "full", "past")
    shown = saliency_pictures.overlay(picture, saliency)
    assert shown.shape == picture.shape
    brightest = np.unravel_index(saliency.argmax(), saliency.shape)
    np.testing.assert_array_equal(shown[brightest], saliency_pictures.COLOURS[-1])
    grey = saliency_pictures.overlay(picture, np.zeros_like(saliency))
    assert (grey.min(axis=-1) == grey.max(axis=-1)).all()


def test_heat_maps_of_vectors(tmp_path):
    made = agent(pqn(memory="gru", num_actions=4), Environment(TMaze(), partial=True))
    found = {name: value[None] for name, value in jax.device_get(Saliency()(made, jax.random.key(0))).items()}
    (path,) = saliency_pictures.draw(found, tmp_path / "saliency")
    assert path.name == "saliency.png" and Image.open(path).width > 300
