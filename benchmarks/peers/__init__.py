"""Other people's environments, each in a process and a virtual environment of its own, for their requirements clash."""

import json
import os
import pathlib
import resource
import subprocess
import sys
from typing import Any

SCRIPTS = pathlib.Path(__file__).parent
ROOT = SCRIPTS.parent.parent
# gymnax 1.x and the fork that popgym-arcade needs install under one name, and both forget to require six.
REQUIREMENTS = {
    "arcade": ["popgym-arcade==0.0.7", "six", "jax==0.10.2"],
    # The trainer, with the memories of February 2026 that it was released with.
    "arcade_training": ["popgym-arcade[baselines]==0.0.7", "memax==0.1.1", "six", "jax==0.10.2"],
    "atari": ["ale-py==0.12.1", "envpool==1.2.5", "numpy"],
}


def python(peer: str, home: pathlib.Path) -> pathlib.Path:
    """The interpreter of a peer's virtual environment, made at the first call."""
    place = home / peer
    interpreter, stamp = place / "bin" / "python", place / "complete"
    wanted = " ".join(REQUIREMENTS[peer])
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
        print(f"making {place} with {wanted}", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(place)], check=True)
        subprocess.run([str(interpreter), "-m", "pip", "install", "-q", *REQUIREMENTS[peer]], check=True)
        stamp.write_text(wanted, encoding="utf-8")
    return interpreter


class Worker:
    """A running process that calls `serve`: one line of JSON to it, one line back.

    Args:
      command: what starts it; the number of the descriptor for its answers is added.
      environment: variables that it has besides ours.
    """

    def __init__(self, *command: str, **environment: str):
        # Answers have a pipe of their own: libraries print what they like to standard output.
        answers, theirs = os.pipe()
        self._process = subprocess.Popen(
            [*command, str(theirs)], stdin=subprocess.PIPE, stdout=2, text=True, pass_fds=(theirs,),
            env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        )  # fmt: skip
        os.close(theirs)
        self._answers = os.fdopen(answers)

    def ask(self, command: str, **arguments: Any) -> Any:
        """What the process answers to a command.

        Raises:
          RuntimeError: it could not do it; says why.
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
        """Ends the process."""
        self._process.stdin.close()
        self._process.wait()


class Peer(Worker):
    """A running peer, in its virtual environment."""

    def __init__(self, peer: str, home: pathlib.Path):
        super().__init__(str(python(peer, home)), str(SCRIPTS / f"{peer}.py"))


def peak_resident_bytes() -> int:
    """The most memory that this process has had resident so far, compilation included.

    `getrusage` would do, but on Linux a new process starts with its parent's maximum.
    """
    status = pathlib.Path("/proc/self/status")
    if status.exists():
        (line,) = (line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM"))
        return 1024 * int(line.split()[1])
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most


def planned_bytes(compiled: Any) -> dict[str, int]:
    """Memory that a compiled program of jax takes on one device, as its compiler plans it.

    Returns:
      "temporary", "arguments", and "most": both of them and what results take beside the arguments they replace.
    """
    memory = compiled.memory_analysis()
    results = memory.output_size_in_bytes - memory.alias_size_in_bytes
    held, temporary = memory.argument_size_in_bytes, memory.temp_size_in_bytes
    return {"temporary": temporary, "arguments": held, "most": temporary + held + results}


def serve(commands: dict[str, Any]) -> None:
    """The side of a worker or peer: answers until its input ends."""
    with os.fdopen(int(sys.argv[1]), "w", buffering=1) as answers:
        for line in sys.stdin:
            request = json.loads(line)
            try:
                answer = {"result": commands[request.pop("command")](**request)}
            except Exception as error:
                answer = {"error": f"{type(error).__name__}: {error}"[:500]}
            answers.write(json.dumps(answer) + "\n")
