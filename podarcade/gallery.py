"""The door to the gallery: pictures of the games, both twins side by side.

    python -m podarcade.gallery --folder=gallery

One contact sheet, gallery.png, with a moment of every game as its full and its partial twin show it, and one animation
of each. A random player plays many episodes; shown is the longest of the best: no training is needed.
"""

import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from podarcade.envs import environment
from podarcade.envs.environment import Environment
from podarcade.reporting.clips import animation, save_png, side_by_side

FOLDER = flags.DEFINE_string("folder", "gallery", "where the pictures are written")
GAMES = flags.DEFINE_list("games", [], "names such as TetrisHard; none for the easy level of every game")
EPISODES = flags.DEFINE_integer("episodes", 1024, "random episodes that the one shown is chosen from", lower_bound=1)
FRAMES = flags.DEFINE_integer("frames", 80, "frames in an animation", lower_bound=2)
SIZE = flags.DEFINE_enum("obs_size", "128", ["128", "256"], "side of the frames")
COLUMNS = 5  # of the contact sheet


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _episode(made: Environment, count: int, steps: int, key: jax.Array):
    """Latent states [steps + 1] of one of `count` random plays, how many of them are its first episode, its return."""

    def one(state, key):
        action = jax.random.randint(key, (count,), 0, made.game.NUM_ACTIONS)
        state, time_step = jax.vmap(made.step)(state, action)
        return state, (state, time_step.replace(observation=None))

    reset_key, key = jax.random.split(key)
    state, _ = jax.vmap(made.reset)(jax.random.split(reset_key, count))
    _, (states, time_step) = jax.lax.scan(one, state, jax.random.split(key, steps))
    later = jnp.cumsum(time_step.start, 0) > 0
    returns, length = jnp.where(later, 0, time_step.reward).sum(0), (~later).sum(0)
    good = returns >= jnp.quantile(returns, 0.95)
    chosen = jnp.lexsort((returns, length, good))[-1]
    latents = jax.tree.map(
        lambda first, rest: jnp.concatenate([first[chosen][None], rest[:, chosen]]), state.latent, states.latent
    )
    return latents, 1 + length[chosen], returns[chosen]


def clips(name: str, size: int, episodes: int, steps: int) -> tuple[np.ndarray, np.ndarray, float]:
    """(full, partial, return): frames uint8[n, S, S, 3] of one random episode as each twin shows it."""
    made = environment.make(name, obs_size=size)
    latents, length, total = _episode(made, episodes, steps, jax.random.key(0))
    draw = jax.jit(jax.vmap(made.game.draw, in_axes=(0, None)))
    full, partial = (np.asarray(draw(latents.game, np.asarray(twin)))[: int(length)] for twin in (False, True))
    return full, partial, float(total)


def contact_sheet(pairs: dict[str, tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """uint8[H, W, 3]: two frames of each game below its name, `COLUMNS` games in a row."""
    cells = []
    for name, (full, partial) in pairs.items():
        cells.append(side_by_side(full[None], partial[None], (name, "partial twin"), scale=1)[0])
    cells += [np.full_like(cells[0], 248)] * (-len(cells) % min(COLUMNS, len(cells)))
    rows = [np.concatenate(cells[row : row + COLUMNS], 1) for row in range(0, len(cells), COLUMNS)]
    return np.concatenate(rows, 0)


def main(_) -> None:
    """Plays, draws, writes."""
    names = GAMES.value or [name for name, (_, level) in environment.environment_names().items() if level == "easy"]
    folder, moments = pathlib.Path(FOLDER.value), {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            full, partial, total = clips(name, int(SIZE.value), EPISODES.value, FRAMES.value - 1)
            moments[name] = full[2 * len(full) // 3], partial[2 * len(full) // 3]
            captions = f"{name}, full twin", "partial twin"
            clip = side_by_side(full, partial, captions, scale=1)
            animation(clip, folder / f"{name}.gif", scale=1)
            print(f"{folder / name}.gif: {len(full)} frames, return {total:.3f}", flush=True)
        save_png(contact_sheet(moments), folder / "gallery.png")
    except (ValueError, OSError) as error:
        raise SystemExit(f"error: {error}") from None
    print(f"{folder / 'gallery.png'}: {len(names)} games")


if __name__ == "__main__":
    app.run(main)
