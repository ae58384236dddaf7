"""The Game contract, checked before anything is compiled: one line for each violation, naming class and method."""

import dataclasses
import re
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cue_game import Cue
from eleventh_game import Lamps
from probes import Probe

from podarcade import plugins, tracebacks
from podarcade.envs import contract, environment
from podarcade.envs.games import Game


def game(**members):
    """A game called Bad: Lamps, with some of its members replaced."""
    return dataclasses.dataclass(frozen=True)(type("Bad", (Lamps,), members))()


def refusal(**members):
    """The error that `check_game` raises, which must be one line."""
    with pytest.raises(ValueError) as caught:
        contract.check_game(game(**members))
    assert "\n" not in str(caught.value)
    return caught.value


def step(change):
    """A step of Lamps whose outcome, (state, reward, terminal), is changed."""
    return lambda self, state, action, key: change(*Lamps.step(self, state, action, key))


@pytest.mark.parametrize("good", [Lamps(), Lamps(rules="published", obs_size=256), Cue(), Probe(), Probe(endless=True)])
def test_games_that_keep_the_contract_pass(good):
    contract.check_game(good)


def test_nothing_is_compiled():
    def started(event, *_, **__):
        compiled.append(event) if "backend_compile" in event else None

    compiled = []
    contract._check.cache_clear()
    jax.monitoring.register_event_duration_secs_listener(started)
    try:
        contract.check_game(Lamps())
        assert not compiled
        jax.jit(lambda x: x + 1)(np.float32(3)).block_until_ready()
        assert compiled, "the listener hears a compilation"
    finally:
        jax.monitoring.unregister_event_duration_listener(started)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (
            {"step": step(lambda state, reward, terminal: (state, reward))},
            "Bad.step returned 2 values; expected (state, reward float32[], terminal bool[])",
        ),
        (
            {"step": step(lambda *_: None)},
            "Bad.step returned None; expected (state, reward float32[], terminal bool[])",
        ),
        (
            {"step": step(lambda state, reward, terminal: (state, jnp.stack([reward, reward]), terminal))},
            "Bad.step returned a reward float32[2]; expected float32[]",
        ),
        (
            {"step": step(lambda state, reward, terminal: (state, jnp.int32(reward), terminal))},
            "Bad.step returned a reward int32[]; expected float32[]",
        ),
        (
            {"step": step(lambda state, reward, terminal: (state, (reward, reward), terminal))},
            "Bad.step returned a reward (float32[], float32[]); expected float32[]",
        ),
        (
            {"step": step(lambda state, reward, terminal: (state, reward, jnp.stack([terminal])))},
            "Bad.step returned a terminal bool[1]; expected bool[]",
        ),
        (
            {"step": step(lambda state, reward, terminal: (state, reward, terminal.astype(jnp.int32)))},
            "Bad.step returned a terminal int32[]; expected bool[]",
        ),
        (
            {"step": step(lambda state, *rest: (state.replace(lit=jnp.zeros(4, jnp.int32)), *rest))},
            "Bad.step changed lit from int32[] to int32[4]; expected the shape and dtype that reset returned",
        ),
        (
            {"step": step(lambda state, *rest: (state.replace(lit=state.lit * 1.0), *rest))},
            "Bad.step changed lit from int32[] to float32[]; expected the shape and dtype that reset returned",
        ),
        (
            {"step": step(lambda state, *rest: (state.replace(lit=None), *rest))},
            "Bad.step changed the state from LampsState(lit, time, score) to LampsState(time, score); "
            "expected the structure that reset returned",
        ),
        (
            {"draw": lambda self, state, partial: jnp.zeros((128, 128, 3))},
            "Bad.draw returned float32[128, 128, 3]; expected uint8[128, 128, 3], or float32[D] for a task without "
            "pixels",
        ),
        (
            {"draw": lambda self, state, partial: jnp.zeros((64, 64, 3), jnp.uint8)},
            "Bad.draw returned uint8[64, 64, 3]; expected uint8[128, 128, 3], or float32[D] for a task without pixels",
        ),
        (
            {"draw": lambda self, state, partial: jnp.zeros(3, jnp.float16)},
            "Bad.draw returned float16[3]; expected uint8[128, 128, 3], or float32[D] for a task without pixels",
        ),
        (
            {"draw": lambda self, state, partial: jnp.zeros(())},
            "Bad.draw returned float32[]; expected uint8[128, 128, 3], or float32[D] for a task without pixels",
        ),
        (
            {"draw": lambda self, state, partial: (jnp.zeros(2), jnp.zeros(2))},
            "Bad.draw returned (float32[2], float32[2]); expected uint8[128, 128, 3], or float32[D] for a task "
            "without pixels",
        ),
        (
            {"draw": lambda self, state, partial: jnp.zeros(3) if partial else jnp.zeros(4)},
            "Bad.draw returned float32[4] for the full twin and float32[3] for the partial one; expected the same "
            "shape and dtype, as `partial` is traced",
        ),
        (
            {"reset": lambda self, key: {"time": jnp.int32(0), "score": jnp.int32(0)}},
            "Bad.reset returned dict without 'time'; expected a flax.struct.dataclass with time: int32[], steps "
            "since reset",
        ),
        (
            {"reset": lambda self, key: Lamps.reset(self, key).replace(score=None)},
            "Bad.reset returned LampsState without 'score'; expected a flax.struct.dataclass with score: int32[], "
            "the number on top of the frame",
        ),
        (
            {"reset": lambda self, key: Lamps.reset(self, key).replace(time=jnp.float32(0))},
            "Bad.reset returned a state with time: float32[]; expected int32[]",
        ),
        ({"reset": Game.reset}, "Bad has no method 'reset'; expected reset, step and draw"),
        ({"step": Game.step}, "Bad has no method 'step'; expected reset, step and draw"),
        ({"draw": Game.draw}, "Bad has no method 'draw'; expected reset, step and draw"),
        ({"LEVELS": ["easy"]}, "Bad.LEVELS is ['easy']; expected a dict of levels, as in {'easy': {'board': 8}}"),
        (
            {"LEVELS": {"easy": 12}},
            "Bad.LEVELS['easy'] is 12; expected a dict of values for the fields of the game",
        ),
        (
            {"LEVELS": {"easy": {"lamps": 12}}},
            "Bad.LEVELS['easy'] sets 'lamps'; expected fields of its own: ['max_steps']",
        ),
        (
            {"LEVELS": {"easy": {"obs_size": 256}}},
            "Bad.LEVELS['easy'] sets 'obs_size'; expected fields of its own: ['max_steps']",
        ),
        ({"NUM_ACTIONS": 2}, "Bad.NUM_ACTIONS was renamed; use actions = podarcade.actions.Discrete(2)"),
        ({"actions": 2}, "Bad.actions is 2; expected Discrete(n) or Continuous(dim) of podarcade.actions"),
        ({"time_limit": 12.0}, "Bad.time_limit is 12.0; expected an int >= 1"),
        ({"RETURNS": (1, 0)}, "Bad.RETURNS is (1, 0); expected (lowest, highest)"),
    ],
)
def test_violations_name_the_method_what_it_returned_and_what_is_expected(members, message):
    assert str(refusal(**members)) == message


