"""The engine that trains nothing and prints the commands, for a scheduler of one's own."""

import shlex
from collections.abc import Sequence

from podarcade.sweeps.programs import Program


def commands(programs: Sequence[Program], options: tuple[str, ...]) -> str:
    """Return the command of each program that is not complete, one a line, below a comment that counts them.

    Args:
      programs: of a sweep.
      options: further options of `podarcade.launch`.
    """
    left = [program for program in programs if not program.is_settled()]
    runs = sum(len(program.jobs) for program in left)
    header = f"# {len(left)} commands train {runs} runs, in any order; each may be repeated, and resumes"
    return "\n".join([header, *(shlex.join(["python", *program.command(options)[1:]]) for program in left)])
