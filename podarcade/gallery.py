"""Draw a gallery of the games, both twins side by side.

    python -m podarcade.gallery --folder=gallery

Writes a contact sheet, gallery.png, with one moment of each game in its full and its partial twin, and an animation of
each. The episode is played at random, without any training: the longest of the best 5 % of many. Tasks without pixels
are drawn as rows of cells, where --games names them.
"""

import functools
import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from podarcade.envs import environment
from podarcade.envs.environment import Environment
from podarcade.envs.tasks import Task
from podarcade.reporting.clips import animation, save_png, side_by_side
from podarcade.runtime import failures

COLUMNS = 5  # games in a row of the contact sheet


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _episode(made: Environment, count: int, steps: int, key: jax.Array):
    """Play `count` environments at random and choose one.

    Returns:
      Its latent states [steps + 1], the number of them in its first episode, and the return of that episode.
    """

    def one(state, key):
        action = made.game.actions.sample(key, count)
        state, timestep = jax.vmap(made.step)(state, action)
        return state, (state, timestep.replace(observation=None))

    reset_key, key = jax.random.split(key)
    state, _ = jax.vmap(made.reset)(jax.random.split(reset_key, count))
    _, (states, timestep) = jax.lax.scan(one, state, jax.random.split(key, steps))
    later = jnp.cumsum(timestep.start, 0) > 0
    returns, length = jnp.where(later, 0, timestep.reward).sum(0), (~later).sum(0)
    good = returns >= jnp.quantile(returns, 0.95)
    chosen = jnp.lexsort((returns, length, good))[-1]
    latents = jax.tree.map(
        lambda first, rest: jnp.concatenate([first[chosen][None], rest[:, chosen]]), state.latent, states.latent
    )
    return latents, 1 + length[chosen], returns[chosen]


def clips(made: Environment, episodes: int, steps: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Return the pictures uint8[n, H, W, 3] of one random episode in the full and the partial twin, and its return."""
    latents, length, total = _episode(made, episodes, steps, jax.random.key(0))
    render = jax.jit(jax.vmap(made.game.render, in_axes=(0, None)))
    full, partial = (np.asarray(render(latents.game, np.asarray(twin)))[: int(length)] for twin in (False, True))
    return full, partial, float(total)


def contact_sheet(pairs: dict[str, tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Return the contact sheet uint8[H, W, 3]: both frames of each game below its name, `COLUMNS` games a row."""
    cells = []
    for name, (full, partial) in pairs.items():
        cells.append(side_by_side(full[None], partial[None], (name, "partial twin"), scale=1)[0])
    height, width = (max(cell.shape[axis] for cell in cells) for axis in (0, 1))
    cells = [
        np.pad(cell, ((0, height - cell.shape[0]), (0, width - cell.shape[1]), (0, 0)), constant_values=248)
        for cell in cells
    ]
    cells += [np.full_like(cells[0], 248)] * (-len(cells) % min(COLUMNS, len(cells)))
    rows = [np.concatenate(cells[row : row + COLUMNS], 1) for row in range(0, len(cells), COLUMNS)]
    return np.concatenate(rows, 0)


def make_flags() -> flags.FlagValues:
    """Return the flags of this command."""
    values = flags.FlagValues()
    options = {"flag_values": values}
    flags.DEFINE_string("folder", "gallery", "folder to write to", **options)
    flags.DEFINE_list("games", [], "names such as TetrisHard; empty: every game with pixels, at easy", **options)
    flags.DEFINE_integer("episodes", 1024, "random episodes to choose from", lower_bound=1, **options)
    flags.DEFINE_integer("frames", 80, "maximum number of frames of an animation", lower_bound=2, **options)
    flags.DEFINE_enum("obs_size", "128", ["128", "256"], "side of the frames in pixels", **options)
    flags.DEFINE_boolean("help", False, "print this help", short_name="h", **options)
    return values


def main(arguments: list[str]) -> int:
    """Run one command line; return the exit code."""
    options = make_flags()
    try:
        if rest := options(arguments)[1:]:
            raise ValueError(f"unexpected argument {rest[0]!r}; expected flags only, as in --games=TetrisHard")
        if options.help:
            print(f"{__doc__}\n{options.get_help()}")
            return 0
        write(options.games, pathlib.Path(options.folder), int(options.obs_size), options.episodes, options.frames)
    except Exception as error:
        failure = failures.classify(error)
        failures.show(failure, error)
        return failure.exit_code
    return 0


def write(names: list[str], folder: pathlib.Path, size: int, episodes: int, frames: int) -> None:
    """Draw games and write the pictures to a folder; the arguments are those of the flags."""
    known = environment.environment_names().items()
    names = names or [name for name, (game, level) in known if level == "easy" and not issubclass(game, Task)]
    made = {name: environment.make(name, obs_size=size) for name in names}
    if blind := [name for name, one in made.items() if not one.has_picture]:
        raise ValueError(f"--games={','.join(blind)}: {blind[0]} has no picture; expected games that can be rendered")
    folder.mkdir(parents=True, exist_ok=True)
    moments = {}
    for name, one in made.items():
        full, partial, total = clips(one, episodes, frames - 1)
        moments[name] = full[2 * len(full) // 3], partial[2 * len(full) // 3]
        clip = side_by_side(full, partial, (f"{name}, full twin", "partial twin"), scale=1)
        animation(clip, folder / f"{name}.gif", scale=1)
        print(f"{folder / name}.gif: {len(full)} frames, return {total:.3f}", flush=True)
    save_png(contact_sheet(moments), folder / "gallery.png")
    print(f"{folder / 'gallery.png'}: {len(moments)} games")


if __name__ == "__main__":
    sys.exit(main(sys.argv))
