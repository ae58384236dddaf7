"""CartPole: balance a pole on a cart."""

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
START = 0.05  # initial variables are uniform on [-START, START)

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
TOP, HEIGHT = 40, 40  # of the scene with cart and pole, in rows of the page
CART_TOP, CART_WIDTH, CART_HEIGHT = 24, 32, 16  # of the cart within the scene
POLE_LENGTH, POLE_WIDTH = 32, 6
ARROW_ROW, ARROW_SIDE = 86, 24
GAUGE_HEIGHT, CART_GAUGE_ROW, POLE_GAUGE_ROW, GAUGE_MOST = 5, 20, 28, 5.875
LEVELS_OF_SPEED = np.exp(np.arange(1, 6) / 2) - 1  # thresholds of floor(2 ln(1 + speed)): 0.65, 1.72, 3.48, 6.39, 11.18


@struct.dataclass
class CartPoleState:
    """State of CartPole: 24 bytes."""

    position: jax.Array  # float32[] of the cart, positive to the right
    velocity: jax.Array  # float32[]
    angle: jax.Array  # float32[] of the pole in radians, positive to the right
    spin: jax.Array  # float32[] of the pole in radians per second
    time: jax.Array  # int32[]
    score: jax.Array  # int32[] steps paid


@dataclasses.dataclass(frozen=True)
class CartPole(Game):
    """Balance a pole on a cart, and keep the cart within bounds, by pushing the cart.

    With T = `max_steps`:

    - start: position, velocity, angle and spin are independent and uniform on [-0.05, 0.05).
    - dynamics: with force F, angle θ, spin w, q = (F + 0.05 w² sin θ) / 1.1 and
      α = (9.8 sin θ - q cos θ) / (0.5 (4/3 - 0.1 cos² θ / 1.1)), the cart accelerates by q - 0.05 α cos θ / 1.1
      and the pole by α; explicit Euler steps of 0.02 s, with positions advanced by the old velocities.
    - frame: the cart and its pole; two arrows for the signs and coarse magnitudes, floor(2 ln(1 + speed)), of the
      cart's velocity (left) and the pole's spin (right); two gauges that show them finely as bars from the centre, in
      the cart's and the pole's colour. All edges are shaded to 1/256 of a pixel, so that the frame determines each
      variable to better than 1/500 of its unit. The score on top counts the steps paid, that is the time.
    - action: 2 pushes to the left with 10 N, 3 to the right; all others do not push.
    - reward: 1 / T for each step, the last included.
    - end: |position| > 2.4 or |angle| > 12 degrees; truncated after T steps. Returns are in [8 / T, 1].
    - partial twin: after time 0 it hides cart, pole and gauges, and shows the arrows and the score.
    - memory: the position is the sum of all velocities since the first frame, and a filter over the arrows balances for
      ever. It is hardly needed on the easy level: memoryless policies on the partial frame have return 0.984 on the
      easy level, 0.815 on the medium and 0.563 on the hard one (strict).

    Published rules: no gauges, and cart and pole are drawn in whole pixels, so that different states share a full
    frame; the end is detected one step late: the step after the one that leaves the bounds, or after step T, pays
    nothing and ends the episode, whatever its action.
    """

    max_steps: int = 200

    LEVELS: ClassVar[dict[str, dict[str, Any]]] = {
        "easy": {"max_steps": 200},
        "medium": {"max_steps": 400},
        "hard": {"max_steps": 600},
    }
    RETURNS: ClassVar[tuple[float, float]] = (0.0, 1.0)
    WORDS: ClassVar[str] = "CARTPOLE"  # title of the page

    def reset(self, key: jax.Array) -> CartPoleState:
        """Return a cart near the centre with a pole near upright."""
        start = jax.random.uniform(key, (4,), jnp.float32, -START, START)
        return CartPoleState(*start, time=jnp.int32(0), score=jnp.int32(0))

    def step(self, state: CartPoleState, action: jax.Array, key: jax.Array):
        """Return (state, reward, terminal)."""
        force = jnp.where(action == 2, -FORCE, jnp.where(action == 3, FORCE, 0.0))
        new = push(state, force).replace(time=state.time + 1)
        if self.rules == "strict":
            over, paid = fallen(new), jnp.asarray(True)
        else:
            over = fallen(state) | (state.time >= self.max_steps)
            paid = ~over
        new = new.replace(score=state.score + paid)
        return new, jnp.where(paid, 1 / self.max_steps, 0.0).astype(jnp.float32), over

    def draw(self, state: CartPoleState, partial: jax.Array) -> jax.Array:
        """Return the frame, uint8[obs_size, obs_size, 3]."""
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


def push(state: CartPoleState, force: jax.Array) -> CartPoleState:
    """Return cart and pole after one explicit Euler step under a force on the cart, float32[] in N."""
    sine, cosine = jnp.sin(state.angle), jnp.cos(state.angle)
    moment = POLE_MASS * HALF_LENGTH
    thrust = (force + moment * state.spin**2 * sine) / TOTAL_MASS
    turn = (GRAVITY * sine - thrust * cosine) / (HALF_LENGTH * (4 / 3 - POLE_MASS * cosine**2 / TOTAL_MASS))
    return state.replace(
        position=state.position + SECONDS * state.velocity,
        velocity=state.velocity + SECONDS * (thrust - moment * turn * cosine / TOTAL_MASS),
        angle=state.angle + SECONDS * state.spin,
        spin=state.spin + SECONDS * turn,
    )