def broken(self, state, *_):
    return {}["lamp"]


def branches(self, state, action, key):
    return self.step(state, 0, key) if action == 3 else (state, jnp.float32(0), jnp.asarray(False))


def branches_on_time(self, state, partial):
    return Lamps.draw(self, state, partial) if state.time else Lamps.draw(self, state, ~partial)


@pytest.mark.parametrize(
    ("members", "place", "message", "cause"),
    [
        ({"reset": broken}, broken, "Bad.reset failed: FILE:LINE: KeyError: 'lamp'", KeyError),
        ({"step": broken}, broken, "Bad.step failed: FILE:LINE: KeyError: 'lamp'", KeyError),
        ({"draw": broken}, broken, "Bad.draw failed: FILE:LINE: KeyError: 'lamp'", KeyError),
        (
            {"draw": branches_on_time},
            branches_on_time,
            "Bad.draw failed: FILE:LINE: TracerBoolConversionError: Attempted boolean conversion of traced array with "
            "shape int32[].; use jnp.where or jax.lax.cond on traced values",
            jax.errors.TracerBoolConversionError,
        ),
        (
            {"step": branches},
            branches,
            "Bad.step failed: FILE:LINE: TracerBoolConversionError: Attempted boolean conversion of traced array with "
            "shape bool[].; use jnp.where or jax.lax.cond on traced values",
            jax.errors.TracerBoolConversionError,
        ),
    ],
)
def test_an_exception_of_the_games_own_code_is_one_line_with_its_file_and_line(members, place, message, cause):
    error = refusal(**members)
    where = f"{tracebacks.innermost([(__file__, place.__code__.co_firstlineno + 1)])}"
    assert str(error) == message.replace("FILE:LINE", where)
    assert isinstance(error.__cause__, cause)


