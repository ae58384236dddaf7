"""Runs whose observability switches during training, against runs that never switched.

A schedule such as `environment.observability=full,partial@250000` switches the twin that is trained on. Evaluations
play both twins all along, one of them right at the switch, so that with J_X(k) the greedy return on twin X after k
frames

    drop        = J_old(k0) - J_new(k0)             at the switch k0, of the same parameters
    recovery    = least k - k0 > 0 with J_new(k) >= random + 0.95 (J_control - random)
    difference  = J_new(end) - J_control            at the end of training

J_control is the final return of a run that was trained on the new twin throughout, same memory and trainer. The 95 %
count from the random policy, since returns may be negative. Recovery has the resolution of the evaluations, and is the
first time: a noisy curve may fall below again. Seeds are paired by number, which start from the same parameters.
"""

import dataclasses
import math

import numpy as np

from podarcade.envs import observability
from podarcade.reporting import results, statistics
from podarcade.reporting.gap_bias import trainer
from podarcade.reporting.gap_tables import value
from podarcade.runtime.console import count
from podarcade.runtime.run_files import planned_frames

SHARE = 0.95  # of the control's return over the random policy's, at which a run has recovered


@dataclasses.dataclass(frozen=True)
class Switch:
    """A run that switched once, against its control.

    Attributes:
      task: game and level.
      variant: name; `control` is that of the run that never switched.
      old, new: twins before and after the switch.
      frames: real environment steps before the switch; `left` after it.
      seeds: numbers of the seeds that both runs have; `unpaired` of those that one lacks.
      drop: float[S] at the switch.
      recovery: float[S], frames to 95 % of the control; inf if not within `left`, NaN if the control learnt nothing.
      difference: float[S], switched minus control at the end.
    """

    task: str
    variant: str
    control: str
    old: str
    new: str
    frames: float
    left: float
    seeds: tuple[int, ...]
    unpaired: tuple[int, ...]
    drop: np.ndarray
    recovery: np.ndarray
    difference: np.ndarray


def analyse(rows: list[dict], last: float) -> tuple[list[Switch], list[str]]:
    """Return what every switch did, and lines on runs that switched and cannot be analysed.

    Args:
      rows: as `results` makes them, switched runs and controls.
      last: share of the frames, at the end, whose evaluations are averaged into final returns.
    """
    found, lines = [], []
    for row in rows:
        schedule = _schedule(row)
        if len(schedule.shares) == 1:
            continue
        try:
            found.append(_switch(row, rows, last))
        except ValueError as error:
            lines.append(f"{results.level_name(row)} {row['variant']}: {error}")
    return found, lines


def _schedule(row: dict) -> observability.Observability:
    return observability.parse(row["config"].get("environment", {}).get("observability", row["task"]["twin"]))


def _switch(row: dict, rows: list[dict], last: float) -> Switch:
    twins = {share: name for name, share in observability.NAMES.items()}
    shares = _schedule(row).shares
    if len(shares) != 2 or not set(shares) <= twins.keys() or shares[0] == shares[1]:
        raise ValueError(
            f"observability {row['config']['environment']['observability']}; expected one switch between the twins"
        )
    old, new = (twins[share] for share in shares)
    control = _control(row, rows, shares[1])
    pairs = [(row["seeds"].index(seed), control["seeds"].index(seed)) for seed in _shared(row, control)]
    if not pairs:
        raise ValueError(f"its control {control['variant']} shares no seed with it")
    own, its = np.asarray(pairs).T
    at, frames = switch_evaluation(row), np.asarray(row["curve"]["frames"])
    curves = {twin: np.asarray(row["curve"][twin])[:, own] for twin in (old, new)}
    end = np.asarray(results.final_statistics(row["curve"], new, last)["end"])[own]
    goal = np.asarray(results.final_statistics(control["curve"], new, last)["end"])[its]
    return Switch(
        task=results.level_name(row),
        variant=row["variant"],
        control=control["variant"],
        old=old,
        new=new,
        frames=float(frames[at]),
        left=float(frames[-1] - frames[at]),
        seeds=tuple(row["seeds"][index] for index in own),
        unpaired=tuple(sorted(set(row["seeds"]) ^ set(control["seeds"]))),
        drop=curves[old][at] - curves[new][at],
        recovery=recovery(frames[at:], curves[new][at:], goal, control["random"]),
        difference=end - goal,
    )


