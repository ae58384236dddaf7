"""Configurations: the command line, experiment files, config.json, ranges of all numbers, names of folders."""

import dataclasses
import json
import re

import pytest
from running import CONFIG, ROOT, SMOKE, load

from podarcade import configuration, launch, plugins
from podarcade.build import build
from podarcade.configuration import command_line, files, validation
from podarcade.configuration.naming import folder_name
from podarcade.runtime.differences import flatten

EXPERIMENT = """
import podarcade
from podarcade import configuration, presets


def get_config(argument=None):
    config = presets.experiment("pqn", argument or "preset=smoke", presets.PQN)
    LINE
    return config
"""


def refused(*arguments):
    with pytest.raises(ValueError) as error:
        build(load(*arguments))
    message = str(error.value)
    assert len(message.splitlines()) == 1
    return message


@pytest.mark.parametrize(
    ("text", "value"), [("60000", 60_000), ("6e4", 60_000), ("1e12", 10**12), ("1.5e3", 1500), ("1_000", 1000)]
)
def test_integers_may_be_in_scientific_notation(text, value):
    assert load(SMOKE, f"--config.frames={text}").frames == value


@pytest.mark.parametrize("text", ["1.5", "1e-3", "nan", "inf", "1e999999999", "6e4.5", "true"])
def test_other_numbers_are_no_integers(text):
    assert refused(SMOKE, f"--config.frames={text}") == f"frames={text}; expected an integer, as 60000 or 6e4"


def test_values_have_the_type_of_their_option():
    config = load(SMOKE, "--config.checkpoint.replay=False", "--config.algorithm.discount=1", "--config.seed", "3")
    assert config.checkpoint.replay is False and config.algorithm.discount == 1.0 and config.seed == 3
    assert isinstance(config.algorithm.discount, float)
    assert refused(SMOKE, "--config.checkpoint.replay=1") == "checkpoint.replay=1; expected true or false"
    assert refused(SMOKE, "--config.algorithm.discount=x") == "algorithm.discount=x; expected a number"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seeds=3"], "unknown flag --seeds; did you mean --config.seeds=3?"),
        (["--learning_rate=3"], "unknown flag --learning_rate; did you mean --config.algorithm.learning_rate=3?"),
        (["--algorithm.discount=1"], "unknown flag --algorithm.discount; did you mean --config.algorithm.discount=1?"),
        (["--dicount=1"], "unknown flag --dicount; did you mean --config.algorithm.discount=1?"),
        (["--qqqqq"], "unknown flag --qqqqq"),
        (["seeds=3"], "unexpected argument 'seeds=3'; did you mean --config.seeds=3?"),
        (["config.seeds=3"], "unexpected argument 'config.seeds=3'; did you mean --config.seeds=3?"),
        (["workdir=x"], "unexpected argument 'workdir=x'; did you mean --workdir=x?"),
        (["configs/ppo.py:game=tetris"], "unexpected argument 'configs/ppo.py:game=tetris'; did you mean "
                                         "--config=configs/ppo.py:game=tetris?"),
        (["extra"], "unexpected argument 'extra'"),
        (["--", "extra"], "unexpected argument 'extra'"),
        (["--"], "unexpected argument '--'"),
        (["--config.seeds=2", "--config.seeds=3"], "--config.seeds is given twice, as 2 and as 3; give it once"),
        (["--workdir=a", "--workdir", "b"], "--workdir is given twice, as a and as b; give it once"),
        (["--dry_run", "--nodry_run"], "--dry_run is given twice, as true and as false; give it once"),
        (["--config.algorithm.discount", "--dry_run"], "--config.algorithm.discount needs a value, as "
                                                       "--config.algorithm.discount=VALUE"),
        (["--config.algorithm.discount="], "--config.algorithm.discount needs a value, as "
                                           "--config.algorithm.discount=VALUE"),
        (["--workdir"], "--workdir needs a value, as --workdir=VALUE"),
    ],
)  # fmt: skip
def test_nothing_on_the_command_line_is_ignored(arguments, message):
    assert refused(SMOKE, *arguments) == message


