"""Other people's environments, each in a process and a virtual environment of its own, for their requirements clash."""

import json
import os
import pathlib
import subprocess
import sys
from typing import Any

SCRIPTS = pathlib.Path(__file__).parent
ROOT = SCRIPTS.parent.parent
# gymnax 1.x and the fork that popgym-arcade needs install under one name, and both forget to require six.
REQUIREMENTS = {
    "arcade": ["popgym-arcade==0.0.7", "six", "jax==0.10.2"],
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


class Peer:
    """A running peer: one line of JSON to it, one line back."""

    def __init__(self, peer: str, home: pathlib.Path):
        # Answers have a pipe of their own: libraries print what they like to standard output.
        answers, theirs = os.pipe()
        self._process = subprocess.Popen(
            [str(python(peer, home)), str(SCRIPTS / f"{peer}.py"), str(theirs)],
            stdin=subprocess.PIPE, stdout=2, text=True, pass_fds=(theirs,),
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        os.close(theirs)
        self._answers = os.fdopen(answers)

    def ask(self, command: str, **arguments: Any) -> Any:
        """What the peer answers to a command.

        Raises:
          RuntimeError: the peer could not do it; says why.
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


def serve(commands: dict[str, Any]) -> None:
    """The peer's side: answers until its input ends."""
    with os.fdopen(int(sys.argv[1]), "w", buffering=1) as answers:
        for line in sys.stdin:
            request = json.loads(line)
            try:
                answer = {"result": commands[request.pop("command")](**request)}
            except Exception as error:
                answer = {"error": f"{type(error).__name__}: {error}"[:500]}
            answers.write(json.dumps(answer) + "\n")
