"""Agents that are loaded from the folder of a run."""

import functools
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from running import ROOT, finish, start, train

import podarcade
from podarcade.runtime import stored
from podarcade.runtime.metrics import read_metrics

SEEDS = 2


def arguments(algorithm, memory, game="tmaze"):
    """Two seeds on the partial twin, with several evaluations and checkpoints."""
    file = f"--config={ROOT}/configs/{algorithm}.py:game={game},memory={memory},preset=smoke"
    return [file, f"--config.seeds={SEEDS}", "--config.checkpoint.every=2", "--config.frames=640"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a function that trains a run once and returns its folder."""
    return functools.cache(
        lambda algorithm, memory: train(tmp_path_factory.mktemp("run"), *arguments(algorithm, memory))
    )


@pytest.fixture
def run(trained):
    return trained("ppo", "lru")


def recorded(folder, twin, updates=None):
    """Return the greedy return of each seed that the run recorded, at its end or after some updates."""
    found = [record for record in read_metrics(folder / "metrics.jsonl") if f"eval/return_{twin}" in record]
    return next(r for r in reversed(found) if updates in (None, r["updates"]))[f"eval/return_{twin}"]


MATRIX = [
    (algorithm, memory) for algorithm in ("pqn", "ppo", "dqn") for memory in ("lru", "gru", "transformer", "none")
]
QUICK = {("ppo", "lru"), ("dqn", "gru")}


@pytest.mark.parametrize(
    ("algorithm", "memory"), [pytest.param(*p, marks=() if p in QUICK else pytest.mark.slow) for p in MATRIX]
)
def test_an_evaluation_of_a_loaded_agent_is_the_recorded_one(trained, algorithm, memory):
    folder = trained(algorithm, memory)
    for seed in range(SEEDS):
        agent = podarcade.load(folder, seed=seed)
        for partial, twin in enumerate(("full", "partial")):
            assert agent.evaluate(seed=None, partial=bool(partial)).mean() == recorded(folder, twin)[seed]


@pytest.mark.slow
def test_a_run_of_two_processes_is_loaded_by_one(tmp_path):
    code, output = finish(start(*arguments("pqn", "lru"), "--local_processes=2", f"--workdir={tmp_path}"))
    assert code == 0, output
    returns = [podarcade.load(tmp_path, seed=seed).evaluate(seed=None).mean() for seed in range(SEEDS)]
    assert returns == recorded(tmp_path, "partial")


def test_the_steps_of_a_run_are_different_agents(run):
    steps = sorted(int(path.name) for path in (run / "checkpoints").iterdir())
    assert len(steps) > 1
    loaded = [podarcade.load(run, step) for step in steps]
    assert [agent.updates for agent in loaded] == steps
    assert podarcade.load(run).updates == steps[-1]
    flat = [np.concatenate([np.ravel(x) for x in jax.tree.leaves(agent.params)]) for agent in loaded]
    assert not np.array_equal(flat[0], flat[-1])
    best = podarcade.load(run, "best").updates
    scores = {step: np.mean(recorded(run, "partial", step)) for step in steps}
    assert scores[best] == max(scores.values())


def test_the_best_step_is_the_one_of_the_highest_score(run, monkeypatch):
    steps = sorted(int(path.name) for path in (run / "checkpoints").iterdir())
    scores = dict(zip(map(str, steps), [1.0, 3.0, *[2.0] * len(steps)], strict=False))
    read = stored.read_record
    monkeypatch.setattr(stored, "read_record", lambda path: read(path) | {"score": scores[path.name]})
    assert podarcade.load(run, "best").updates == steps[1]
    monkeypatch.setattr(stored, "read_record", lambda path: read(path) | {"score": None})
    with pytest.raises(ValueError, match=r"step='best', but no checkpoint .* has a score; use step='latest'"):
        podarcade.load(run, "best")


# Acting.


@pytest.mark.parametrize(("algorithm", "memory"), [("ppo", "lru"), ("dqn", "gru")])
def test_outputs_over_time_are_those_of_the_steps(trained, algorithm, memory):
    """Acting runs the memory step by step, `unroll` all at once; episodes end in between."""
    agent = podarcade.load(trained(algorithm, memory))
    seen = agent.rollout(40, batch=3, key=jax.random.key(1), greedy=False)
    assert seen.timestep.start[1:].any()
    first = jax.tree.map(lambda x: x[0], seen.carry.memory)
    for name, values in agent.unroll(first, seen.timestep, seen.previous_action).items():
        np.testing.assert_allclose(values, seen.outputs[name], atol=1e-5)
    best = seen.outputs.get("q", seen.outputs.get("logits")).argmax(axis=-1)
    assert not np.array_equal(best, seen.action)
    greedy = agent.rollout(40, batch=3, key=jax.random.key(1))
    np.testing.assert_array_equal(greedy.outputs.get("q", greedy.outputs.get("logits")).argmax(axis=-1), greedy.action)


def test_a_loop_by_hand_plays_the_same_episode(run):
    agent = podarcade.load(run)
    seen = agent.rollout(25)
    key, _ = jax.random.split(jax.random.key(0))
    state, timestep = jax.vmap(agent.environment.reset)(jax.random.split(key, 1))
    carry, act, step = agent.initial(1), jax.jit(agent.act), jax.jit(jax.vmap(agent.environment.step))
    for t in range(25):
        again = agent.timestep(timestep.observation, timestep.start, timestep.reward)
        carry, action = act(carry, again)
        assert action == seen.action[t]
        state, timestep = step(state, action)


def test_gradients_with_respect_to_parameters_flow_through_an_agent(run):
    agent = podarcade.load(run)
    seen = agent.rollout(8)
    first = jax.tree.map(lambda x: x[0], seen.carry.memory)
    gradient = jax.grad(lambda agent: agent.unroll(first, seen.timestep, seen.previous_action)["value"].sum())(agent)
    assert max(float(jnp.abs(x).max()) for x in jax.tree.leaves(gradient.params)) > 0


def test_agents_of_all_seeds_and_steps_share_programs(run):
    agents = [podarcade.load(run, step, seed) for step in ("latest", "best") for seed in range(SEEDS)]
    traced = []

    @jax.jit
    def count(agent):
        traced.append(agent)
        return jax.tree.leaves(agent.params)[0].sum()

    assert len({float(count(agent)) for agent in agents}) > 1 and len(traced) == 1
    stacked = agents[0].replace(params=jax.tree.map(lambda *x: jnp.stack(x), *(agent.params for agent in agents)))
    np.testing.assert_allclose(jax.vmap(count)(stacked), [count(agent) for agent in agents], rtol=1e-6)


def test_exploring_takes_a_key(run):
    agent = podarcade.load(run)
    with pytest.raises(ValueError, match="greedy=False without a key; expected key="):
        agent.rollout(3).timestep and agent.act(agent.initial(1), None, greedy=False)


# Evaluation elsewhere.


def test_fresh_starts_are_others(run):
    agent = podarcade.load(run)
    returns = [agent.evaluate(16, seed=seed, greedy=False) for seed in (None, 0, 1, 0)]
    assert np.array_equal(returns[1], returns[3])
    assert not np.array_equal(returns[0], returns[1]) and not np.array_equal(returns[1], returns[2])
    lengths = agent.play(5)
    assert lengths["length_full"].shape == (5,) and (lengths["length_full"] >= 1).all()


def test_an_agent_plays_other_levels_and_twins(run):
    agent = podarcade.load(run)
    assert agent.environment.partial
    hard = agent.on(level="hard", partial=False)
    assert hard.environment.game.corridor_length > agent.environment.game.corridor_length
    assert not hard.environment.partial
    assert hard.play(2)["length_full"].max() > agent.play(2)["length_full"].max()
    assert agent.on(corridor_length=3).environment.game.corridor_length == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"level": "nightmare"}, "unknown level of tmaze 'nightmare'"),
        ({"game": "repeat_first"}, "was trained on tmaze; game=repeat_first is another one: give strict=False"),
        ({"game": "repeat_first", "strict": False}, "do not fit .* RepeatFirstEasy"),
        ({"corridor": 3}, "unknown option 'corridor'"),
        ({"rules": "house"}, "rules='house'; expected one of"),
    ],
)
def test_what_does_not_fit_is_one_line(run, options, message):
    with pytest.raises(ValueError, match=message) as caught:
        podarcade.load(run).on(**options)
    assert len(str(caught.value).splitlines()) == 1


# Folders.


def contents(folder):
    return {path.relative_to(folder): path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_loading_writes_nothing(run, monkeypatch):
    before = contents(run)
    monkeypatch.chdir(run.parent)
    podarcade.load(run.name, "best").evaluate(2)
    assert contents(run) == before


def flip(path):
    """Change some bits of the largest file of array data."""
    file = max((file for file in path.rglob("d/*") if file.is_file()), key=lambda file: file.stat().st_size)
    data = bytearray(file.read_bytes())
    data[len(data) // 2 :: 64] = bytes(byte ^ 1 for byte in data[len(data) // 2 :: 64])
    file.write_bytes(data)


def broken(folder, how):
    """Break a copy of a run."""
    newest = max((folder / "checkpoints").iterdir(), key=lambda path: int(path.name))
    if how == "no run":
        shutil.rmtree(folder)
    elif how == "not trained":
        shutil.rmtree(folder / "checkpoints")
    elif how == "flipped":
        flip(newest)
    elif how == "emptied":
        shutil.rmtree(newest / "state")
    else:
        config = json.loads((folder / "config.json").read_text())
        config["algorithm"]["trace"] = config["algorithm"].pop("gae_lambda")
        (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("no run", "holds no run: there is no config.json"),
        ("not trained", "holds no checkpoint yet"),
        ("flipped", "is corrupt .*; others: "),
        ("emptied", "is corrupt .*; others: "),
        ("other version", "config.json: config.algorithm.trace was renamed; use config.algorithm.gae_lambda"),
    ],
)
def test_a_folder_that_cannot_be_loaded_is_one_line(run, tmp_path, how, message):
    folder = shutil.copytree(run, tmp_path / "copy")
    broken(folder, how)
    with pytest.raises(ValueError, match=message) as caught:
        podarcade.load(folder)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("step", "seed", "message"),
    [(3, 0, "step=3; expected latest, best"), ("latest", 2, "seed=2; the run in .* has 0, 1")],
)
def test_a_step_or_seed_that_is_not_there_is_one_line(run, step, seed, message):
    with pytest.raises(ValueError, match=message):
        podarcade.load(run, step, seed)


def test_a_checkpoint_that_vanishes_file_by_file_is_not_corrupt(run, tmp_path, monkeypatch):
    folder = shutil.copytree(run, tmp_path / "copy")
    newest = max((folder / "checkpoints").iterdir(), key=lambda path: int(path.name))
    read, pauses = stored.read_record, []
    monkeypatch.setattr(stored.time, "sleep", lambda _: pauses.append(shutil.rmtree(newest, ignore_errors=True)))

    def half_removed(path):
        if path == newest:
            raise FileNotFoundError("its files are going")
        return read(path)

    monkeypatch.setattr(stored, "read_record", half_removed)
    assert podarcade.load(folder).updates < int(newest.name) and pauses


def test_a_checkpoint_that_is_removed_while_it_is_read_is_chosen_again(run, tmp_path, monkeypatch):
    folder = shutil.copytree(run, tmp_path / "copy")
    newest = max((folder / "checkpoints").iterdir(), key=lambda path: int(path.name))
    read = stored.read_record

    def removed_meanwhile(path):
        if path == newest:
            shutil.rmtree(newest)
        return read(path)

    monkeypatch.setattr(stored, "read_record", removed_meanwhile)
    assert podarcade.load(folder).updates < int(newest.name)