def test_flags_may_be_written_in_several_ways():
    values = launch.make_flags()
    arguments = ["launch", "--workdir", "there", "-dry_run", "--nodeterministic", "--process_id", "-1", "--restarts=2"]
    words = command_line.parse(values, [*arguments, "--config", "x.py", "--config.seeds=2", "--config.seeds=2"])
    assert words == ("x.py", {"seeds": "2"})
    assert (values.workdir, values.dry_run, values.deterministic, values.process_id) == ("there", True, False, -1)
    assert values.restarts == 2


@pytest.mark.parametrize(
    ("old", "new"),
    [("trace", "td_lambda"), ("rollout", "rollout_length"), ("epochs", "num_epochs"),
     ("minibatches", "num_minibatches"), ("carry", "carry_init")],
)  # fmt: skip
def test_renamed_options_name_the_new_ones(old, new):
    expected = f"config.algorithm.{old} was renamed; use config.algorithm.{new}"
    assert refused(SMOKE, f"--config.algorithm.{old}=1") == expected


def test_chrono_is_a_horizon_of_every_memory():
    expected = "config.memory.chrono was renamed; use config.memory.init_horizon"
    assert refused(f"{SMOKE},memory=min_gru", "--config.memory.chrono=200") == expected


@pytest.mark.parametrize("memory", plugins.names("memory"))
def test_matched_initialisation_sets_one_horizon_for_every_memory_that_has_one(memory):
    own, matched = (load(f"{SMOKE},memory={memory}{init}") for init in ("", ",init=matched"))
    assert (own.network.init, matched.network.init) == ("paper", "matched")
    assert own.memory.get("init_horizon", 0.0) == 0
    before, after = (config.memory.to_dict() for config in (own, matched))
    if "init_horizon" in before:
        assert after.pop("init_horizon") == configuration.MATCHED_HORIZON
        del before["init_horizon"]
    assert before == after
    assert folder_name(matched) != folder_name(own)


def test_a_horizon_may_be_overridden_and_reaches_the_layer():
    def layer(*words):
        return build(load(*words)).updater.algorithm.network.trunk.memory(width=32)

    assert layer(f"{SMOKE},memory=gru").init_horizon == 0
    assert layer(f"{SMOKE},memory=gru,init=matched").init_horizon == configuration.MATCHED_HORIZON
    assert layer(f"{SMOKE},memory=gru,init=matched", "--config.memory.init_horizon=512").init_horizon == 512
    assert layer(f"{SMOKE},memory=gru", "--config.memory.init_horizon=512").init_horizon == 512


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([f"{SMOKE},init=xavier"], "unknown init 'xavier'; expected one of: matched, paper"),
        ([f"{SMOKE},init=matchd"], "unknown init 'matchd'; did you mean 'matched'?"),
        ([SMOKE, "--config.network.init=matched"], "config.network.init is chosen in the file's argument: .*:init="),
        ([SMOKE, "--config.memory.init_horizon=1"], "memory.init_horizon=1.0; expected 0 .the layer's own .* or >= 2"),
        ([SMOKE, "--config.memory.init_horizon=-5"], "memory.init_horizon=-5.0; expected a number >= 0"),
        ([f"{SMOKE},memory=stack", "--config.memory.init_horizon=9"], "unknown option config.memory.init_horizon"),
    ],
)
def test_wrong_initialisations_are_refused(words, message):
    assert re.match(message, refused(*words))


