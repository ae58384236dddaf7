r"""Every task without pixels, both twins, with every memory at equal numbers of parameters; five seeds.

python -m podarcade.sweep --config=configs/sweeps/vector_main.py --dry_run
python -m podarcade.sweep --config=configs/sweeps/vector_main.py:frames=2000000,level=hard
python -m podarcade.sweep --config=configs/sweeps/vector_main.py --grid="memory=gru,lru,none game=tmaze"
"""

from podarcade import plugins
from podarcade.configuration import parse_argument
from podarcade.envs.tasks import Task


def get_sweep(argument=""):
    """Yield the cells; arguments: frames of a run, level, and the configuration file."""
    choice = parse_argument(argument, frames="1000000", level="easy", file="configs/ppo.py")
    for game in plugins.names("games"):
        if not issubclass(plugins.find("games", game), Task):
            continue
        for partial in (True, False):
            for memory in plugins.names("memory"):
                yield {
                    "file": choice.file,
                    "game": game,
                    "level": choice.level,
                    "partial": partial,
                    "memory": memory,
                    "preset": "cpu",
                    "match": "parameters",
                    "config.frames": choice.frames,
                    "seeds": 5,
                }