def test_a_wrong_signature_points_at_the_method():
    error = refusal(draw=lambda self, state: state)
    here = re.escape(tracebacks.innermost([(__file__, None)]))
    message = rf"Bad.draw failed: {here}:\d+: TypeError: .*takes 2 positional arguments but 3 .*"
    assert re.fullmatch(message, str(error))


def test_a_missing_time_limit_is_named():
    @dataclasses.dataclass(frozen=True)
    class Endless(Game):
        """A game without `max_steps`."""

    with pytest.raises(ValueError, match=r"Endless.time_limit failed: .*AttributeError: .*'max_steps'"):
        contract.check_game(Endless())


def test_a_game_that_cannot_be_hashed_is_refused():
    @dataclasses.dataclass(frozen=True)
    class Walls(Lamps):
        """A game with an array in a field."""

        walls: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(3))

    with pytest.raises(ValueError, match=r"Walls cannot be hashed \(unhashable type: 'numpy.ndarray'\); expected a"):
        contract.check_game(Walls())
    with pytest.raises(
        ValueError, match=r"^Lamps is not a game; expected an instance of a subclass of podarcade.envs.games.Game"
    ):
        contract.check_game(Lamps)


def test_levels():
    made = contract.make_game(Lamps, "medium", obs_size=256, rules="published")
    assert made == Lamps(max_steps=24, obs_size=256, rules="published")
    with pytest.raises(ValueError, match="Lamps has no level 'insane'; expected one of: easy, medium, hard"):
        contract.make_game(Lamps, "insane")
    with pytest.raises(ValueError, match=r"Probe.LEVELS is {}; expected a dict of levels"):
        contract.make_game(Probe, "easy")


@pytest.mark.parametrize("value", [128.0, True, "128", None, 64])
def test_the_size_of_frames_is_an_int(value):
    with pytest.raises(ValueError, match=f"obs_size={re.escape(repr(value))}; expected (an int|one of: 128, 256)"):
        Lamps(obs_size=value)
    assert Lamps(obs_size=np.int64(256)).obs_size == 256


def test_every_integer_field_is_an_int():
    for name in plugins.names("games"):
        found = plugins.find("games", name)
        for field in dataclasses.fields(found):
            if field.type is int:
                with pytest.raises(ValueError, match=rf"{field.name}=[\d.]+; expected an int"):
                    found(**{field.name: float(field.default)})


def test_a_level_that_the_game_refuses_is_named():
    @dataclasses.dataclass(frozen=True)
    class Picky(Lamps):
        """Refuses its own level."""

        LEVELS: ClassVar[dict] = {"easy": {"max_steps": 1.5}}

    with pytest.raises(
        ValueError, match=r"Picky.LEVELS\['easy'\] is invalid: .*ValueError: max_steps=1.5; expected an"
    ):
        contract.make_game(Picky, "easy")


def test_one_broken_game_does_not_hide_the_others(monkeypatch):
    find, everything = plugins.find, environment.environment_names()

    def fails(kind, name):
        if name == "tetris":
            raise SyntaxError("invalid syntax", ("tetris.py", 3, 1, "def", 3, 4))
        return find(kind, name)

    monkeypatch.setattr(plugins, "find", fails)
    with pytest.warns(RuntimeWarning, match=r"skipped the game 'tetris': tetris.py:3: SyntaxError: invalid syntax"):
        names = environment.environment_names()
    assert names.keys() == {name for name in everything if not name.startswith("Tetris")}
    with pytest.warns(RuntimeWarning), pytest.raises(ValueError, match="unknown environment 'TetrisEasy'"):
        environment.make("TetrisEasy")
    with pytest.warns(RuntimeWarning):
        assert environment.make("SkittlesEasy").game.last == 8