def test_options_renamed_to_different_ones_by_algorithm():
    ppo, dqn = (f"--config={ROOT}/configs/{name}.py:preset=smoke" for name in ("ppo", "dqn"))
    assert refused(ppo, "--config.algorithm.trace=1").endswith("use config.algorithm.gae_lambda")
    assert refused(dqn, "--config.algorithm.trace=1").endswith("use config.algorithm.td_lambda")
    assert refused(dqn, "--config.algorithm.steps=1").endswith("use config.algorithm.n_steps")
    assert refused(dqn, "--config.algorithm.rescale=1").endswith("use config.algorithm.rescale_values")
    known = {"algorithm.name": "popgym_pqn", "algorithm.window_loss": True, "environment.limit_is_terminal": True}
    for old, new in [("compat.window_loss", "algorithm.window_loss"),
                     ("compat.limit_is_terminal", "environment.limit_is_terminal")]:  # fmt: skip
        assert files.unknown_option(old, known) == f"config.{old} was renamed; use config.{new}"
    assert "which algorithm=pqn does not have" in files.unknown_option("compat.no_action", {"algorithm.name": "pqn"})


@pytest.mark.parametrize(
    ("argument", "new"),
    [("encoder=cpu", "encoder=patch"), ("encoder=paper", "encoder=popgym_cnn"), ("trunk=paper", "trunk=popgym"),
     ("trunk=paper_mlp", "trunk=popgym_mlp")],
)  # fmt: skip
def test_renamed_arguments_name_the_new_ones(argument, new):
    assert refused(f"{CONFIG}:{argument}") == f"{argument} was renamed; use {new}"


@pytest.mark.parametrize(
    ("old", "new"),
    [("configs/ppo_lru.py", "configs/ppo.py"), ("configs/dqn_lru.py", "configs/dqn.py"),
     ("configs/paper/pqn.py", "configs/popgym_arcade/pqn.py")],
)  # fmt: skip
def test_renamed_files_name_the_new_ones(old, new):
    assert refused(f"--config={old}:memory=gru") == f"{old} was renamed; use --config={new}"
    assert (ROOT / new).exists()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("config.x = (", "experiment.py:8: SyntaxError: '\\(' was never closed"),
        ("import a_module_that_nobody_has", "experiment.py:8: ModuleNotFoundError: No module named 'a_module_that"),
        ("raise KeyError('x')", "experiment.py:8: KeyError: 'x'"),
        ("raise RuntimeError('a\\nb')", "experiment.py:8: RuntimeError: a"),
        ("raise ValueError", "experiment.py:8: ValueError"),
        ("config.algoritm.discount = 1", "experiment.py:8: AttributeError: .*algoritm"),
        ("config.num_envs = 'many'", "experiment.py:8: TypeError: "),
        ("configuration.section('memory', 'lru', states=1, state=2)",
         "experiment.py:8: ValueError: unknown option of memory lru 'state'; did you mean 'states'?"),
        ("del config.memory", "experiment.py: memory.name is missing"),
        ("del config.algorithm.discount", "experiment.py: algorithm.discount is missing"),
        ("config.algorithm.dscount = 1", "experiment.py: unknown option config.algorithm.dscount; did you mean "
                                         "'config.algorithm.discount'?"),
        ("config.note = 'mine'", "experiment.py: unknown option config.note; "),
        ("del config.seed; config.seed = 0.5", "experiment.py: seed=0.5; expected a value of type int"),
        ("return config.to_dict()", "experiment.py: get_config\\(\\) returned a dict; expected a ConfigDict"),
        ("return None", "experiment.py: get_config\\(\\) returned a NoneType; expected a ConfigDict"),
    ],
)  # fmt: skip
def test_a_wrong_experiment_is_one_line_with_its_place(tmp_path, line, message):
    file = tmp_path / "experiment.py"
    file.write_text(EXPERIMENT.replace("LINE", line))
    seen = refused(f"--config={file}")
    assert re.fullmatch(f"{tmp_path}/{message}.*", seen), seen


def test_an_experiment_of_ones_own(tmp_path):
    file = tmp_path / "experiment.py"
    file.write_text(EXPERIMENT.replace("LINE", "config.algorithm.update(discount=0.5, td_lambda=1)"))
    config = load(f"--config={file}:game=tetris,preset=smoke", "--config.algorithm.td_lambda=0.25")
    assert (config.environment.name, config.algorithm.discount, config.algorithm.td_lambda) == ("tetris", 0.5, 0.25)
    file.write_text("x = 1")
    assert refused(f"--config={file}") == f"{file} has no function get_config; expected `def get_config(argument=None)`"


