"""Throughput of the tasks without pixels in transitions per second, in turns with gymnax: `environments --tasks`.

A transition is a step with its observation; restarts are included. Observation, reward and both ends of every
transition enter a checksum. All tasks are compiled first, then measured in rounds, each once per round, and right after
each the environment of gymnax that is closest to it: other load on the machine affects all of them.
"""

from typing import Any, NamedTuple

from benchmarks import peers
from benchmarks.measure import Program
from benchmarks.training_report import rates
from podarcade.envs import environment


class Counterpart(NamedTuple):
    """An environment of gymnax with the dynamics and the longest episode of one of our tasks.

    Attributes:
      task: name of our environment.
      name: name in gymnax.
      parameters: parameters set there, by name.
    """

    task: str
    name: str
    parameters: dict[str, Any]


COUNTERPARTS = (
    Counterpart("PositionOnlyCartPoleEasy", "CartPole-v1", {"max_steps_in_episode": 200}),
    Counterpart("PositionOnlyPendulumEasy", "Pendulum-v1", {"max_steps_in_episode": 200}),
    Counterpart("MemoryChainEasy", "MemoryChain-bsuite", {"memory_length": 10}),
)


class Pair:
    """Random play of one task, compiled, and of its counterpart in gymnax if it has one.

    Args:
      name: name of our environment.
      partial: whether to draw the partial twin.
      batch: number of environments.
      steps: steps per call of a compiled program.
      seconds: approximate duration of a repeat.
      gymnax: the running peer "gymnax_tasks", or None.

    Raises:
      ValueError: unknown environment.
    """

    def __init__(self, name: str, partial: bool, batch: int, steps: int, seconds: float, gymnax: peers.Worker | None):
        made = environment.make(name, partial)

        def reset(key):
            return made.reset(key)[0]

        def step(key, state, action):
            state, timestep = made.step(state, action)
            return state, (timestep.observation, timestep.reward, timestep.terminal, timestep.truncated)

        self.program = Program(reset, step, batch, steps, frames=True, sample=made.game.actions.sample)
        self.calls = self.program.calls_for(seconds)
        self.about = {"name": name, "twin": "partial" if partial else "full", "batch": batch}
        self.measured, self.theirs, self.gymnax = [], [], gymnax
        self.other = next((other for other in COUNTERPARTS if other.task == name), None) if gymnax else None
        if self.other:
            setting = {"batch": batch, "steps": steps, "seconds": seconds}
            self.prepared = gymnax.ask("prepare", name=self.other.name, parameters=self.other.parameters, **setting)

    def repeat(self) -> None:
        """Measure ours once more, then theirs."""
        transitions = self.calls * self.program.frames_per_call
        self.measured.append({"frames": transitions, "seconds": self.program.seconds(self.calls)})
        if self.other:
            self.theirs.append(self.gymnax.ask("run", name=self.other.name))

    def result(self) -> dict:
        """Return the row of results."""
        row = self.about | {
            "transitions_per_second": rates(self.measured),
            "compile_seconds": self.program.compile_seconds,
            "bytes_per_environment": self.program.bytes / self.about["batch"],
            "checksum": self.program.checksum,
        }
        if self.other:
            speed = rates(self.theirs)
            row["gymnax"] = self.prepared | {
                "parameters": self.other.parameters,
                "transitions_per_second": speed,
                "times": row["transitions_per_second"]["median"] / speed["median"],
                "checksum": self.theirs[-1]["checksum"],
            }
        return row


HEADER = (
    f"{'task':32} {'twin':8}{'batch':>6}  {'transitions/s (low to high)':44}{'compile s':>10}{'bytes/env':>10}"
    f"{'gymnax/s':>13}{'times':>7}"
)


def line(row: dict) -> str:
    """Return a row of the table."""
    median, low, high = (f"{row['transitions_per_second'][what]:,.0f}" for what in ("median", "low", "high"))
    text = (
        f"{row['name']:32} {row['twin']:8}{row['batch']:6}  {f'{median:>12} ({low} to {high})':44}"
        f"{row['compile_seconds']:10.1f}{row['bytes_per_environment']:10,.0f}"
    )
    if "gymnax" in row:
        theirs = row["gymnax"]
        text += f"{theirs['transitions_per_second']['median']:13,.0f}{theirs['times']:7.2f}"
    return text


def measure(pairs: list[Pair], repeats: int) -> list[dict]:
    """Measure each pair once per round, print the table, and return the rows of results."""
    for _ in range(repeats):
        for pair in pairs:
            pair.repeat()
    rows = [pair.result() for pair in pairs]
    print("\n".join([HEADER, *map(line, rows)]), flush=True)
    return rows
