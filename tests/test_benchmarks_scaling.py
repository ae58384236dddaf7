"""The scaling benchmark: rings, bytes on the links, predictions; one small update is real, the others are fakes."""

import itertools
import json
import math
import pathlib

import jax
import numpy as np
import pytest

from benchmarks import collectives, devices, links, scaling, training_runs

SMOKE = f"{pathlib.Path(__file__).parent.parent}/configs/pqn_lru.py:preset=smoke"


def simulate(data, rings, axis=0):
    """Adds float32[*ring sizes, L] up over all axes but the last, chunk by chunk; returns the seconds it takes."""
    if axis == len(rings):
        return 0.0
    members, level = rings[axis]
    chunks = np.moveaxis(data.reshape(*data.shape[:-1], members, -1), axis, 0)  # a view: [member, ..., chunk, L / n]
    step_seconds = data.itemsize * chunks.shape[-1] / level.bandwidth + level.latency
    for step in range(members - 1):
        sent = [chunks[i][..., (i - step) % members, :].copy() for i in range(members)]
        for i, chunk in enumerate(sent):
            chunks[(i + 1) % members][..., (i - step) % members, :] += chunk
    own = np.moveaxis(np.stack([chunks[i][..., (i + 1) % members, :] for i in range(members)]), 0, axis)
    seconds = simulate(own, rings, axis + 1)
    for i, chunk in enumerate(np.moveaxis(own, axis, 0)):
        chunks[i][..., (i + 1) % members, :] = chunk
    for step in range(members - 1):
        sent = [chunks[i][..., (i + 1 - step) % members, :].copy() for i in range(members)]
        for i, chunk in enumerate(sent):
            chunks[(i + 1) % members][..., (i + 1 - step) % members, :] = chunk
    return seconds + 2 * (members - 1) * step_seconds


def level(bandwidth, latency, limit=0, axes=1):
    return links.Level("a link", limit, bandwidth, latency, axes)


@pytest.mark.parametrize(
    ("levels", "count", "sizes"),
    [
        ([level(3.0, 0.5)], 1, []),
        ([level(3.0, 0.5)], 2, [2]),
        ([level(3.0, 0.5)], 5, [5]),
        ([level(7.0, 0.25, limit=4), level(2.0, 3.0)], 12, [4, 3]),
        ([level(7.0, 0.25, limit=8, axes=3), level(2.0, 3.0)], 16, [2, 2, 2, 2]),
    ],
)
def test_all_reduce_takes_as_long_as_its_steps(levels, count, sizes):
    fabric = links.Fabric("these", tuple(levels))
    rings = fabric.rings(count)
    assert [size for size, _ in rings] == sizes
    data = np.random.default_rng(0).normal(size=(*sizes, 240)).astype(np.float32)
    total = data.reshape(-1, 240).sum(axis=0)
    seconds = simulate(data, rings)
    np.testing.assert_allclose(data.reshape(-1, 240), np.tile(total, (count, 1)), rtol=1e-4, atol=1e-5)
    assert fabric.all_reduce_seconds(count, 4 * 240) == pytest.approx(seconds)
    if len(sizes) == 1:
        assert links.ring_seconds(count, 4 * 240, 3.0, 0.5) == pytest.approx(seconds)


def test_rings_that_cannot_be_are_errors():
    assert [links.balanced(512, 3), links.balanced(12, 2), links.balanced(7, 2)] == [[8, 8, 8], [4, 3], [7, 1]]
    fabric = links.Fabric("these", (level(1.0, 0.0, limit=8),))
    with pytest.raises(ValueError, match="12 devices on these do not fill groups of 8"):
        fabric.rings(12)
    with pytest.raises(ValueError, match="these joins at most 8 devices, not 16"):
        fabric.rings(16)


@pytest.mark.parametrize("fabric", links.FABRICS, ids=lambda fabric: fabric.name)
def test_one_device_is_efficient_and_more_are_less(fabric):
    counts = [2**power for power in range(11)]
    seconds = [links.communication_seconds(fabric, count, [(1e6, 32), (16, 1)]) for count in counts]
    assert seconds[0] == 0 and all(low < high for low, high in itertools.pairwise(seconds))
    both = [links.efficiencies(0.1, each, count) for each, count in zip(seconds, counts, strict=True)]
    assert both[0] == (1.0, 1.0)
    for one, other in itertools.pairwise(both):
        assert 0 < other[1] < other[0] < 1 and other[0] < one[0] and other[1] < one[1]