def test_a_run_again_from_its_own_record(tmp_path):
    config = load(f"{SMOKE},memory=gru,game=cartpole", "--config.algorithm.learning_rate=1e-8")
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config.to_dict()))
    assert load(f"--config={path}") == config
    assert load(f"--config={path}", "--config.seed=7").seed == 7
    assert build(load(f"--config={path}")).title == "pqn gru on CartPoleEasy, partial twin"
    assert "takes no argument" in refused(f"--config={path}:memory=lru")
    assert "unknown option config.num_env" in refused(f"--config={path}", "--config.num_env=1")
    for content, message in [
        ("{", "is not valid JSON"),
        ("[1]", "holds a list; expected the config.json of a run"),
        ("{}", "environment.name is missing"),
        (json.dumps(config.to_dict() | {"num_envs": "8"}), "num_envs='8'; expected a value of type int"),
        (json.dumps(config.to_dict() | {"compat": {"window_loss": True}, "rollout": 1}), "config"),
    ]:
        path.write_text(content)
        assert message in refused(f"--config={path}")


def reference(argument):
    return load(f"--config={ROOT}/configs/{argument}")


def with_every_plugin():
    """A configuration for each plug-in, with the sections to look at."""
    for kind, section in [("memory", "memory"), ("encoders", "encoder")]:
        for name in plugins.names(kind):
            yield pytest.param(f"pqn.py:preset=smoke,{section}={name}", [section], id=f"{section}-{name}")
    for name in plugins.names("algorithms"):
        if (ROOT / "configs" / f"{name}.py").exists():
            yield pytest.param(f"{name}.py:preset=smoke", ["algorithm"], id=f"algorithm-{name}")
        else:
            file = f"popgym_arcade/{name.removeprefix('popgym_')}.py:preset=cpu"
            yield pytest.param(file, ["algorithm"], id=f"algorithm-{name}")
    yield pytest.param("pqn.py:preset=smoke", None, id="run")
    yield pytest.param("popgym_arcade/pqn.py:preset=cpu", ["network"], id="network-popgym")


@pytest.mark.parametrize(("argument", "sections"), list(with_every_plugin()))
def test_every_number_has_a_range(argument, sections):
    """NaN, infinities, negative and absurdly large numbers are refused, by name; zero works or is refused."""
    config = reference(argument)
    known = dict(validation.ranges_of_plugins(config))
    accepted = []
    for path, value in flatten(config.to_dict()):
        section = path.partition(".")[0] if "." in path else ""
        wanted = section in sections if sections else section not in configuration.KINDS
        if isinstance(value, bool | str) or not wanted:
            continue
        wrong = [-1, 10**15, -(10**15)] if isinstance(value, int) else [-1.0, 1e15, float("nan"), float("inf")]
        for number in wrong:
            if number in known.get(path, ()):
                continue
            changed = config.copy_and_resolve_references()
            changed.update_from_flattened_dict({path: number})
            try:
                build(changed)
            except ValueError as error:
                message = str(error)
                assert path.rpartition(".")[2] in message and len(message.splitlines()) == 1, message
            else:
                accepted.append(f"{path}={number}")
        changed = config.copy_and_resolve_references()
        changed.update_from_flattened_dict({path: 0 * value})
        try:
            build(changed)
        except ValueError as error:
            assert len(str(error).splitlines()) == 1
    assert not accepted


def test_a_plugin_states_its_own_range(tmp_path):
    file = tmp_path / "slope.py"
    file.write_text(
        "from typing import ClassVar\n"
        "from podarcade.models.memory.none import NoMemory\n"
        "from podarcade.ranges import Range\n"
        "class Slope(NoMemory):\n"
        "    RANGES: ClassVar = {'slope': Range(-2, 2)}\n"
        "    slope: float = -1.0\n"
    )
    config = load(f"{SMOKE},memory={file}", "--config.memory.slope=-2")
    validation.check(config)
    config.memory.slope = -2.5
    with pytest.raises(ValueError, match=re.escape("memory.slope=-2.5; expected a number in [-2, 2]")):
        validation.check(config)