def fallen(state: CartPoleState) -> jax.Array:
    """Return whether the cart has left its track or the pole has fallen, bool[]."""
    return (jnp.abs(state.position) > POSITION_LIMIT) | (jnp.abs(state.angle) > ANGLE_LIMIT)


def _arrow(speed):
    """Return the index of an arrow among the twelve of its kind, int32[]; zero speed points to the left."""
    level = jnp.sum(jnp.abs(speed) >= LEVELS_OF_SPEED.astype(np.float32), dtype=jnp.int32)
    return 2 * level + (speed > 0)


def _fixed(value, most, bits):
    """Round a float to int32 with `bits` binary places: products with powers of two are exact in every program."""
    return jnp.round(jnp.clip(value, -most, most) * 2**bits).astype(jnp.int32)


def _columns(scale):
    """Return the pixel of each byte in a row of the panel, int32[3 * SIDE * scale]."""
    return np.arange(SIDE * scale, dtype=np.int32).repeat(3)


def _cut(page, row, height, scale):
    """Return the panel's part of some rows of the page, uint8[height * scale, 3 * SIDE * scale]."""
    return page[row * scale : (row + height) * scale, 3 * CORNER * scale : 3 * (CORNER + SIDE) * scale]


def _scene(state, shown, page, strict, scale):
    """Draw cart and pole, uint8[HEIGHT * scale, 3 * SIDE * scale]; lengths are in 1/256 of a pixel.

    The pole is sheared, not rotated: its tip is displaced by angle times length. Up to 15 degrees the difference is
    invisible, and each row needs only sums.
    """
    full, half = canvas.FULL, canvas.FULL // 2
    # One unit of length is 40 / 3 logical pixels.
    middle = SIDE * scale * half + _fixed(state.position, 2.6, 12) * 5 * scale // 6
    if not strict:
        middle = middle // full * full
    centre = _columns(scale)[None] * full + half
    rows = np.arange(HEIGHT * scale, dtype=np.int32)[:, None]
    on_cart = (rows >= CART_TOP * scale) & (rows < (CART_TOP + CART_HEIGHT) * scale)
    pivot = (2 * CART_TOP + CART_HEIGHT) * scale // 2
    above = 2 * pivot - 2 * rows - 1  # twice the height of a pixel's centre above the pivot
    on_pole = (above > 0) & (above < 2 * POLE_LENGTH * scale)
    lean = above * _fixed(state.angle, 0.4, 12) >> 5
    aside = jnp.abs(centre - middle)

    def cover(distance, width):
        inside = width * scale * half - distance  # distance to the edge
        return jnp.clip(inside + half, 0, full) if strict else jnp.where(inside >= 0, full, 0)

    visible = shown.astype(jnp.int32)
    cart = cover(aside, CART_WIDTH) * on_cart * visible
    pole = cover(jnp.abs(centre - middle - lean), POLE_WIDTH) * on_pole * visible
    background = _cut(page, TOP, HEIGHT, scale)
    with_cart = canvas.blend(background, _bytes(CART, scale), cart)
    return canvas.blend(with_cart, _bytes(POLE, scale), pole)


def _bytes(colour, scale):
    """Return a row of the panel in one colour, uint8[1, 3 * SIDE * scale]."""
    return np.tile(np.array(colour, np.uint8), SIDE * scale)[None]


def _gauge(speed, shown, page, row, colour, scale):
    """Draw a bar from the centre to the right or to the left, eight logical pixels for a unit of speed."""
    length = _fixed(speed, GAUGE_MOST, 11) * scale * shown
    middle = SIDE * scale * canvas.FULL // 2
    edge = _columns(scale) * canvas.FULL
    coverage = canvas.overlap(middle + jnp.minimum(length, 0), middle + jnp.maximum(length, 0), edge)
    patch = canvas.blend(_cut(page, row, GAUGE_HEIGHT, scale), _bytes(colour, scale), coverage[None])
    return canvas.Part(row, CORNER, patch)


@functools.cache
def _page(words: str, gauges: bool, scale: int) -> np.ndarray:
    """Return the page without cart, pole, arrows and score, as rows of bytes."""
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
    """Return uint8[25, ...]: arrows of six sizes to the left and right, for cart and for pole, and an empty one."""
    coverages = []
    for shape in (sprites.straight_arrow, sprites.turning_arrow):
        for size in range(len(LEVELS_OF_SPEED) + 1):
            right = shape(size, ARROW_SIDE, scale)
            coverages += [right[:, ::-1], right]
    coverages.append(np.zeros_like(coverages[0]))
    coverage = np.stack(coverages)[..., None]
    return np.round(np.array(PAGE) * (1 - coverage) + np.array(ARROW) * coverage).astype(np.uint8)
