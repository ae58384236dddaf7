"""Which environments a benchmark measures by default."""

from podarcade.envs.environment import environment_names
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
