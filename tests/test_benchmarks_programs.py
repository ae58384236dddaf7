"""Facts of programs: operations by loop, instructions of a compiled loop, and the recorded ones as a budget."""

import json
import pathlib

import jax
import jax.numpy as jnp
import pytest

from benchmarks import collectives, markdown, program_facts, programs, stablehlo, training_settings

ROOT = pathlib.Path(__file__).parent.parent


@jax.jit
def double(x):
    return x + x


def looped(x):
    """Two calls of a function, and a loop of five steps with two calls and another loop of three steps in it."""

    def step(carry, y):
        inner = jax.lax.fori_loop(0, 3, lambda _, z: z * y, carry, unroll=False)
        return double(double(inner)), jnp.sum(carry)

    return jax.lax.scan(step, double(double(x)), x)


X = jax.ShapeDtypeStruct((5,), jnp.float32)


def test_operations_are_counted_by_loop_and_by_call():
    found = stablehlo.operations(jax.jit(looped).trace(X).lower(lowering_platforms=("tpu",)))
    adds = [one.loops for one in found if one.name == "add" and one.types == ("tensor<5xf32>",)]
    assert adds == 2 * [()] + 2 * [("looped",)]
    assert [one.loops for one in found if one.name == "multiply"] == [("looped", "looped.step")]
    assert [one.loops for one in found if one.name == "while"] == [(), ("looped",)]
    assert [one.loops for one in found if one.name == "reduce"] == [("looped",)]  # its sum is no operation of its own
    assert max(one.largest_bytes for one in found) == 20
    assert {"f32", "i32"} <= set().union(*(one.dtypes for one in found)) and not any(one.target for one in found)


@pytest.mark.parametrize(
    ("dtype", "size"), [("bfloat16", 2), ("bool", 1), ("complex64", 8), ("uint8", 1), ("float32", 4)]
)
def test_sizes_of_arrays(dtype, size):
    array = jax.ShapeDtypeStruct((3, 7), dtype)
    found = stablehlo.operations(jax.jit(lambda x: x.T).trace(array).lower())
    assert [one.largest_bytes for one in found] == [21 * size]
    assert [len(one.dtypes) for one in found] == [1]


def test_a_custom_call_has_its_name():
    matrix = jax.ShapeDtypeStruct((3, 3), jnp.float32)
    found = stablehlo.operations(jax.jit(jnp.linalg.cholesky).trace(matrix).lower(lowering_platforms=("cuda",)))
    assert any("potrf" in one.target for one in found)


TEXT = """HloModule jit_main, is_scheduled=true

FileNames
1 "rollout.py"

FunctionNames
1 "rollout"
2 "Updater._update"

FileLocations
1 {file_name_id=1 function_name_id=1 line=7 end_line=8 column=1 end_column=2}
2 {file_name_id=1 function_name_id=2 line=9 end_line=9 column=1 end_column=2}

StackFrames
1 {file_location_id=2 parent_frame_id=1}
5 {file_location_id=1 parent_frame_id=1}

%fused (p: f32[5]) -> f32[5] {
  ROOT %m = f32[5]{0} multiply(%p, %p)
}

%inner (s: (s32[], f32[5])) -> (s32[], f32[5]) {
  %i = f32[5]{0} get-tuple-element(%s), index=1
  %f = f32[5]{0:T(8,128)} fusion(%i), kind=kLoop, calls=%fused
  ROOT %t = (s32[], f32[5]{0}) tuple(%i, %f)
}

%condition (s: (s32[], f32[5])) -> pred[] {
  ROOT %c = pred[] compare(%a, %b), direction=LT
}

%parallel (p: f32[5]) -> f32[5] {
  ROOT %copied = f32[5]{0} copy(%p)
}

%step (s: (s32[], f32[5])) -> (s32[], f32[5]) {
  %w = (s32[], f32[5]{0:T(8,128)}) while(%s), condition=%condition, body=%inner, metadata={stack_frame_id=1}
  %called = f32[5]{0} call(%x), to_apply=%parallel
  ROOT %f2 = f32[5]{0} fusion(%called), kind=kLoop, calls=%fused
}

ENTRY %main (x: f32[5]) -> f32[5] {
  %w0 = (s32[], f32[5]{0}) while(%x), condition=%condition, body=%inner, metadata={op_name="b" stack_frame_id=5}
  ROOT %w1 = (s32[], f32[5]{0}) while(%x), condition=%condition, body=%step, metadata={op_name="a" stack_frame_id=5}
}
"""


