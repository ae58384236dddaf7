"""CartPole."""

import dataclasses
import functools
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from podarcade.envs.games import Game
from podarcade.envs.rendering import canvas, sprites

GRAVITY, TOTAL_MASS, POLE_MASS, HALF_LENGTH = 9.8, 1.1, 0.1, 0.5
FORCE, SECONDS = 10.0, 0.02
POSITION_LIMIT, ANGLE_LIMIT = 2.4, 12 * 2 * np.pi / 360
START = 0.05  # each variable starts uniformly between minus and plus this

PAGE, CART, POLE = (51, 51, 51), (245, 74, 140), (191, 120, 69)
GROUND, ARROW, SCORE, TITLE, TRACK, TICK = (
    (96, 96, 96),
    (204, 204, 204),
    (0, 255, 128),
    (74, 214, 247),
    (70, 70, 70),
    (140, 140, 140),
)

SIDE, CORNER = 96, 16  # of the panel
TOP, HEIGHT = 40, 40  # the rows of the page in which cart and pole move
CART_TOP, CART_WIDTH, CART_HEIGHT = 24, 32, 16  # within them
POLE_LENGTH, POLE_WIDTH = 32, 6
ARROW_ROW, ARROW_SIDE = 86, 24
GAUGE_HEIGHT, CART_GAUGE_ROW, POLE_GAUGE_ROW, GAUGE_MOST = 5, 20, 28, 5.875
LEVELS_OF_SPEED = np.exp(np.arange(1, 6) / 2) - 1  # where floor(2 ln(1 + speed)) rises: 0.65, 1.72, 3.48, 6.39, 11.18


@struct.dataclass
class CartPoleState:
    """24 bytes."""

    position: jax.Array  # float32[] of the cart, to the right
    velocity: jax.Array  # float32[]
    angle: jax.Array  # float32[] of the pole, radians, leaning to the right
    spin: jax.Array  # float32[] radians per second
    time: jax.Array  # int32[]
    score: jax.Array  # int32[] steps paid


