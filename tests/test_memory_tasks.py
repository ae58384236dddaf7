"""What each memory layer can learn to remember, and what it cannot."""

import functools
import json

import jax
import numpy as np
import pytest

from benchmarks import memory_tasks, tasks
from podarcade import plugins

MEMORIES = plugins.names("memory")
WITHOUT = {"none", "stack"}  # layers that see one step, or four
CHANCE = 1 / tasks.VALUES + 0.05
ORDER_BLIND = 0.6  # 0.55 by a test below, plus a margin


def streams(task, seed=0):
    return jax.tree.map(
        np.asarray, jax.jit(functools.partial(tasks.stream, task, sequences=3, batch=64))(jax.random.key(seed))
    )


def whole_sequences(stream):
    """Yield the sequences that are complete, one at a time: [LENGTH, ...]."""
    for begin, row in np.argwhere(stream.start):
        if begin + tasks.LENGTH <= len(stream.start):
            yield jax.tree.map(lambda part, begin=begin, row=row: part[begin : begin + tasks.LENGTH, row], stream)


def parts(x):
    """Key, value, number and query flag of every step; -1 for no key, no value."""
    key, value = x[:, : tasks.KEYS], x[:, tasks.KEYS : tasks.KEYS + tasks.VALUES]
    key, value = (np.where(part.any(1), part.argmax(1), -1) for part in (key, value))
    return key, value, x[:, -2], x[:, -1] > 0


def first_by_hand(key, value, number, asks):
    return value[0], None


def copy_by_hand(key, value, number, asks):
    return [value[np.flatnonzero(key == one)[0]] if one >= 0 else -1 for one in key], None


def recall_by_hand(key, value, number, asks):
    held, answers = {}, []
    for one, written, asked in zip(key, value, asks, strict=True):
        if not asked:
            held[one] = written
        answers.append(held[one])
    return answers, None


def mean_by_hand(key, value, number, asks):
    return None, [number[: t + 1].mean() for t in range(tasks.LENGTH)]