def test_counts_do_not_overflow():
    for given in (["--config.seed=4294967296"], ["--config.seed=2147483647", "--config.seeds=2"],
                  ["--config.frames=1e14"], ["--config.frames=1e12"], ["--config.schedule_frames=1e12"]):  # fmt: skip
        assert re.search("expected|use at most", refused(SMOKE, *given))
    run = build(load(f"{CONFIG}:preset=pod", "--config.frames=1e12", "--config.mesh.data=1"))
    assert run.updater.num_envs * run.updater.algorithm.rollout_length * run.total_updates >= 10**12
    assert build(load(SMOKE, "--config.seed=2147483646", "--config.seeds=2")).seeds[-1] == 2**31 - 1


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["configs/pqn_lru.py:preset=cpu"], "pqn-lru-minesweeper-easy-partial-cpu"),
        (["configs/pqn.py:preset=cpu", "--config.algorithm.learning_rate=1e-3", "--config.seeds=3"],
         "pqn-lru-minesweeper-easy-partial-cpu-learning_rate=0.001,seeds=3"),
        (["configs/pqn.py:preset=cpu", "--config.mesh.data=1"], "pqn-lru-minesweeper-easy-partial-cpu"),
        (["configs/dqn.py:game=tetris,partial=false,preset=smoke,memory=gru", "--config.memory.states=8"],
         "dqn-gru-tetris-easy-full-smoke-states=8"),
        (["configs/pqn.py:preset=smoke", "--config.environment.observability=full,partial@640"],
         "pqn-lru-minesweeper-easy-twins-smoke-observability=full,partial@640"),
        (["configs/ppo.py:preset=cpu,init=matched"],
         "ppo-lru-minesweeper-easy-partial-cpu-init_horizon=256.0,init=matched"),
        (["configs/pqn.py:preset=smoke,trunk=popgym"], "pqn-lru-minesweeper-easy-partial-smoke-"),
        (["configs/pqn.py:preset=smoke,encoder=popgym_cnn"], "pqn-lru-minesweeper-easy-partial-smoke-"),
    ],
)  # fmt: skip
def test_folders_are_named_after_what_differs_from_the_preset(arguments, name):
    found = folder_name(load(f"--config={arguments[0]}", *arguments[1:]))
    assert found == name or (name.endswith("-") and found.startswith(name))


def test_different_runs_have_different_folders():
    changes = ["algorithm.learning_rate=1", "algorithm.learning_rate_end=1", "seeds=2", "evaluation.every=3"]
    changes += ["algorithm.learning_rate=2", "memory.states=4", "environment.rules=published"]
    many = [f"--config.{item}" for item in changes if item != "algorithm.learning_rate=2"]
    names = {folder_name(load(SMOKE, f"--config.{item}")) for item in changes}
    names |= {folder_name(load(SMOKE)), folder_name(load(SMOKE, *many))}
    assert len(names) == len(changes) + 2
    assert max(map(len, names)) < 150
    assert folder_name(load(SMOKE, *many)) == folder_name(load(SMOKE, *many))


def test_help_shows_arguments_plugins_and_options(capsys):
    assert launch.main(["launch", "-h"]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 120
    for kind in ("games", "memory", "encoders"):
        assert all(re.search(rf"\b{name}\b", text) for name in plugins.names(kind))
    for field in dataclasses.fields(plugins.find("algorithms", "pqn")):
        assert field.name in configuration.NOT_OPTIONS or f"{field.name}=" in text
    for word in (
        "configs/ppo.py",
        "--workdir",
        "frames=400000",
        "smoke",
        "popgym_mlp",
        "level",
        "config.json",
        "matched",
    ):
        assert word in text
