"""Peers: other projects' environments and trainers, each in its own process and virtual environment."""

import json
import os
import pathlib
import resource
import subprocess
import sys
from typing import Any

SCRIPTS = pathlib.Path(__file__).parent
ROOT = SCRIPTS.parent.parent
GYMNAX = [
    "gymnax==0.0.9",
    "six",
    "popjym @ git+https://github.com/FLAIROx/popjym@d7b23ba2ba663628c168897a914f1a0998643265",
]
# Requirements conflict: gymnax 1.x and the fork that popgym-arcade needs share an import name; both omit six.
REQUIREMENTS = {
    "arcade": ["popgym-arcade==0.0.7", "six", "jax==0.10.2"],
    # The trainer, with the memories of February 2026 that it was released with.
    "arcade_training": ["popgym-arcade[baselines]==0.0.7", "memax==0.1.1", "six", "jax==0.10.2"],
    "gymnax_tasks": ["gymnax==1.0.1", "six", "jax==0.10.2"],
    "atari": ["ale-py==0.12.1", "envpool==1.2.5", "numpy"],
    # Trainers on tasks of gymnax 0.0.x, whose interface they expect, and of popjym.
    "memorax_training": ["memorax==1.0.1", *GYMNAX, "jax==0.10.2"],
    "purejaxrl_training": ["brax==0.14.2", "distrax==0.1.9", "flax==0.12.8", "navix==0.7.4", *GYMNAX, "jax==0.10.2"],
    "rejax_training": ["rejax==0.1.3", *GYMNAX, "jax==0.10.2"],
}
# Code that pip cannot install: an address and a commit.
CHECKOUTS = {
    "purejaxrl_training": (
        "https://github.com/luchris429/purejaxrl",
        "31756b197773a52db763fdbe6d635e4b46522a73",
    ),
}


def python(peer: str, home: pathlib.Path) -> pathlib.Path:
    """Return the interpreter of a peer's virtual environment, which is created on first use."""
    place = home / peer
    interpreter, stamp = place / "bin" / "python", place / "complete"
    required = " ".join([*REQUIREMENTS[peer], *CHECKOUTS.get(peer, ())])
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != required:
        print(f"creating {place} with {required}", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(place)], check=True)
        subprocess.run([str(interpreter), "-m", "pip", "install", "-q", *REQUIREMENTS[peer]], check=True)
        if peer in CHECKOUTS:
            address, commit = CHECKOUTS[peer]
            subprocess.run(["git", "clone", "-q", "--no-checkout", address, str(place / "checkout")], check=True)
            subprocess.run(["git", "-C", str(place / "checkout"), "checkout", "-q", commit], check=True)
        stamp.write_text(required, encoding="utf-8")
    return interpreter


class Worker:
    """A process that runs `serve`: one line of JSON per request, one line per answer.

    Args:
      command: command line; the number of the descriptor for answers is appended.
      environment: variables added to ours.
    """

    def __init__(self, *command: str, **environment: str):
        # Answers use a separate pipe, as libraries print to standard output.
        answers, theirs = os.pipe()
        self._process = subprocess.Popen(
            [*command, str(theirs)], stdin=subprocess.PIPE, stdout=2, text=True, pass_fds=(theirs,),
            env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        )  # fmt: skip
        os.close(theirs)
        self._answers = os.fdopen(answers)

    def ask(self, command: str, **arguments: Any) -> Any:
        """Return the answer of the process to a command.

        Raises:
          RuntimeError: the command failed, or the process ended.
        """
        self._process.stdin.write(json.dumps({"command": command, **arguments}) + "\n")
        self._process.stdin.flush()
        line = self._answers.readline()
        if not line:
            raise RuntimeError(f"the peer ended with code {self._process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["result"]

    def close(self) -> None:
        """End the process."""
        self._process.stdin.close()
        self._process.wait()


class Peer(Worker):
    """A running peer in its virtual environment."""

    def __init__(self, peer: str, home: pathlib.Path):
        super().__init__(str(python(peer, home)), str(SCRIPTS / f"{peer}.py"))


def peak_resident_bytes() -> int:
    """Return the peak resident memory of this process, compilation included.

    `getrusage` does not serve on Linux, where a new process starts with its parent's maximum.
    """
    status = pathlib.Path("/proc/self/status")
    if status.exists():
        (line,) = (line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM"))
        return 1024 * int(line.split()[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def planned_bytes(compiled: Any) -> dict[str, int]:
    """Return the memory that XLA plans for a compiled program on one device, in bytes.

    Returns:
      "temporary", "arguments" and "total": both, plus results that do not alias arguments.
    """
    memory = compiled.memory_analysis()
    results = memory.output_size_in_bytes - memory.alias_size_in_bytes
    held, temporary = memory.argument_size_in_bytes, memory.temp_size_in_bytes
    return {"temporary": temporary, "arguments": held, "total": temporary + held + results}


def serve(commands: dict[str, Any]) -> None:
    """Answer requests until standard input ends; the worker's side."""
    with os.fdopen(int(sys.argv[1]), "w", buffering=1) as answers:
        for line in sys.stdin:
            request = json.loads(line)
            try:
                answer = {"result": commands[request.pop("command")](**request)}
            except Exception as error:
                answer = {"error": f"{type(error).__name__}: {error}"[:500]}
            answers.write(json.dumps(answer) + "\n")