def test_predictions_are_by_hand():
    """8 H100: 14 steps of an eighth of 8 MB, and of nothing, at 450 GB/s and 3.4 µs; ten gradient steps."""
    rows = links.predict(0.01, [(8e6, 10), (0, 1)], [8, 16], max_shards=8)
    row = rows[0]
    assert (row["fabric"], row["devices"]) == ("H100, NVLink and InfiniBand NDR", 8)
    communication = 10 * 14 * (1e6 / 450e9 + 3.4e-6) + 14 * 3.4e-6
    assert row["communication_seconds"] == pytest.approx(communication)
    assert row["weak_efficiency"] == pytest.approx(0.01 / (0.01 + communication))
    assert row["strong_efficiency"] == pytest.approx((0.01 / 8) / (0.01 / 8 + communication))
    assert rows[1]["strong_efficiency"] is None and rows[1]["weak_efficiency"] < row["weak_efficiency"]
    assert len(rows) == 2 * len(links.FABRICS)


PROGRAM = """HloModule example, is_scheduled=true

%add (a: f32[], b: f32[]) -> f32[] {
  ROOT %sum = f32[] add(%a, %b)
}

%gradient_step (state: (s32[], f32[16])) -> (s32[], f32[16]) {
  %all-reduce.4 = (f32[16]{0}, f32[], /*index=2*/bf16[3,5]{1,0:T(8,128)(2,1)}) all-reduce(%x, %y, %z), replica_groups={{0,1}}, to_apply=%add
  %got = f32[16]{0} get-tuple-element(%all-reduce.4), index=0, metadata={op_name="while/body/psum"}
}

%update (state: (s32[], f32[16])) -> (s32[], f32[16]) {
  %while.2 = (s32[], f32[16]{0}) while(%t), condition=%c, body=%gradient_step, backend_config={"known_trip_count":{"n":"6"}}
  %start = s64[2]{0} all-reduce-start(%counts), channel_id=2, to_apply=%add
  %done = s64[2]{0} all-reduce-done(%start)
  %fusion = pred[4]{0} fusion(%p), kind=kLoop, calls=%inside
}

%inside (p: pred[4]) -> pred[4] {
  %gathered = pred[4]{0} all-gather(%p), dimensions={0}
}

ENTRY %main (argument: f32[16]) -> f32[16] {
  %while.1 = (s32[], f32[16]{0}) while(%t), condition=%c, body=%update, backend_config={"known_trip_count":{"n":"3"}}
}
"""  # noqa: E501


def test_collectives_are_read_with_the_loops_around_them():
    gradient, counts, gathered = collectives.from_text(PROGRAM)
    assert gradient == collectives.Collective("all-reduce", 4 * 16 + 4 + 2 * 15, 3, (3, 6)) and gradient.times == 18
    assert counts == collectives.Collective("all-reduce", 16, 1, (3,)) and gathered.kind == "all-gather"
    found = collectives.summary([gradient, counts, gathered], updates=3)
    assert found["bytes"] == 6 * 98 + 16 and found["unknown_loops"] == 0 and found["others"] == {"all-gather": 1}


def test_a_loop_of_unknown_trip_count_is_reported():
    text = PROGRAM.replace(', backend_config={"known_trip_count":{"n":"6"}}', "")
    found = collectives.summary(collectives.from_text(text), updates=3)
    assert found["unknown_loops"] == 1 and found["operations"][0]["loops"] == (3, None)


