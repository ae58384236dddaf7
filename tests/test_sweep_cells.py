"""Cells of sweeps: sweep files, grids, their errors, and the names of agents."""

import pathlib

import pytest

from podarcade.sweeps import cells
from podarcade.sweeps.cells import Cell

FILE = """
def get_sweep(argument=""):
    for memory in ("gru", "lru"):
        yield {"file": "configs/ppo.py", "game": "tmaze", "partial": True, "memory": memory, "seeds": 3,
               "config.algorithm.learning_rate": 1e-4, "config.frames": argument or 1000}
"""


@pytest.fixture
def sweep_file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    return path


def test_a_file_yields_cells(sweep_file):
    gru, lru = cells.read(str(sweep_file), "")
    assert gru.file == "configs/ppo.py" and gru.config == "configs/ppo.py:game=tmaze,partial=true,memory=gru"
    assert gru.overrides == {"algorithm.learning_rate": "0.0001", "frames": "1000"}
    assert (gru.seed, gru.seeds, lru.arguments["memory"]) == (0, 3, "lru")
    assert {cell.overrides["frames"] for cell in cells.read(f"{sweep_file}:50", "")} == {"50"}


def test_a_grid_is_a_product_whose_last_key_runs_fastest():
    points = cells.read_grid("game=tmaze,repeat_first config.x=[full,partial@1e5],full seeds=2")
    assert points == [
        {"game": game, "config.x": text, "seeds": "2"}
        for game in ("tmaze", "repeat_first")
        for text in ("full,partial@1e5", "full")
    ]
    assert cells.read_grid("") == [{}]


def test_a_grid_replaces_keys_of_a_file_and_cells_that_become_equal_count_once(sweep_file):
    found = cells.read(str(sweep_file), "memory=none,gru seed=5", ["config.frames=7"])
    assert [(cell.arguments["memory"], cell.seed, cell.overrides["frames"]) for cell in found] == [
        ("none", 5, "7"), ("gru", 5, "7"),
    ]  # fmt: skip


def test_without_a_file_the_default_configuration_is_trained():
    (cell,) = cells.read("", "game=tmaze seeds=1")
    assert cell.config == f"{cells.DEFAULT_FILE}:game=tmaze"


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ({"game": "tmaze"}, r"cell 1 \(game=tmaze\) has no seeds; expected how many, as seeds=5"),
        ({"seeds": 0}, "seeds=0; expected an integer >= 1"),
        ({"seeds": 1.5}, "seeds=1.5; expected an integer >= 1"),
        ({"seeds": 1, "seed": -1}, "seed=-1; expected an integer >= 0"),
        ({"seeds": 1, "config.seeds": 2}, "config.seeds is set by the sweep; give seeds"),
        ({"seeds": 1, "config.population": "x"}, "config.population is set by the sweep"),
        ({"seeds": 1, "algorithm.discount": 0.9}, r"unknown key 'algorithm.discount'; did you mean 'config.algorithm"),
        ({"seeds": 1, "memory": None}, "memory=None; expected a word or a number"),
        ({"seeds": 1, "memory": ["gru"]}, r"memory=\['gru'\]; expected a word or a number"),
        ({"seeds": 1, "memory": "gru,lru"}, "memory=gru,lru; an argument of a configuration file cannot hold a comma"),
        ({"seeds": 1, 3: "gru"}, "3 is a int; expected a name"),
    ],
)
def test_a_bad_cell_is_one_line(plain, message):
    with pytest.raises(ValueError, match=message) as error:
        cells.read_cell(plain, 1)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("memory", "'memory'; expected key=value,value"),
        ("memory=", "'memory='; expected key=value"),
        ("memory=gru,,lru", "expected key=value,value"),
        ("memory=gru memory=lru", "memory is given twice; list its values with commas"),
    ],
)
def test_a_bad_grid_is_one_line(text, message):
    with pytest.raises(ValueError, match=message):
        cells.read_grid(text)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("def get_sweep(argument=''):\n    return []", "yields no cells; expected a dict for each run"),
        ("def get_config(argument=None):\n    pass", "has no function get_sweep"),
        ("def get_sweep(argument=''):\n    yield 3", "cell 1 is a int; expected a dict"),
        ("def get_sweep(argument=''):\n    yield {'x': 1 / 0}", "mine.py:2: ZeroDivisionError"),
        ("def get_sweep(argument=''):\n    raise ValueError('no such thing')", "mine.py: no such thing"),
    ],
)
def test_a_bad_file_is_one_line(tmp_path, content, message):
    (tmp_path / "mine.py").write_text(content)
    with pytest.raises(ValueError, match=message) as error:
        cells.read(str(tmp_path / "mine.py"), "")
    assert "\n" not in str(error.value)


def test_something_has_to_be_given():
    with pytest.raises(ValueError, match="nothing to train; expected --config"):
        cells.read("", "")
    with pytest.raises(ValueError, match=r"found no configuration file configs/sweeps/smoky\.py; did you mean"):
        cells.read("configs/sweeps/smoky.py", "")


def names(*plain, values=()):
    found = [cells.read_cell({"seeds": 1, **one}, number) for number, one in enumerate(plain, 1)]
    memories = [cell.arguments.get("memory", "lru") for cell in found]
    return cells.name_agents(found, memories, [values] * len(found))


def test_agents_are_named_after_what_differs_besides_the_task_and_values():
    assert names({"memory": "gru", "game": "tmaze"}, {"memory": "lru", "game": "tetris"}) == ["gru", "lru"]
    assert names({}, {"memory": "gru", "level": "hard"}) == ["lru", "gru"]
    files = [{"file": f"configs/{name}.py", "memory": "gru"} for name in ("ppo", "pqn")]
    assert names(*files) == ["ppo gru", "pqn gru"]
    widths = [{"config.network.width": width, "preset": "cpu"} for width in (64, 128)]
    assert names(*widths, {"preset": "cpu"}) == ["lru width=64", "lru width=128", "lru"]
    rates = [{"config.algorithm.learning_rate": rate} for rate in (1e-3, 1e-4)]
    assert names(*rates, values=("algorithm.learning_rate",)) == ["lru", "lru"]
    assert names({"memory": str(pathlib.Path("layers/indrnn.py"))}) == ["indrnn"]


def test_given_names_stay_and_do_not_name_others():
    assert names({"agent": "mine", "config.frames": 3}, {"memory": "gru"}) == ["mine", "gru"]


def test_words_of_a_cell_are_those_it_was_read_from():
    cell = Cell("", "f.py", {"memory": "gru"}, {"frames": "3"}, 0, 1)
    assert cell.words == {"file": "f.py", "memory": "gru", "config.frames": "3"}
