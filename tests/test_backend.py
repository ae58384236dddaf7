"""Settings of jax follow the user's where both could apply, and no missing home directory or stream ends a run."""

import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

from podarcade.runtime import backend

ROOT = pathlib.Path(__file__).parent.parent
CONFIGURE = "from podarcade.runtime import backend; backend.configure(0); "
LEVEL = CONFIGURE + "import logging; print(logging.getLogger('jax').getEffectiveLevel())"


def run(program, *, remove=(), shell="", **environment):
    """Run a program in a Python process; return its exit code, output and errors."""
    variables = {key: value for key, value in os.environ.items() if key not in remove} | environment
    command = [sys.executable, "-c", program]
    if shell:  # redirections of the shell
        command = ["sh", "-c", f'exec "$0" -c "$1" {shell}', sys.executable, program]
    result = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True)
    return result.returncode, result.stdout, result.stderr.decode(errors="replace")


def test_jax_is_quiet_unless_the_user_asks_for_its_log():
    assert run(LEVEL)[1] == b"40\n"
    compile_once = LEVEL + "; import jax; jax.jit(lambda x: x + 1)(1.0)"
    code, output, errors = run(compile_once, JAX_LOG_COMPILES="1")
    assert code == 0 and int(output) < 40 and "ompil" in errors
    assert int(run(LEVEL, JAX_LOGGING_LEVEL="DEBUG")[1]) < 40


def test_without_a_home_directory_the_run_is_not_cached():
    """As in a container started with the id of a user that its password file lacks."""
    program = "import pathlib\ndef home(): raise RuntimeError('Could not determine home directory.')\n"
    program += "pathlib.Path.home = home\n" + CONFIGURE + "\nimport jax; print(jax.config.jax_compilation_cache_dir)"
    code, output, errors = run(program, remove=("JAX_COMPILATION_CACHE_DIR",))
    assert (code, output) == (0, b"None\n")
    assert errors.startswith("WARNING: no home directory for the compilation cache") and errors.count("\n") == 1


@pytest.mark.parametrize("chosen", ["rbg", "unsafe_rbg"])
def test_another_prng_is_replaced_with_a_warning(chosen):
    program = CONFIGURE + "import jax; print(jax.random.key_data(jax.random.key(3)).tolist())"
    code, output, errors = run(program, JAX_DEFAULT_PRNG_IMPL=chosen)
    assert (code, output) == (0, b"[0, 3]\n")
    assert errors == f"WARNING: jax_default_prng_impl={chosen} is not supported in training; using threefry2x32\n"


def test_64_bit_types_are_switched_off_with_a_warning():
    program = CONFIGURE + "import jax.numpy as jnp; print(jnp.arange(2).dtype, jnp.ones(2).dtype)"
    code, output, errors = run(program, JAX_ENABLE_X64="1")
    assert (code, output) == (0, b"int32 float32\n")
    assert errors == "WARNING: jax_enable_x64=True is not supported in training; using False\n"


def test_a_transfer_guard_applies_to_the_compiled_update_alone():
    """Setting up moves data on purpose: keys, parameters, what is restored."""
    program = f"{CONFIGURE}import jax; jax.random.key(3); "
    program += "print(jax.config.jax_transfer_guard, backend.transfer_guard())"
    code, output, errors = run(program, JAX_TRANSFER_GUARD="disallow")
    assert (code, output) == (0, b"allow disallow\n"), errors


TOLERANT = "from podarcade.runtime import output; output.tolerate_broken_streams(); "


def test_characters_that_the_encoding_lacks_are_replaced():
    code, output, errors = run(TOLERANT + "print('gr\\u00fcn \\u2581')", PYTHONIOENCODING="ascii")
    assert (code, output, errors) == (0, b"gr?n ?\n", "")


@pytest.mark.skipif(os.name != "posix", reason="closes descriptors by a shell")
@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_error(closed, tmp_path):
    """A file of the run must not get the descriptor of a closed stream, which libraries in C++ print to."""
    program = (
        TOLERANT
        + f"""
import os, sys
print("hello", flush=True)
print("error", file=sys.stderr, flush=True)
with open({str(tmp_path / "file")!r}, "w") as file:
    assert file.fileno() > 2
    os.write(1, b"native")
"""
    )
    code, output, _ = run(program, shell=closed)
    assert code == 0
    assert output == (b"" if ">&-" in closed.replace("2>&-", "") else b"hello\nnative")
    assert (tmp_path / "file").read_text() == ""


def test_programs_are_kept_for_one_owner_at_a_time():
    function = jax.jit(lambda x: x + 1)
    backend.keep_programs_of(("network", 1))
    function(jnp.ones(3))
    backend.keep_programs_of(("network", 1))
    assert function._cache_size() == 1
    backend.keep_programs_of(("network", 2))
    assert function._cache_size() == 0


@pytest.mark.parametrize(
    ("version", "visible", "number", "expected"),
    [
        ("cuda 12090", None, 2, [{"CUDA_VISIBLE_DEVICES": "0"}, {"CUDA_VISIBLE_DEVICES": "1"}]),
        ("cuda 12090", "3, 5", 2, [{"CUDA_VISIBLE_DEVICES": "3"}, {"CUDA_VISIBLE_DEVICES": "5"}]),
        ("ROCm 6", None, 2, [{"ROCR_VISIBLE_DEVICES": "0"}, {"ROCR_VISIBLE_DEVICES": "1"}]),
        ("cuda 12090", None, 1, []),
    ],
)
def test_each_gpu_is_given_to_a_process_by_its_environment(monkeypatch, version, visible, number, expected):
    class Device:
        client = type("Client", (), {"platform_version": version})

    monkeypatch.setattr(backend, "accelerator", lambda: "gpu")
    monkeypatch.setattr(jax, "local_devices", lambda: [Device] * number)
    monkeypatch.setattr(jax, "local_device_count", lambda: number)
    monkeypatch.setattr(os, "environ", {"CUDA_VISIBLE_DEVICES": visible} if visible else {})
    assert backend.device_choices() == expected


def test_a_machine_without_a_gpu_has_no_choice():
    assert backend.device_choices() == []