@pytest.mark.slow
def test_a_real_update_adds_up_what_its_parameters_say():
    """The smoke preset on two virtual devices, two seeds side by side, two updates a call, twins that switch."""
    here = devices.Here(SMOKE, ["config.seeds=2", "config.environment.observability=full,partial@640"])
    number = here.ask("prepare", devices=2, num_envs=8, updates=2)["number"]
    traffic = here.ask("traffic", number=number)
    gradient, sums, counts = traffic["from_parameters"]["parts"]
    assert traffic["agree"] and traffic["from_text"]["bytes"] == traffic["from_parameters"]["bytes"]
    assert gradient["times"] == sums["times"] == 4 and counts["times"] == 1
    assert gradient["bytes"] > 50_000 > 100 > sums["bytes"], "two seeds have two gradients of some 80 kB"
    first = here.ask("first_call", number=number)
    assert 100 < first["steps"] <= 2 * 8 * 8 and len(first["loss"]) == len(first["gradient_norm"]) == 2
    timed = here.ask("seconds", number=number, calls=2)
    assert 2 * 2 * 100 < timed["frames"] <= 2 * 2 * 2 * 8 * 8 and timed["seconds"] > 0


def test_a_worker_says_in_a_line_what_is_wrong():
    worker = devices.Worker(SMOKE, [], devices=2)
    with pytest.raises(RuntimeError, match=r"num_envs=6 does not divide into .*num_minibatches=2 on 2 data devices"):
        worker.ask("prepare", devices=2, num_envs=6, updates=1)
    with pytest.raises(RuntimeError, match=r"mesh.data=4 needs 4 devices; expected at most 2"):
        worker.ask("prepare", devices=4, num_envs=8, updates=1)
    worker.close()


def test_results_are_the_same_only_when_they_are():
    one = {"steps": 60, "loss": [1.0, 2.0], "gradient_norm": [0.5, 0.5], "seconds": 1}
    assert scaling.same_results(one, one | {"loss": [1.0005, 2.0], "seconds": 2})
    for change in ({"steps": 61}, {"loss": [1.0, 2.01]}, {"gradient_norm": [0.5, 0.51]}, {"loss": [math.nan, 2.0]}):
        assert not scaling.same_results(one, one | change)


def test_devices_are_held_against_as_many_as_work_at_once():
    rows = [{"devices": n, "frames_per_second": {"median": speed}} for n, speed in ((1, 100.0), (4, 320.0))]
    scaling.relate(rows, 4)
    assert [(row["ratio"], row["efficiency"]) for row in rows] == [(1.0, 1.0), (3.2, 0.8)]
    scaling.relate(rows, 2)
    assert rows[1]["efficiency"] == 1.6 and rows[1]["ideal_ratio"] == 2


class MadeUp:
    """A place where an update of n environments takes n seconds, and a call makes 10 n frames."""

    spoilt = 0  # number of devices that compute something else
    asked = ()  # commands and their arguments, of all places; a list for each test

    def __init__(self, config, overrides, devices=0):
        self.prepared = []
        self.asked.append(("begin", devices))

    def ask(self, command, number=0, **arguments):
        self.asked.append((command, arguments))
        if command == "prepare":
            self.prepared.append(arguments)
            return {"number": len(self.prepared) - 1, "compile_seconds": 1.5}
        about = self.prepared[number]
        if command == "traffic":
            parts = [{"what": "gradient", "bytes": 1_000_000, "times": 8}, {"what": "counts", "bytes": 16, "times": 1}]
            text = {"bytes": 8_000_016, "updates": 1, "operations": [], "unknown_loops": 0, "others": {}}
            return {
                "devices": 2,
                "agree": True,
                "from_parameters": {"bytes": 8_000_016, "parts": parts},
                "from_text": text,
            }
        if command == "first_call":
            loss = 2.0 if about["devices"] == self.spoilt else 1.0
            return {"warm_up_seconds": 9.0, "steps": about["num_envs"], "loss": [loss], "gradient_norm": [1.0]}
        frames = 10 * about["num_envs"] * arguments["calls"]
        return {"frames": frames, "seconds": float(about["num_envs"] * arguments["calls"])}

    def close(self):
        pass


@pytest.fixture
def fake_devices(monkeypatch):
    monkeypatch.setattr(MadeUp, "asked", [])
    for name in ("Here", "Worker"):
        monkeypatch.setattr(devices, name, MadeUp)
    return MadeUp