def _shared(row: dict, control: dict) -> list[int]:
    return [seed for seed in row["seeds"] if seed in control["seeds"]]


def _control(row: dict, rows: list[dict], share: float) -> dict:
    """Return the row of the same memory and trainer that trained on one twin throughout.

    Raises:
      ValueError: there is none.
    """
    for other in rows:
        same = (
            trainer(other["config"]) == trainer(row["config"]) and other["config"]["memory"] == row["config"]["memory"]
        )
        if same and results.level_name(other) == results.level_name(row) and _schedule(other).shares == (share,):
            return other
    raise ValueError("no run of the same configuration that trained on the twin after its switch throughout")


def switch_evaluation(row: dict) -> int:
    """Return the index of the evaluation at the first switch of a run, which the schedule of evaluations has.

    Raises:
      ValueError: the run was not evaluated as its configuration says.
    """
    config = row["config"]
    per_call = config["num_envs"] * config["algorithm"]["rollout_length"] * config["updates_per_call"]
    switch = _schedule(row).in_units_of(per_call).since[1]
    total = planned_frames(config) // per_call
    every = config["evaluation"]["every"]
    calls = [call for call in range(total + 1) if call % every == 0 or call in (switch, switch + 1, total)]
    if len(calls) != len(row["curve"]["frames"]):
        raise ValueError(f"{len(row['curve']['frames'])} evaluations; its configuration has {len(calls)}")
    return calls.index(switch)


def recovery(frames: np.ndarray, returns: np.ndarray, control: np.ndarray, random: float) -> np.ndarray:
    """Return the frames after a switch until the return is `SHARE` of the way from the random policy to the control.

    Args:
      frames: float[n], of evaluations from the switch on.
      returns: float[n, S], on the twin after the switch.
      control: float[S], final returns of the control.
      random: return of the random policy.

    Returns:
      float[S]: inf where it is never reached, NaN where the control is no better than the random policy.
    """
    reached = returns[1:] >= random + SHARE * (control - random)
    first = np.where(reached.any(axis=0), frames[1:][reached.argmax(axis=0)] - frames[0], math.inf)
    return np.where(control > random, first, math.nan)


def table(found: list[Switch], lines: list[str]) -> str:
    """Return the switches as text: means over seeds with Student's intervals of paired differences."""
    heads = f"{'drop':>25}{'final difference':>25}   recovery to {SHARE:.0%} of the control"
    width = max([len(_name(one)) for one in found] + [4]) + 2
    text = ["observability switch: drop = J(old) - J(new) at the switch; difference = switched - control at the end"]
    text += [f"{'run':{width}}{'seeds':>6}{heads}"] if found else []
    for one in found:
        drop, difference = (value(statistics.interval(values)) for values in (one.drop, one.difference))
        unpaired = f"; unpaired seeds {', '.join(map(str, one.unpaired))} left out" if one.unpaired else ""
        text.append(f"{_name(one):{width}}{len(one.seeds):6}{drop:>25}{difference:>25}   {recovered(one)}{unpaired}")
    return "\n".join([*text, *(f"MISSING: {line}" for line in lines)])


def _name(one: Switch) -> str:
    return f"{one.task} {one.variant}, {one.old} to {one.new} at {count(one.frames)}, control {one.control}"


def recovered(one: Switch) -> str:
    """Return how many seeds recovered, and after how many frames, in words."""
    known = one.recovery[~np.isnan(one.recovery)]
    if not len(known):
        return "unknown: the control is no better than the random policy"
    middle = np.sort(known)[(len(known) - 1) // 2]  # the lower median, which is infinite only if most seeds are
    median = f"median {count(middle)} frames" if np.isfinite(middle) else f"median over {count(one.left)} frames"
    lost = len(one.recovery) - len(known)
    left_out = f"; left out: {lost} whose control is no better than the random policy" if lost else ""
    return f"{np.isfinite(known).sum()} of {len(known)} seeds, {median}{left_out}"
