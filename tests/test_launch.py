"""The command line as people use it: a run, its files, its errors, Ctrl-C, and going on."""

import json
import os
import pathlib
import re
import shutil
import signal

import jax
import numpy as np
import pytest
from running import CONFIG, ROOT, SMOKE, finish, load, start, starts

from podarcade import launch, plugins
from podarcade.build import build
from podarcade.models.memory import sizes
from podarcade.reporting import summary
from podarcade.runtime import loop, provenance
from podarcade.runtime.checkpoint import Checkpoints
from podarcade.runtime.metrics import evaluation_seconds, read_metrics

POPGYM = f"--config={ROOT}/configs/popgym_arcade/pqn.py"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A smoke run to the end, by the command line."""
    workdir = tmp_path_factory.mktemp("run") / "smoke"
    code, output = finish(start(SMOKE, f"--workdir={workdir}"))
    assert code == 0, output
    return workdir, output


def test_the_processor_has_a_name_anywhere(monkeypatch):
    monkeypatch.setattr(
        provenance.pathlib.Path, "read_text", lambda *_: "model name\t: A Chip 7\nmodel name\t: A Chip 7\n"
    )
    assert provenance.processor() == "A Chip 7"
    monkeypatch.setattr(provenance.pathlib.Path, "read_text", lambda *_: "CPU part\t: 0xd40\n")
    monkeypatch.setattr(provenance.platform, "processor", lambda: "")
    assert provenance.processor() == provenance.platform.machine() != ""


def test_a_run_leaves_what_it_promises(finished):
    workdir, output = finished
    records = read_metrics(workdir / "metrics.jsonl")
    assert [record["updates"] for record in records] == list(range(0, 21, 2))
    last = records[-1]
    for key in ("frames", "seconds", "frames_per_second", "train/loss", "train/return", "eval/return_full",
                "eval/return_partial"):  # fmt: skip
        assert np.isfinite(last[key]), key
    took = [record["eval/seconds"] for record in records if "eval/seconds" in record]
    assert len(took) == 6 and min(took) > 0
    assert evaluation_seconds(records) == sum(took) + records[0]["random/seconds"] + last["final/seconds"]
    assert ["final/return_partial" in record for record in records] == [False] * 10 + [True]
    fresh = re.search(r"greedy return on the partial twin: (\S+), on fresh starts (\S+)  \(untrained", output)
    assert fresh.groups() == tuple(f"{last[f'{kind}/return_partial']:.3f}" for kind in ("eval", "final"))
    # Restarts are no frames: fewer than slots, but most of them.
    assert 0.85 * 1280 < last["frames"] < 1280
    assert "random/return_full" in records[0]
    config = json.loads((workdir / "config.json").read_text())
    assert config["preset"] == "smoke"
    assert config["memory"]["name"] == "lru"
    assert config["algorithm"]["discount"] == 0.99
    (run,) = starts(workdir)
    assert run["versions"]["jax"] == jax.__version__
    assert run["processor"] == f"{os.cpu_count()} x {provenance.processor()}"
    assert list((workdir / "tensorboard").iterdir())
    for name in ("learning_curve.svg", "greedy_episode.gif"):
        assert (workdir / name).stat().st_size > 500
        assert str(workdir / name) in output
    assert "preset smoke" in output


def test_the_same_command_after_the_end_changes_nothing(finished):
    workdir, _ = finished
    before = {path: path.read_bytes() for path in (workdir / "metrics.jsonl", workdir / "config.json")}
    code, output = finish(start(SMOKE, f"--workdir={workdir}"))
    assert code == 0, output
    assert "complete" in output
    assert len(starts(workdir)) == 2
    assert all(path.read_bytes() == content for path, content in before.items())


def test_a_workdir_of_another_run_is_refused_untouched(finished):
    workdir, _ = finished
    before = {path: path.read_bytes() for path in workdir.rglob("*") if path.is_file()}
    code, output = finish(start(SMOKE, f"--workdir={workdir}", "--config.algorithm.discount=0.5"))
    assert code == 1
    assert "algorithm.discount: saved 0.99, now 0.5" in output
    assert before == {path: path.read_bytes() for path in workdir.rglob("*") if path.is_file()}


def test_other_checkpoints_and_another_mesh_are_no_other_run(finished, capsys):
    workdir, _ = finished
    options = "--config.checkpoint.every=9", "--config.checkpoint.keep=1", "--config.max_skipped=7"
    assert launch.main(["launch", SMOKE, f"--workdir={workdir}", *options, "--config.mesh.data=2"]) == 0
    assert "complete: 20 updates" in capsys.readouterr().out


def test_a_damaged_config_is_one_line_and_the_run_goes_on_without_it(finished, tmp_path, capsys):
    shutil.copytree(finished[0], tmp_path / "run")
    path = tmp_path / "run" / "config.json"
    path.write_text(path.read_text()[:100])
    assert launch.main(["launch", SMOKE, f"--workdir={tmp_path}/run"]) == 1
    assert capsys.readouterr().err == (
        f"error: {path} is corrupt; remove it to resume: the checkpoints record the configuration too\n"
    )
    path.unlink()
    assert launch.main(["launch", SMOKE, f"--workdir={tmp_path}/run"]) == 0


@pytest.mark.parametrize("done", [20, 16], ids=["complete", "not complete"])
def test_lost_metrics_are_told_and_stop_nothing(finished, tmp_path, capsys, done):
    shutil.copytree(finished[0], tmp_path / "run")
    (tmp_path / "run" / "metrics.jsonl").unlink()
    if done < 20:
        shutil.rmtree(tmp_path / "run" / "checkpoints" / "20")
        shutil.rmtree(tmp_path / "run" / "checkpoints" / "18", ignore_errors=True)
    assert launch.main(["launch", SMOKE, f"--workdir={tmp_path}/run"]) == 0
    output = capsys.readouterr().out
    assert "metrics.jsonl has lost its beginning, so there is no learning curve" in output
    assert ("WARNING: " in output and "has lost records before that update" in output) == (done < 20)


def test_a_lost_last_record_is_no_traceback(finished, tmp_path, capsys):
    """The one before it is of no evaluation."""
    shutil.copytree(finished[0], tmp_path / "run")
    path = tmp_path / "run" / "metrics.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    assert "eval/return_full" not in read_metrics(path)[-1]
    assert launch.main(["launch", SMOKE, f"--workdir={tmp_path}/run"]) == 0
    assert "greedy return on the full twin" in capsys.readouterr().out


def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path):
    command = SMOKE, f"--workdir={tmp_path}", "--config.frames=64000", "--config.checkpoint.every=1000"
    process = start(*command)
    for line in process.stdout:
        # The first line of numbers is the untrained policy's; after the second, updates have been made.
        if line.strip()[:1].isdigit() and len(read_metrics(tmp_path / "metrics.jsonl")) >= 2:
            break
    process.send_signal(signal.SIGINT)
    code, output = finish(process)
    assert code == 0, output
    records = read_metrics(tmp_path / "metrics.jsonl")
    done = records[-1]["updates"]
    assert 0 < done < 1000
    assert f"saved after {done} of 1000 updates; resume with\n  python -m podarcade.launch" in output
    assert f"--workdir={tmp_path}" in output
    assert Checkpoints(tmp_path / "checkpoints").steps()[-1] == done


@pytest.mark.slow  # in the tests of the update, without the command line, there are 2 and 8 of them
def test_a_run_on_four_devices_is_the_run_on_one(finished, tmp_path):
    code, output = finish(start(SMOKE, f"--workdir={tmp_path}", "--cpu_devices=4"))
    assert code == 0, output
    assert "mesh 1 seed x 4 data" in output
    one, four = (read_metrics(path / "metrics.jsonl") for path in (finished[0], tmp_path))
    assert [record["frames"] for record in one] == [record["frames"] for record in four]
    np.testing.assert_allclose(one[-1]["train/loss"], four[-1]["train/loss"], rtol=1e-3)


def test_seeds_are_lists(tmp_path):
    plain = f"{SMOKE},memory=none"
    two = ("--config.seeds=2", "--config.frames=128", "--cpu_devices=2")
    code, output = finish(start(plain, f"--workdir={tmp_path}", *two))
    assert code == 0 and "mesh 2 seed x 1 data" in output, output
    last = read_metrics(tmp_path / "metrics.jsonl")[-1]
    assert len(last["frames"]) == len(last["train/loss"]) == len(last["eval/return_partial"]) == 2
    assert last["train/loss"][0] != last["train/loss"][1]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system cannot limit a process to some cores")
def test_only_the_cores_of_this_process_count():
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert provenance.cores() == 1
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize(
    ("seeds", "kind", "devices", "cores", "split"),
    [(4, "cpu", 1, 2, 2), (3, "cpu", 1, 4, 3), (6, "cpu", 1, 4, 3), (1, "cpu", 1, 1, 0), (1, "cpu", 1, 8, 0),
     (2, "cpu", 1, 16, 0), (5, "cpu", 1, 2, 0), (4, "cpu", 2, 2, 0), (4, "gpu", 1, 2, 0)],
)  # fmt: skip
def test_a_cpu_is_best_split_where_seeds_keep_most_cores_busy(seeds, kind, devices, cores, split):
    said = summary.advice(seeds, kind, devices, cores)
    assert bool(said) == bool(split) and all(f"--cpu_devices={split} " in line for line in said)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([f"{CONFIG}:game=tetrs"], "unknown game 'tetrs'; did you mean 'tetris'?"),
        ([f"{CONFIG}:game=go"], "unknown game 'go'; expected one of: autoencode, .*tetris"),
        ([f"{CONFIG}:memory=lur"], "unknown memory 'lur'"),
        ([f"{CONFIG}:memory=LRU"], "unknown memory 'LRU'; did you mean 'lru'?"),
        ([f"{CONFIG}:memory=mamba2"], "unknown memory 'mamba2'; did you mean 'mamba'?"),
        ([f"{CONFIG}:trunk=residul"], "unknown trunk 'residul'; did you mean 'residual'?"),
        ([f"{CONFIG}:match=weight"], "unknown match 'weight'; expected one of: parameters, width"),
        ([f"{SMOKE},match=parameters", "--config.memory.states=99"], "memory.states=99 at width 32 .*; expected 4096"),
        ([SMOKE, "--config.network.match=parameters"], "chosen in the file's argument: .*:match="),
        ([f"{SMOKE},trunk=popgym", "--config.network.bypass=true"], "bypass"),
        ([f"{SMOKE},trunk=popgym_mlp"], "use memory=none, or trunk=popgym"),
        ([SMOKE, "--config.encoder.dtype=float16"], "dtype=.?float16"),
        ([SMOKE, "--config.network.encode_chunk=-1"], "network.encode_chunk=-1; expected a number >= 0"),
        ([SMOKE, "--config.algorithm.carry_init=old"], "carry_init='old'; .*recomputed, stored, zero"),
        ([POPGYM, "--config.algorithm.carry_init=zero"], "stale_carry=true with algorithm.carry_init=zero"),
        ([f"{POPGYM}:memory=none", "--config.algorithm.burn_in=4"], "feed_forward=true .*memory=none and .*burn_in=0"),
        ([SMOKE, "--config.environment.observability=half"], "cannot read 'half'; expected full, partial"),
        (
            [SMOKE, "--config.environment.observability=full,partial@1e9"],
            "end of the run; .* at frame <= 1152",
        ),
        (
            [SMOKE, "--config.schedule_frames=9"],
            "schedule_frames=9; expected 0 .* or >= 64, the frames",
        ),
        (
            [f"{POPGYM}:version=v3"],
            "unknown version 'v3'; expected one of: v1, v2",
        ),
        (
            [POPGYM, "--config.version=v1"],
            "in the file.s argument: .*:version=",
        ),
        ([f"{SMOKE},memory=transformer", "--config.memory.position=far"], "position=.?far"),
        ([f"{SMOKE},memory=mlstm", "--config.memory.head_dim=0"], "heads=4 with 0 features each"),
        ([f"{SMOKE},memory=s5", "--config.memory.form=fast"], "form='fast'"),
        ([f"{CONFIG}:level=extreme"], "unknown level of minesweeper 'extreme'.*easy"),
        ([f"{CONFIG}:gme=tetris"], "did you mean 'game'"),
        ([f"{CONFIG}:game"], "argument 'game' in :game needs a value, as game=minesweeper"),
        ([f"{CONFIG}:preset=smok"], "did you mean 'smoke'"),
        ([f"{CONFIG}:partial=perhaps"], "partial=perhaps; expected true or false"),
        (
            [SMOKE, "--config.algorithm.dscount=1"],
            "unknown option config.algorithm.dscount; did you mean 'config.algorithm.discount'?",
        ),
        ([SMOKE, "--config.algoritm.discount=1"], "did you mean 'config.algorithm.discount'?"),
        ([SMOKE, "--config.memory.name=none"], "chosen in the file's argument"),
        ([SMOKE, "--config.memory=none"], "chosen in the file's argument: --config=FILE.py:memory="),
        ([SMOKE, "--config.algorithm.name=ppo"], "chosen in the file's argument"),
        ([SMOKE, "--config.evaluation=none"], "is a section; expected one of its options: config.evaluation.e"),
        ([SMOKE, "--config.num_envs=abc"], "num_envs=abc; expected an integer"),
        ([SMOKE, "--config.num_envs=-8"], r"num_envs=-8; expected a number >= 1"),
        ([SMOKE, "--config.num_envs=9"], "num_envs=9 .*num_minibatches=2 .*use 8 or 10"),
        ([SMOKE, "--config.evaluation.every=0"], "evaluation.every=0; expected a number >= 1"),
        ([SMOKE, "--config.environment.rules=mine"], "strict, published"),
        ([SMOKE, "--config.environment.obs_size=100"], "128 (and|or) 256|128, 256"),
        ([SMOKE, "--config.mesh.data=64"], "needs 64 devices; expected at most 8"),
        ([SMOKE, "--config.mesh.seed=-1"], "mesh.seed=-1; expected a number >= 0"),
        ([SMOKE, "--config.mesh.data=8"], "num_envs=8"),
        ([SMOKE, "--wrkdir=x"], "unknown flag --wrkdir; did you mean --workdir=x?"),
        ([SMOKE, "--restarts=-1"], "--restarts=-1; expected an integer >= 0"),
        ([SMOKE, "--restarts=many"], "flag --restarts=many"),
        (["--config=nowhere.py"], "found no configuration file nowhere.py"),
        (["--config", "nowhere.py"], "found no configuration file nowhere.py"),
        (["--config", f"{CONFIG.removeprefix('--config=')}:game=tetrs"], "unknown game 'tetrs'"),
        ([], "no --config given; try --config=configs/pqn_lru.py"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_1(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert launch.main(["launch", *arguments]) == 1
    captured = capsys.readouterr()
    assert len(captured.err.strip().splitlines()) == 1
    assert captured.err.startswith("error: ")
    assert not captured.out
    assert re.search(message, captured.err), captured.err
    assert not list(tmp_path.iterdir())


def test_a_workdir_that_cannot_be_written_is_an_error(tmp_path, capsys):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    assert launch.main(["launch", SMOKE, f"--workdir={blocked}/run"]) == 1
    assert "error: " in capsys.readouterr().err
    assert blocked.read_text() == "not a folder"


@pytest.mark.parametrize("said", ["RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes", "INTERNAL: it broke"])
def test_what_the_device_says_is_one_line(said, tmp_path, monkeypatch, capsys):
    def train(run, workdir, wanted):
        raise jax.errors.JaxRuntimeError(f"{said}\nand a page of more")

    monkeypatch.setattr(launch.loop, "train", train)
    code = launch.main(["launch", SMOKE, f"--workdir={tmp_path}"])
    error = capsys.readouterr().err
    assert error.startswith("error: ") and said in error and error.count("\n") == 1
    assert (code, "lower num_envs" in error) == (1, said.startswith("RESOURCE"))


def test_before_the_first_update_there_is_nothing_to_save(tmp_path, monkeypatch, capsys):
    stopped = loop.Outcome(None, loop.Progress.initial(1), signal.SIGTERM)
    monkeypatch.setattr(launch.loop, "train", lambda run, workdir, wanted: stopped)
    assert launch.main(["launch", SMOKE, f"--workdir={tmp_path}"]) == 75
    assert "nothing to save, after 0 of 20 updates; resume with" in capsys.readouterr().out


def test_the_preset_auto_is_cpu_here_and_is_recorded():
    config = load(CONFIG)
    assert (config.preset, config.preset_asked) == ("cpu", "auto")
    assert config.encoder.name == "patch"


@pytest.mark.parametrize("algorithm", ["pqn", "ppo", "dqn"])
def test_every_preset_builds(algorithm):
    for preset in ("cpu", "gpu", "pod", "smoke"):
        run = build(load(f"--config=configs/{algorithm}.py:preset={preset}", "--config.seeds=1"))
        assert run.total_updates % run.updates_per_call == 0
    assert run.updater.algorithm.burn_in == 2


@pytest.mark.slow
def test_8192_environments_of_128_steps_fit_in_16_gigabytes():
    """As XLA plans the whole update for a CPU, with the convolutions that accelerators take."""
    options = ["--config.algorithm.rollout_length=128", "--config.encoder.convolution=xla", "--config.mesh.data=1"]
    updater = build(load(f"{CONFIG}:preset=pod", *options)).updater
    assert (updater.num_envs, updater.algorithm.rollout_length) == (8192, 128)
    state = jax.eval_shape(jax.vmap(updater._init_one), jax.ShapeDtypeStruct((1,), np.int32))
    memory = updater.compile(state, 1).compiled.memory_analysis()
    assert memory.argument_size_in_bytes + memory.temp_size_in_bytes < 16e9


@pytest.mark.parametrize("memory", plugins.names("memory"))
def test_every_memory_can_be_configured(memory):
    """By name, at equal width and at equal parameters, in both trunks; all its options are there to be overridden."""
    network = build(load(f"{CONFIG}:memory={memory},preset=cpu")).updater.algorithm.network
    matched = load(f"{CONFIG}:memory={memory},preset=cpu,trunk=popgym,match=parameters")
    layer = plugins.find("memory", memory)
    assert isinstance(network.trunk.memory(width=128), layer)
    assert set(matched.memory) - {"name"} >= {layer.SIZE}
    trunk = build(matched).updater.algorithm.network.trunk
    assert type(trunk).__name__ == "PopgymTrunk"
    assert abs(sizes.parameters(trunk.memory(width=128)) / 65_536 - 1) < 0.05


def test_ctrl_c_before_the_run_begins_is_one_line(monkeypatch, capsys):
    def load(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(launch.command_line, "load", load)
    assert launch.main(["launch", SMOKE]) == 130
    assert capsys.readouterr().err == "stopped before the run began\n"


def test_help_is_help(capsys):
    assert launch.main(["launch", "--help"]) == 0
    assert "--workdir" in capsys.readouterr().out


def test_a_dry_run_says_device_and_host_memory_apart(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert launch.main(["launch", SMOKE, "--dry_run"]) == 0
    output = capsys.readouterr().out
    megabytes = {
        name: float(re.search(rf"^{name} memory: ([\d,.]+) MB", output, re.MULTILINE)[1].replace(",", ""))
        for name in ("device", "host")
    }
    assert 1 < megabytes["device"] < 100 < megabytes["host"]
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    assert megabytes["host"] == pytest.approx(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, rel=0.3)
    assert "nothing was trained or written" in output and not list(tmp_path.iterdir())


def test_a_workdir_in_the_home_directory(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(launch.loop, "train", lambda *_: loop.Outcome(None, loop.Progress.none(1), signal.SIGTERM))
    launch.main(["launch", SMOKE, "--workdir=~/runs/x"])
    assert f"workdir {tmp_path}/runs/x (new)" in capsys.readouterr().out