def test_the_whole_benchmark_on_fake_devices(tmp_path, capsys, fake_devices):
    path = tmp_path / "results" / "scaling.json"
    scaling.main(["scaling", f"--config={SMOKE}", "--devices=1,2,4", "--repeats=3", f"--json={path}"])
    result, text = json.loads(path.read_text(encoding="utf-8")), capsys.readouterr().out
    sizes = [(row["devices"], row["num_envs"], row["scalings"]) for row in result["rows"]]
    assert sizes == [
        (1, 8, ["weak", "strong"]), (2, 16, ["weak"]), (2, 8, ["strong"]), (4, 32, ["weak"]), (4, 8, ["strong"])
    ]  # fmt: skip
    timed = [command for command, _ in fake_devices.asked if command in ("first_call", "seconds")]
    assert timed == ["first_call"] * 5 + ["seconds"] * 15
    assert all(row["frames_per_second"]["median"] == 10.0 == row["ratio"] * 10 for row in result["rows"])
    assert "one thread each" in text and "flatters" in text and "these agree" in text
    assert text.index("PREDICTION, not measured") > text.index("by the program")
    assert result["prediction"]["compute_seconds"] == 8.0 and "PREDICTION" in result["prediction"]["what"]
    assert {row["devices"] for row in result["prediction"]["rows"]} == {8, 64, 512}
    assert path.with_suffix(".png").stat().st_size > 10_000
    assert result["arguments"][0] == f"--config={SMOKE}" and result["versions"]["jax"]


def test_devices_that_compute_something_else_are_an_error(monkeypatch, fake_devices):
    monkeypatch.setattr(fake_devices, "spoilt", 2)
    with pytest.raises(SystemExit, match=r"error: results on \[2\] devices differ from those on one"):
        scaling.main(["scaling", f"--config={SMOKE}", "--devices=1,2", "--repeats=1"])


def test_nothing_needs_to_be_measured(capsys, fake_devices):
    scaling.main(["scaling", f"--config={SMOKE}", "--devices=", "--compute_seconds=0.5", "--predict=8"])
    text = capsys.readouterr().out
    assert "nothing is measured" in text and "flatters" not in text and "0.5 s per update" in text and "given" in text
    assert [command for command, _ in fake_devices.asked] == ["begin", "prepare", "traffic"]


def test_an_accelerator_is_measured_here_and_its_bytes_are_counted_elsewhere(monkeypatch, capsys, fake_devices):
    """One of them: there is no second to add up with, so the program of two virtual devices is read."""
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(jax, "device_count", lambda: 1)
    monkeypatch.setattr(training_runs, "prepare_jax", lambda cpu_devices: None)
    scaling.main(["scaling", f"--config={SMOKE}", "--repeats=2"])
    assert "1 of 1 devices: ideal is n times" in capsys.readouterr().out
    here, _, _, worker, prepared, traffic, *timed = fake_devices.asked
    assert (here, worker) == (("begin", 0), ("begin", 2)), "0 is this process, 2 the devices of another"
    assert prepared == ("prepare", {"devices": 2, "num_envs": 16, "updates": 1}) and traffic[0] == "traffic"
    assert [command for command, _ in timed] == ["seconds"] * 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--devices=2,4"], "--devices=2,4; must include 1"),
        (["--devices="], "--compute_seconds must be > 0"),
        (["--devices=one"], "argument --devices: invalid numbers value: 'one'"),
        (["--devices=0"], "argument --devices: invalid numbers value: '0'"),
        (["--predict="], "--predict= is empty"),
        (["--predict=12"], "12 devices on H100, NVLink and InfiniBand NDR do not fill groups of 8"),
        (["--repeats=0"], "--repeats=0; must be >= 1"),
        (
            ["--envs=12", "--devices=1,8"],
            "num_envs=12 does not divide into algorithm.num_minibatches=2 on 8 data devices; use 16",
        ),
        (["--override", "config.algorithm.epoch=3"], "unknown option config.algorithm.epoch"),
        (["--override", "config.memory.name=gru"], "is chosen in the file's argument"),
        (["--repeat=2"], "unrecognized arguments: --repeat=2"),
        (["--speed=9"], "unrecognized arguments: --speed=9"),
    ],
)
def test_errors_are_one_line(arguments, message, fake_devices):
    with pytest.raises(SystemExit) as error:
        scaling.main(["scaling", f"--config={SMOKE}", *arguments])
    assert message in str(error.value) and str(error.value).startswith("error: ") and "\n" not in str(error.value)
    assert not fake_devices.asked, "it was found before anything was compiled"