@dataclasses.dataclass(frozen=True)
class CartPole(Game):
    """A pole stands on a cart; pushing the cart must keep both within bounds.

    With T = `max_steps`:

    - start: position, velocity, angle and spin are independent and uniform on [-0.05, 0.05).
    - dynamics: with force F, angle θ, spin w, q = (F + 0.05 w² sin θ) / 1.1 and
      α = (9.8 sin θ - q cos θ) / (0.5 (4/3 - 0.1 cos² θ / 1.1)), the cart accelerates by q - 0.05 α cos θ / 1.1
      and the pole by α; explicit Euler steps of 0.02 s, positions by the old velocities.
    - frame: the cart and its pole; two arrows for the signs and coarse sizes, floor(2 ln(1 + speed)), of
      the cart's velocity (left) and the pole's spin (right); two gauges that show them finely as bars
      from the centre, in the cart's and the pole's colour. All edges are shaded to 1/256 of a pixel: the
      frame tells each variable to better than 1/500 of its unit. The score on top counts the steps paid: the time.
    - action: 2 pushes to the left with 10 N, 3 to the right; any other does not push.
    - reward: 1 / T for each step, the last included.
    - end: |position| > 2.4 or |angle| > 12 degrees; truncated after T steps. Returns lie in [8 / T, 1].
    - partial twin: after time 0 cart, pole and gauges are hidden; the arrows and the score stay.
    - reward memory length: O(n), the position is the sum of all velocities since the first frame.

    Published rules differ: there are no gauges, and cart and pole are drawn in whole pixels, so that the full
    frame aliases; the end is noticed one step late: the step after the one that leaves the bounds, or after
    step T, pays nothing and ends the episode, whatever its action.
    """

    max_steps: int = 200

    LEVELS: ClassVar[dict[str, dict[str, Any]]] = {
        "easy": {"max_steps": 200},
        "medium": {"max_steps": 400},
        "hard": {"max_steps": 600},
    }
    RETURNS: ClassVar[tuple[float, float]] = (0.0, 1.0)
    WORDS: ClassVar[str] = "CARTPOLE"  # below the picture

    def reset(self, key: jax.Array) -> CartPoleState:
        """key -> a cart near the centre and a pole near upright."""
        start = jax.random.uniform(key, (4,), jnp.float32, -START, START)
        return CartPoleState(*start, time=jnp.int32(0), score=jnp.int32(0))

    def step(self, state: CartPoleState, action: jax.Array, key: jax.Array):
        """(state, int32[], key) -> (state, reward, terminal)."""
        force = jnp.where(action == 2, -FORCE, jnp.where(action == 3, FORCE, 0.0))
        sine, cosine = jnp.sin(state.angle), jnp.cos(state.angle)
        moment = POLE_MASS * HALF_LENGTH
        push = (force + moment * state.spin**2 * sine) / TOTAL_MASS
        turn = (GRAVITY * sine - push * cosine) / (HALF_LENGTH * (4 / 3 - POLE_MASS * cosine**2 / TOTAL_MASS))
        new = state.replace(
            position=state.position + SECONDS * state.velocity,
            velocity=state.velocity + SECONDS * (push - moment * turn * cosine / TOTAL_MASS),
            angle=state.angle + SECONDS * state.spin,
            spin=state.spin + SECONDS * turn,
            time=state.time + 1,
        )
        if self.rules == "strict":
            over, paid = _fallen(new), jnp.asarray(True)
        else:
            over = _fallen(state) | (state.time >= self.max_steps)
            paid = ~over
        new = new.replace(score=state.score + paid)
        return new, jnp.where(paid, 1 / self.max_steps, 0.0).astype(jnp.float32), over

    def draw(self, state: CartPoleState, partial: jax.Array) -> jax.Array:
        """(state, bool[]) -> uint8[obs_size, obs_size, 3]."""
        strict, scale = self.rules == "strict", self.obs_size // canvas.GRID
        shown = ~partial | (state.time == 0)
        page, arrows = _page(self.WORDS, strict, scale), _arrows(scale)
        speeds = jnp.stack([_arrow(state.velocity), len(arrows) // 2 + _arrow(state.spin)])
        empty = jnp.full(1, len(arrows) - 1)
        parts = [
            canvas.number(state.score, PAGE, SCORE, scale),
            canvas.Part(TOP, CORNER, _scene(state, shown, page, strict, scale)),
            canvas.Part(
                ARROW_ROW, CORNER, canvas.tiles(arrows, jnp.concatenate([speeds[:1], empty, empty, speeds[1:]])[None])
            ),
        ]
        if strict:
            for speed, row, colour in ((state.velocity, CART_GAUGE_ROW, CART), (state.spin, POLE_GAUGE_ROW, POLE)):
                parts.append(_gauge(speed, shown, page, row, colour, scale))
        return canvas.compose(page, parts)


def _fallen(state):
    return (jnp.abs(state.position) > POSITION_LIMIT) | (jnp.abs(state.angle) > ANGLE_LIMIT)


def _arrow(speed):
    """int32[]: which of the twelve arrows of its kind; exactly zero counts as to the left."""
    level = jnp.sum(jnp.abs(speed) >= LEVELS_OF_SPEED.astype(np.float32), dtype=jnp.int32)
    return 2 * level + (speed > 0)


def _fixed(value, most, bits):
    """A float as an int32 with `bits` binary places: a product with a power of two is exact in any program."""
    return jnp.round(jnp.clip(value, -most, most) * 2**bits).astype(jnp.int32)


def _columns(scale):
    """int32[3 * SIDE * scale]: the pixel each byte of a row of the panel belongs to."""
    return np.arange(SIDE * scale, dtype=np.int32).repeat(3)


def _cut(page, row, height, scale):
    """The panel's part of some rows of the page, uint8[height * scale, 3 * SIDE * scale]."""
    return page[row * scale : (row + height) * scale, 3 * CORNER * scale : 3 * (CORNER + SIDE) * scale]


def _scene(state, shown, page, strict, scale):
    """Cart and pole, uint8[HEIGHT * scale, 3 * SIDE * scale]; lengths are in 1/256 of a pixel.

    The pole is sheared, not rotated, its tip aside by its angle times its length: within 15
    degrees one cannot see the difference, and each row needs only sums.
    """
    full, half = canvas.FULL, canvas.FULL // 2
    # 40 / 3 logical pixels make one unit of length.
    middle = SIDE * scale * half + _fixed(state.position, 2.6, 12) * 5 * scale // 6
    if not strict:
        middle = middle // full * full
    centre = _columns(scale)[None] * full + half
    rows = np.arange(HEIGHT * scale, dtype=np.int32)[:, None]
    on_cart = (rows >= CART_TOP * scale) & (rows < (CART_TOP + CART_HEIGHT) * scale)
    pivot = (2 * CART_TOP + CART_HEIGHT) * scale // 2
    above = 2 * pivot - 2 * rows - 1  # twice the height of a pixel's centre over the pivot
    on_pole = (above > 0) & (above < 2 * POLE_LENGTH * scale)
    lean = above * _fixed(state.angle, 0.4, 12) >> 5
    aside = jnp.abs(centre - middle)

    def cover(distance, width):
        inside = width * scale * half - distance  # of the edge
        return jnp.clip(inside + half, 0, full) if strict else jnp.where(inside >= 0, full, 0)

    visible = shown.astype(jnp.int32)
    cart = cover(aside, CART_WIDTH) * on_cart * visible
    pole = cover(jnp.abs(centre - middle - lean), POLE_WIDTH) * on_pole * visible
    background = _cut(page, TOP, HEIGHT, scale)
    with_cart = canvas.blend(background, _bytes(CART, scale), cart)
    return canvas.blend(with_cart, _bytes(POLE, scale), pole)


def _bytes(colour, scale):
    """uint8[1, 3 * SIDE * scale]: a row of the panel in one colour."""
    return np.tile(np.array(colour, np.uint8), SIDE * scale)[None]


def _gauge(speed, shown, page, row, colour, scale):
    """A bar from the centre to the right or to the left, eight logical pixels for a unit of speed."""
    length = _fixed(speed, GAUGE_MOST, 11) * scale * shown
    middle = SIDE * scale * canvas.FULL // 2
    edge = _columns(scale) * canvas.FULL
    coverage = canvas.overlap(middle + jnp.minimum(length, 0), middle + jnp.maximum(length, 0), edge)
    patch = canvas.blend(_cut(page, row, GAUGE_HEIGHT, scale), _bytes(colour, scale), coverage[None])
    return canvas.Part(row, CORNER, patch)


@functools.cache
def _page(words: str, gauges: bool, scale: int) -> np.ndarray:
    """The page without cart, pole, arrows and score, as rows of bytes."""
    page = canvas.page(PAGE, PAGE, SIDE, words, TITLE)
    ground = TOP + CART_TOP + CART_HEIGHT
    page[ground : ground + 2, CORNER : CORNER + SIDE] = GROUND
    if gauges:
        for row in (CART_GAUGE_ROW, POLE_GAUGE_ROW):
            page[row : row + GAUGE_HEIGHT, CORNER : CORNER + SIDE] = TRACK
            page[row - 1 : row + GAUGE_HEIGHT + 1, CORNER + SIDE // 2 - 1 : CORNER + SIDE // 2 + 1] = TICK
    return canvas.rows(canvas.enlarge(page, scale))


@functools.cache
def _arrows(scale: int) -> np.ndarray:
    """uint8[25, ...]: for cart and for pole six sizes to the left and to the right; the last is empty."""
    coverages = []
    for shape in (sprites.straight_arrow, sprites.turning_arrow):
        for size in range(len(LEVELS_OF_SPEED) + 1):
            right = shape(size, ARROW_SIDE, scale)
            coverages += [right[:, ::-1], right]
    coverages.append(np.zeros_like(coverages[0]))
    coverage = np.stack(coverages)[..., None]
    return np.round(np.array(PAGE) * (1 - coverage) + np.array(ARROW) * coverage).astype(np.uint8)