def test_instructions_of_a_compiled_loop():
    # A called computation is its instructions, a fusion is one; conditions of loops are left out. Of two loops of a
    # function the longer one is meant.
    assert collectives.loop_body(TEXT, "rollout") == {"while": 1, "fusion": 2, "copy": 1}
    assert collectives.loop_body(TEXT, "Updater._update") == {"fusion": 1}
    with pytest.raises(ValueError, match=r"no loop .* in advance"):
        collectives.loop_body(TEXT, "advance")


def test_a_compiled_loop_is_found():
    text = jax.jit(looped).lower(X).compile().as_text()
    outer, inner = (collectives.loop_body(text, name) for name in ("looped", "looped.<locals>.step"))
    assert outer["while"] == 1 and inner["while"] == 0 and outer.total() > inner.total() > 0


@pytest.mark.parametrize("platform", ["gpu", "tpu"])
def test_a_platform_without_a_compiler_is_left_out(platform, monkeypatch):
    def missing(*arguments, **options):
        raise RuntimeError("no plug-in")

    monkeypatch.setattr(program_facts.topologies, "get_topology_desc", missing)
    assert program_facts.compilable(platform) is None
    assert program_facts.compilable("cpu").devices.flat[0].platform == "cpu"


RESULT = markdown.result("programs")
RECORDED = {(row["algorithm"], row["platform"]): row for row in RESULT["rows"]}
SLACK = 1.0 if jax.__version__ == RESULT["versions"]["jax"] else 1.1  # another JAX lowers the same to other operations


@pytest.mark.parametrize("algorithm", sorted({algorithm for algorithm, _ in RECORDED}))
def test_programs_stay_within_what_is_recorded(algorithm, monkeypatch):
    monkeypatch.chdir(ROOT)
    updater, budget = program_facts.updater_of(algorithm, "gpu"), RECORDED[algorithm, "gpu"]
    found = program_facts.of_lowered(updater, "gpu")
    remedy = "shorten it, or record it: python -m benchmarks.programs --json=benchmarks/results/programs.json"
    assert found["rollout_step"] <= SLACK * budget["rollout_step"], f"operations of a rollout step: {remedy}"
    assert found["rollout_loops"] <= budget["rollout_loops"], f"loops in a rollout step: {remedy}"
    for name, most in budget["collectives"].items():
        assert found["collectives"][name] <= most, f"collectives, {name}: {remedy}"
    assert set(found["time_loops"]) <= set(budget["time_loops"]), f"loops over time in the loss: {remedy}"
    assert 0 < found["rollout_step"] < found["gradient_step"] < found["operations"]


def test_every_configured_algorithm_is_recorded_on_every_platform(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert set(RECORDED) == {
        (name, where) for name in training_settings.configured() for where in program_facts.PLATFORMS
    }


def test_facts_are_printed_and_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(program_facts, "PLATFORMS", {"cpu": program_facts.Platform("smoke", "cpu", 1)})
    monkeypatch.setattr(programs.training_runs, "prepare_jax", lambda devices: None)
    programs.main(["programs", "--algorithms=pqn", f"--json={tmp_path}/found.json"])
    (row,) = json.loads((tmp_path / "found.json").read_text())["rows"]
    compiled = row["compiled"]
    for name in ("rollout_step", "gradient_step"):
        assert 0 < compiled[name]["fusions"] < compiled[name]["instructions"]
    assert compiled["temporary_bytes"] > 0 and compiled["argument_bytes"] > 0 and compiled["device"] == "cpu"
    assert compiled["flops_per_frame"] > 1e4 and compiled["bytes_per_frame"] > 128 * 128 * 3
    assert row["collectives"] == {"gradient_step": 0, "rest": 0, "update": 0}
    assert f"{row['operations']:,}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argument", "message"), [("--platforms=gpus", "did you mean 'gpu'"), ("--algorithms=qn", "pqn")]
)
def test_unknown_names_are_refused(argument, message, monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit, match=f"error: {argument}; .*{message}"):
        programs.main(["programs", argument])
