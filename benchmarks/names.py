"""Which environments a benchmark measures."""

from podarcade.envs.environment import environment_names, make
from podarcade.envs.tasks import Task


def environments(tasks: bool, levels: bool = False) -> list[str]:
    """Return names of environments, such as "TetrisEasy".

    Args:
      tasks: return tasks without pixels; otherwise games with pixels.
      levels: return every level; otherwise the first one.
    """
    return [
        name
        for name, (game, level) in environment_names().items()
        if issubclass(game, Task) == tasks and (levels or level == next(iter(game.LEVELS)))
    ]


def chosen(games: list[str], tasks: bool, against: list[str]) -> list[str]:
    """Return the games or tasks to measure: `games`, or all at their first level if that is empty.

    Raises:
      ValueError: a game or a peer does not exist, or not for this kind of environment.
    """
    known = ["gymnax"] if tasks else ["popgym-arcade", "envpool", "ale"]
    for unknown in set(against) - set(known):
        raise ValueError(f"--against={unknown}; expected one of: {', '.join(known)}")
    for name in games:
        if isinstance(make(name).game, Task) != tasks:
            expected = "a task without pixels" if tasks else "a game with pixels, or --tasks"
            raise ValueError(f"--games={name}; expected {expected}")
    return games or environments(tasks)
