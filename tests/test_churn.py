"""Policy churn: by hand, by brute force through the real update, on any mesh, and without any effect on training."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from builders import distance, dqn, ppo, pqn
from probes import Probe
from running import records, same_bits, train

from podarcade.algorithms.popgym_ppo import PopgymPPO
from podarcade.algorithms.popgym_pqn import PopgymPQN
from podarcade.anakin import churn, sharding
from podarcade.anakin.rollout import rollout
from podarcade.anakin.update import Updater
from podarcade.envs.environment import Environment
from podarcade.runtime import run_files

GAME = Probe(length=4, pays="match", blind=True)
NAMES = {f"churn{kind}{name}" for kind in ("", "_step") for name in ("", "_clear", "_near_ties")}
ONE = {"num_minibatches": 1, "optimiser": "adam"}  # every gradient step is on the whole rollout, or one window each
AGENTS = {
    "pqn": pqn("gru", learning_rate=0.03, learning_rate_end=0.03, **ONE),
    "ppo": ppo("gru", learning_rate=3e-3, learning_rate_end=3e-3, **ONE),
    "dqn": dqn("gru", learning_rate=0.03, learning_rate_end=0.03, carry_init="stored", **ONE),
}


def updater(algorithm, measured=True, mesh=(1, 1)):
    return Updater(algorithm, Environment(GAME), sharding.make_mesh(*mesh), 16, 4, churn=measured)


@functools.cache
def program(trainer):
    """One update, compiled."""
    return trainer.compile(trainer.abstract_state(1), 1)


def after(trainer, state):
    """The state and the metrics after an update, on the host; the state before remains."""
    return jax.device_get(program(trainer)(jax.tree.map(jnp.copy, state)))


def begun(trainer):
    return trainer.init(jnp.asarray([0], jnp.int32))


def after_two(trainer):
    """The state and the metrics of the second update: the first fills the burn-in and the replay buffer."""
    return after(trainer, after(trainer, begun(trainer))[0])


# By hand.


def test_table_of_flips_near_ties_and_masks():
    before = [[3.0, 1.0, 0.0], [1.0, 1.0005, 0.0], [0.0, 1.0, 0.9995], [0.0, 0.0, 2.0], [5.0, 0.0, 0.0]]
    later = [[0.0, 1.0, 0.0], [1.0, 0.9, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 1.0], [0.0, 5.0, 0.0]]
    weights = jnp.asarray([[1.0], [1.0], [0.3], [1.0], [0.0]])  # an importance weight counts once, the last never
    names = {"q": jnp.asarray(before)[:, None]}, {"q": jnp.asarray(later)[:, None]}
    found = jax.device_get(churn.count(*names, weights))
    assert found == {"states": 4, "flips": 2, "clear_states": 2, "clear_flips": 1}
    assert jax.device_get(churn.fractions(found)) == {"": 0.5, "clear": 0.5, "near_ties": 0.5}
    shifted = {"logits": names[0]["q"] + 7.0}, {"logits": names[1]["q"] - 7.0}
    assert jax.device_get(churn.count(*shifted, weights))["flips"] == 2


def test_a_single_action_never_flips():
    one = {"q": jnp.zeros((2, 3, 1))}
    assert float(churn.fractions(churn.count(one, one, jnp.ones((2, 3))))[""]) == 0.0


def test_two_independent_policies_disagree_by_the_product_of_their_frequencies():
    """1 - Σₐ pₐ qₐ; argmax of log p + Gumbel noise has the distribution p."""
    p, q, states = jnp.asarray([0.7, 0.2, 0.1]), jnp.asarray([0.3, 0.3, 0.4]), (200, 200)
    noise = jax.random.gumbel(jax.random.key(0), (2, *states, 3))
    before, later = ({"logits": jnp.log(r)[None, None] + noise[k]} for k, r in enumerate((p, q)))
    expected = 1 - float(jnp.sum(p * q))
    found = churn.fractions(churn.count(before, later, jnp.ones(states)))
    deviation = np.sqrt(expected * (1 - expected) / np.prod(states))
    assert abs(float(found[""]) - expected) < 4 * deviation
    assert float(found["near_ties"]) < 0.01


def test_a_gaussian_policy_moves_in_standard_deviations():
    before = {"mean": jnp.zeros((2, 1, 2)), "log_std": jnp.log(jnp.asarray([[[0.5, 2.0]], [[1.0, 1.0]]]))}
    later = {"mean": jnp.asarray([[[0.5, -1.0]], [[9.0, 9.0]]]), "log_std": before["log_std"] + 1}
    found = jax.device_get(churn.fractions(churn.count(before, later, jnp.asarray([[1.0], [0.0]]))))
    assert found == {"": pytest.approx(0.5 / 0.5 + 1.0 / 2.0)}


def test_nothing_flipped_leaves_near_ties_unknown_and_no_state_leaves_all_unknown():
    same = {"q": jnp.asarray([[[1.0, 0.0]]])}
    found = jax.device_get(churn.fractions(churn.count(same, same, jnp.ones((1, 1)))))
    assert found[""] == found["clear"] == 0.0 and np.isnan(found["near_ties"])
    assert all(np.isnan(value) for value in churn.fractions(churn.count(same, same, jnp.zeros((1, 1)))).values())


def test_bad_outputs_are_errors():
    values = jnp.zeros((3, 2, 4))
    with pytest.raises(ValueError, match=r"outputs odd; expected logits, q or mean: override Algorithm\.named_outputs"):
        churn.count({"odd": values}, {"odd": values}, jnp.ones((3, 2)))
    with pytest.raises(ValueError, match=r"outputs at slots \(3, 2\), but weights of slots \(4, 2\); override"):
        churn.count({"q": values}, {"q": values}, jnp.ones((4, 2)))


# Devices.


def test_devices_with_different_masks_are_pooled():
    """Not the mean of local fractions: of 1 / 1, 0 / 3, 0 / 0 and 2 / 4 it is 3 / 8, not 1 / 2."""
    states, flips = (jnp.asarray([numbers], jnp.int32) for numbers in ([1, 3, 0, 4], [1, 0, 0, 2]))

    def pooled(states, flips):
        local = {"states": states[0], "flips": flips[0], "clear_states": states[0], "clear_flips": flips[0] // 2}
        steps = jax.tree.map(lambda x: jnp.stack([x, 100 * x + 1]), local)
        return churn.metrics(local, steps, jnp.asarray([True, False]))

    spec = sharding.P("seed", "data")
    found = sharding.map_over(sharding.make_mesh(1, 4), pooled, (spec, spec), sharding.P("seed"))(states, flips)
    assert found.keys() == NAMES
    for kind in ("churn", "churn_step"):
        assert float(found[kind][0]) == 3 / 8 and float(found[f"{kind}_clear"][0]) == 1 / 8
        assert float(found[f"{kind}_near_ties"][0]) == pytest.approx(2 / 3)


def test_four_devices_measure_what_one_does():
    sgd = {"optimiser": "sgd", "learning_rate": 0.5, "learning_rate_end": 0.5, "max_gradient_norm": 1e9}
    found = []
    for mesh in ((1, 1), (1, 4)):
        found.append(after_two(updater(pqn("none", **sgd), mesh=mesh))[1].means)
    assert found[0].keys() >= NAMES and found[0]["churn"].max() > 0.02
    for name in NAMES:
        np.testing.assert_allclose(found[1][name], found[0][name], atol=1e-6, err_msg=name)


# The real update.


def test_parameters_at_rest_have_no_churn():
    still = dataclasses.replace(AGENTS["pqn"], num_epochs=1, learning_rate=0.0, learning_rate_end=0.0)
    means = after_two(updater(still))[1].means
    for name in NAMES:
        expected = np.nan if name.endswith("near_ties") else 0.0
        np.testing.assert_array_equal(means[name], expected, err_msg=name)


@functools.cache
def replayed(name):
    """Metrics of an update of two gradient steps on one whole rollout each; by brute force, outputs at its slots.

    Parameters before, between and after: the update of one step ends between.
    """
    one, two = (updater(dataclasses.replace(AGENTS[name], num_epochs=epochs)) for epochs in (1, 2))
    state, _ = after(two, begun(two))  # so that there is a burn-in, and in a replay buffer one window each
    between, later = after(one, state)[0], after(two, state)
    start, algorithm = jax.tree.map(lambda x: x[0], state), two.algorithm
    params = [jax.tree.map(lambda x: x[0], found.learner.params) for found in (state, between, later[0])]
    exploration = algorithm.exploration(jnp.float32(1 / two.schedule_length))
    actors, batch, _ = jax.jit(functools.partial(rollout, algorithm, two.environment))(
        params[0], start.actors, exploration=exploration
    )
    _, batch = jax.jit(two._prepare_sequences)(params[0], actors, batch)
    return later[1].means, [_stepwise(algorithm, p, two._draw(batch)) for p in params], batch.slots


def _stepwise(algorithm, params, batch):
    """Outputs at the 16 training slots of the network, run from the carry of the batch one step after another."""
    step, carry, outputs, slots = jax.jit(algorithm.apply_step), batch.carry, [], batch.slots
    for time in range(4 + 16):
        now = slots.map(lambda x, time=time: x[time])
        carry, found = step(params, carry, now, now.previous_action)  # slots have the fields of a time step
        outputs.append(np.asarray(found[0] if isinstance(found, tuple) else found))
    return np.stack(outputs[4:])


@pytest.mark.parametrize("name", AGENTS)
def test_churn_is_that_of_a_brute_force_recomputation(name):
    means, outputs, slots = replayed(name)
    unmasked = ~np.asarray(slots.terminal | slots.truncated)[4:-1]
    assert 0 < (~unmasked).sum() < unmasked.size / 2
    chosen = [values.argmax(axis=-1) for values in outputs]
    gaps = [np.diff(np.sort(values, axis=-1)[..., -2:], axis=-1)[..., 0] for values in outputs]

    def expected(pairs):
        flips = [((chosen[a] != chosen[b]) & unmasked, (gaps[a] >= 1e-3) & unmasked) for a, b in pairs]
        total = [sum(x.sum() for x in xs) for xs in zip(*((f, f & clear, clear) for f, clear in flips), strict=True)]
        return {
            "": total[0] / (unmasked.sum() * len(pairs)),
            "_clear": total[1] / total[2],
            "_near_ties": 1 - total[1] / total[0],
        }

    for kind, pairs in (("churn", [(0, 2)]), ("churn_step", [(0, 1), (1, 2)])):
        for part, value in expected(pairs).items():
            assert means[f"{kind}{part}"][0, 0] == pytest.approx(value, abs=1e-6), f"{kind}{part}"
        assert expected(pairs)[""] > 0.01


def test_a_step_changes_less_than_an_update():
    means, _, _ = replayed("pqn")
    assert means["churn_step"][0, 0] != means["churn"][0, 0]


# Training.


@pytest.mark.parametrize("name", AGENTS)
def test_measuring_changes_the_training_by_no_more_than_rounding(name):
    """The same games to the last bit; parameters to rounding, because XLA may fuse the optimiser differently."""
    (plain, plain_metrics), (state, metrics) = (after_two(updater(AGENTS[name], on)) for on in (False, True))
    same_bits(plain.actors.env, state.actors.env)
    assert distance(plain.learner.params, state.learner.params) < 1e-6
    assert metrics.means.keys() - plain_metrics.means.keys() == NAMES
    for key, values in plain_metrics.means.items():
        np.testing.assert_allclose(values, metrics.means[key], rtol=1e-5, atol=1e-6, err_msg=key)
    assert distance(plain.learner.params, begun(updater(AGENTS[name])).learner.params) > 1e-3


def test_a_run_that_does_not_measure_computes_nothing(monkeypatch):
    """Its program is the one that it would be without this feature."""

    def forbidden(*args):
        raise AssertionError("churn is off")

    trainer = updater(AGENTS["ppo"], measured=False)
    state = trainer.abstract_state(1)
    for name in ("count", "decisions", "metrics"):
        monkeypatch.setattr(churn, name, forbidden)
    trainer.compile(state, 1)
    with pytest.raises(AssertionError, match="churn is off"):
        dataclasses.replace(trainer, churn=True).compile(state, 1)


@pytest.mark.parametrize(
    ("algorithm", "slots"),
    [
        (pqn("lru", kind=PopgymPQN, window_loss=True), (16 + 4 - 1, 16)),
        (pqn("none", kind=PopgymPQN, feed_forward=True, burn_in=0), (1, 16 * 16)),
        (ppo("none", kind=PopgymPPO, feed_forward=True, burn_in=0), (1, 16 * 16)),
        (dqn("lru", carry_init="recomputed"), (16, 16)),
        (dqn("none", burn_in=0), (16, 16)),
    ],
    ids=["window", "single pqn", "single ppo", "recomputed dqn", "memoryless dqn"],
)
def test_probes_are_the_slots_of_the_loss(algorithm, slots):
    """Of the whole rollout: every environment is one sequence, or every transition."""
    algorithm = dataclasses.replace(algorithm, num_minibatches=1)
    trainer = updater(algorithm)

    def probe(state):
        _, batch, _ = rollout(algorithm, trainer.environment, state.learner.params, state.actors, jnp.float32(0.5))
        _, batch = trainer._prepare_sequences(state.learner.params, state.actors, batch)
        experience = algorithm.buffer.add(state.replay, batch)
        selection = algorithm.buffer.sample(jax.random.key(0), experience, jnp.int32(0))
        drawn = trainer._draw(algorithm.buffer.gather(experience, jax.tree.map(lambda x: x[-1], selection)))
        decided = churn.decisions(algorithm, state.learner.params, drawn)
        return decided, trainer._count_changes(state.learner, state.learner.params, drawn)

    one = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), trainer.abstract_state(1))
    decided, counts = jax.eval_shape(probe, one)
    assert decided.get("q", decided.get("logits")).shape == (*slots, 2)
    assert counts.keys() == {"states", "flips", "clear_states", "clear_flips"}


# A run.


def test_a_run_logs_it_and_is_no_other_run_without_it(tmp_path):
    """Of continuous actions, which have no ties."""
    size = ["--config.frames=128", "--config.evaluation.episodes=2"]
    train(
        tmp_path,
        "--config=configs/ppo.py:preset=smoke,game=position_only_pendulum,memory=none",
        "--config.churn=true",
        *size,
    )
    last = records(tmp_path)[-1]
    assert {name for name in last if "churn" in name} == {"train/churn", "train/churn_step"}
    assert 0 < last["train/churn_step"] < 10 and 0 < last["train/churn"] < 10
    assert run_files.comparable({"churn": False}) == {} != run_files.comparable({"churn": True})