@pytest.mark.parametrize("task", tasks.TASKS, ids=lambda task: task.__name__)
def test_answers_follow_from_the_steps(task):
    by_hand = {"first": first_by_hand, "copy": copy_by_hand, "recall": recall_by_hand, "mean": mean_by_hand}
    stream = streams(task)
    found = list(whole_sequences(stream))
    assert len(found) > 128
    for sequence in found:
        answers, numbers = by_hand[task.__name__](*parts(sequence.steps.x))
        asked = sequence.steps.asked
        if answers is not None:
            np.testing.assert_array_equal(sequence.steps.answer[asked], np.broadcast_to(answers, asked.shape)[asked])
        else:
            np.testing.assert_allclose(sequence.steps.number, numbers, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(np.flatnonzero(sequence.scored), np.arange(tasks.WRITES, tasks.LENGTH))
        assert asked[sequence.scored].all()


@pytest.mark.parametrize("task", tasks.TASKS, ids=lambda task: task.__name__)
def test_every_query_can_be_answered(task):
    stream = streams(task)
    before = np.cumsum(stream.start, axis=0) == 0
    assert before.any() and not stream.steps.asked[before].any() and not stream.scored[before].any()
    begins = stream.start.argmax(axis=0)
    assert len(np.unique(begins)) > 10, "starts are at fixed positions"


def test_queries_do_not_show_their_answer():
    """In `recall` and `copy` the last steps show no value; in `first` only the first step does."""
    for task, silent in [(tasks.first, 1), (tasks.copy, tasks.KEYS), (tasks.recall, tasks.WRITES)]:
        for sequence in whole_sequences(streams(task)):
            assert np.all(parts(sequence.steps.x)[1][silent:] == -1)


def test_order_blind_recall_lies_between_chance_and_one():
    bound = float(jax.jit(tasks.order_blind_recall)(jax.random.key(0)))
    assert 0.53 < bound < ORDER_BLIND - 0.03


# The default time scales of S5 suit thousands of steps; a sequence here has sixteen.
SMALL = {"s5": {"states": 16, "minimum_step": 0.02, "maximum_step": 0.5}}


@pytest.mark.parametrize("name", MEMORIES)
def test_the_first_value_is_remembered(name):
    memory = plugins.find("memory", name)
    small = functools.partial(memory, **SMALL.get(name, {memory.SIZE: 8} if memory.SIZE else {}))
    options = {"width": 16, "steps": 150, "batch": 8, "learning_rate": 1e-2}
    with jax.numpy_rank_promotion("allow"):  # a layer may write `u * h`
        score = memory_tasks.train(small, chosen=(tasks.first,), **options)[0, 0]
    if name in WITHOUT:
        assert score < 0.35, "it knows a value that it cannot have seen"
    else:
        assert score > 0.95


# Every task that is not in these tables must be learned, with accuracy or R² above LEARNED.
LEARNED = 0.9

# Upper bounds on the score that hold for any parameters, and why.
CANNOT = {
    ("none", "first"): (CHANCE, "one step is seen"),
    ("none", "copy"): (CHANCE, "one step is seen"),
    ("none", "recall"): (CHANCE, "one step is seen"),
    ("none", "mean"): (0.15, "the last of 13 to 16 numbers explains that part of their mean's variance"),
    ("stack", "first"): (CHANCE, "four steps are seen, the value was shown twelve steps ago"),
    ("stack", "copy"): (CHANCE, "four steps are seen, the value was shown twelve steps ago"),
    ("stack", "recall"): (
        0.55,
        "the four queries see the last three writes, two, one and none: 0.33 known, the rest guessed",
    ),
    ("stack", "mean"): (0.35, "the last four of 13 to 16 numbers explain that part of their mean's variance"),
    ("linear_transformer", "recall"): (ORDER_BLIND, "a sum over the past does not order the writes"),
}

# Tasks that are solvable in principle but not learned here, the least score, and why they are hard.
FADING = "all keys decay at the same rate: the order shows in how far each has decayed, but nothing is overwritten"
PARTLY = {
    ("lru", "recall"): (0.5, FADING),
    ("s5", "recall"): (0.45, FADING),
    ("ffm", "recall"): (0.45, FADING),
    ("ffm", "copy"): (0.6, "few traces, each a sum over all keys; they differ in rate and phase only"),
    ("rg_lru", "recall"): (0.7, "a gate initially drops a tenth of a key per step, and has to learn to drop all of it"),
    ("agalite", "mean"): (0.4, "products of two traces hold cross terms; only a trace of the keys normalises"),
}


@functools.cache
def table(name, **options):
    """Scores of one memory by task, after the training of the benchmark."""
    fast = {"xla_backend_optimization_level": 3}  # unlike in other tests, computing costs more than compiling
    with jax.numpy_rank_promotion("allow"):  # a layer may write `u * h`
        scores = memory_tasks.train(memory_tasks.matched(name, 48, **options), steps=600, compiler_options=fast)[0]
    return {task.__name__: float(score) for task, score in zip(tasks.TASKS, scores, strict=True)}


@pytest.mark.slow
@pytest.mark.parametrize("task", [task.__name__ for task in tasks.TASKS])
@pytest.mark.parametrize("name", [name for name in MEMORIES if plugins.find("memory", name).SIZE])
def test_scores_of_all_memories_on_all_tasks(name, task):
    score = table(name)[task]
    if (name, task) in CANNOT:
        most, reason = CANNOT[name, task]
        assert score < most, reason
    elif (name, task) in PARTLY:
        least, reason = PARTLY[name, task]
        assert least < score, reason
    else:
        assert score > LEARNED


@pytest.mark.slow
def test_attention_cannot_see_beyond_its_window():
    """Eight steps where twelve are needed; the mean of the last eight explains half of the variance."""
    score = table("transformer", window=8)
    assert score["first"] < CHANCE and score["copy"] < CHANCE
    assert score["mean"] < 0.65


@pytest.mark.slow
def test_attention_without_positions_does_not_know_the_order():
    score = table("transformer", position="none")
    assert score["recall"] < ORDER_BLIND
    assert min(score["first"], score["copy"], score["mean"]) > LEARNED


def test_the_command_prints_and_writes_a_table(tmp_path, capsys):
    path = tmp_path / "tasks.json"
    words = ["memory_tasks", "--memories=none", "--steps=2", "--seeds=2", "--width=8", f"--json={path}"]
    results = memory_tasks.main(words)
    kept = json.loads(path.read_text(encoding="utf-8"))
    assert kept["results"] == results and kept["steps"] == 2 and kept["arguments"] == words[1:]
    assert [len(scores) for scores in results["none"].values()] == [2] * len(tasks.TASKS)
    first, second = capsys.readouterr().out.splitlines()[:2]
    assert first.split() == ["memory", "first", "copy", "recall", "mean", "seconds"] and second.startswith("none")
