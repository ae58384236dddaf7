"""Contract checks of memory layers and encoders: every violation is one line, found without compiling anything."""

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn

from podarcade import plugins
from podarcade.models.contract import check_encoder, check_memory
from podarcade.models.encoders import Encoder
from podarcade.models.memory import Memory, sizes


class IndRNN(Memory):
    """A layer as a user writes it: rank promotion, no SIZE, no forms."""

    def initial(self, batch):
        return jnp.zeros((batch, self.width), jnp.float32)

    @nn.compact
    def __call__(self, carry, x, start):
        u = self.param("u", nn.initializers.uniform(1.0), (self.width,), jnp.float32)
        inputs = nn.Dense(self.width)(x)

        def step(h, inputs):
            x, start = inputs
            h = nn.relu(x + u * jnp.where(start[:, None], 0.0, h))
            return h, h

        return jax.lax.scan(step, carry, (inputs, start))


class NoInitial(Memory):
    def __call__(self, carry, x, start):
        return carry, x


class NoCall(Memory):
    def initial(self, batch):
        return ()


class Batchless(IndRNN):
    def initial(self, batch):
        return {"h": jnp.zeros((batch, 8)), "count": jnp.zeros(())}


class Alone(NoCall):
    def __call__(self, carry, x, start):
        return x


class Wide(NoCall):
    @nn.compact
    def __call__(self, carry, x, start):
        return carry, nn.Dense(5)(x)


class Half(NoCall):
    def __call__(self, carry, x, start):
        return carry, x.astype(jnp.bfloat16)


class Growing(IndRNN):
    def __call__(self, carry, x, start):
        return jnp.concatenate([carry, x[-1]], axis=-1), x


class Counting(IndRNN):
    def initial(self, batch):
        return {"count": jnp.zeros(batch, jnp.int32), "h": jnp.zeros((batch, 8), jnp.float32)}

    def __call__(self, carry, x, start):
        return {"count": carry["count"] * 1.0, "h": carry["h"]}, x


class Renaming(IndRNN):
    def __call__(self, carry, x, start):
        return (carry, carry), x


class LastStep(NoCall):
    """Right when it acts, wrong when it learns."""

    def __call__(self, carry, x, start):
        return carry, x[-1:]


class KeyMissing(IndRNN):
    def __call__(self, carry, x, start):
        return carry, x + {}["bias"]


class BadProduct(IndRNN):
    def __call__(self, carry, x, start):
        return carry, x @ jnp.zeros((3, 3), jnp.float32)


class Refusing(IndRNN):
    def __call__(self, carry, x, start):
        first, second = carry, x, start
        return first, second


BROKEN = [
    (NoInitial, r"NoInitial does not define initial; expected initial\(batch\) -> carry, see Memory"),
    (NoCall, r"NoCall does not define __call__; expected __call__\(carry, x, start\) -> \(carry, y\), see Memory"),
    (
        Batchless,
        r"Batchless.initial\(3\) returned float32\[\] at \['count'\]; expected arrays whose first axis is the batch, 3",
    ),
    (Alone, r"Alone.__call__ returned float32\[1, 3, 8\]; expected a pair \(carry, y\)"),
    (Wide, r"Wide.__call__ returned y float32\[1, 3, 5\] for x float32\[1, 3, 8\]; expected the shape and dtype"),
    (Half, r"Half.__call__ returned y bfloat16\[1, 3, 8\] for x float32\[1, 3, 8\]; expected the shape and dtype"),
    (Growing, r"Growing.__call__ returned carry as float32\[3, 16\]; expected float32\[3, 8\], as in initial"),
    (Counting, r"Counting.__call__ returned carry\['count'\] as float32\[3\]; expected int32\[3\], as in initial"),
    (
        Renaming,
        r"returned carry \(float32\[3, 8\], float32\[3, 8\]\); expected float32\[3, 8\], as in initial",
    ),
    (LastStep, r"LastStep.__call__ returned y float32\[1, 3, 8\] for x float32\[4, 3, 8\]; expected the shape"),
    (KeyMissing, r"KeyMissing.__call__ failed: \S+test_models_contract.py:\d+: KeyError: 'bias'"),
    (BadProduct, r"BadProduct.__call__ failed: \S+test_models_contract.py:\d+: TypeError: dot_general requires"),
    (Refusing, r"Refusing.__call__ failed: \S+test_models_contract.py:\d+: ValueError: too many values to unpack"),
]


@pytest.mark.parametrize(("memory", "message"), BROKEN, ids=lambda value: getattr(value, "__name__", ""))
def test_a_broken_memory_is_reported_in_one_line(memory, message):
    with pytest.raises(ValueError, match=message) as error:
        check_memory(memory(width=8))
    assert len(str(error.value).splitlines()) == 1


def test_the_reported_line_is_the_line_of_the_error():
    with pytest.raises(ValueError) as error:
        check_memory(KeyMissing(width=8))
    file, line = str(error.value).split(": ")[1].rsplit(":", 1)
    with open(file, encoding="utf-8") as source:
        assert '{}["bias"]' in source.read().splitlines()[int(line) - 1]


def test_rank_promotion_is_allowed_in_a_memory():
    with jax.numpy_rank_promotion("allow"):
        check_memory(IndRNN(width=8))


@pytest.mark.parametrize("name", plugins.names("memory"))
def test_every_memory_keeps_the_contract(name):
    with jax.numpy_rank_promotion("allow"):
        check_memory(plugins.find("memory", name)())


def test_a_layers_own_message_about_its_options_is_kept():
    with pytest.raises(ValueError) as error:
        check_memory(plugins.find("memory", "s5")(states=3))
    assert str(error.value) == "memory.states=3; expected a multiple of 2 at memory.blocks=1"


def test_a_memory_without_size_says_how_to_declare_it():
    with pytest.raises(ValueError, match=r'IndRNN does not define SIZE.*SIZE: ClassVar\[str\] = "states".*match=width'):
        sizes.matched_size(IndRNN, 64)


class Constant(IndRNN):
    """Its SIZE does not change its number of parameters."""

    SIZE = "states"
    states: int = 0


def test_a_size_without_effect_is_an_error():
    with (
        jax.numpy_rank_promotion("allow"),
        pytest.raises(ValueError, match="parameters of Constant does not depend on states"),
    ):
        sizes.matched_size(Constant, 64)


class Flat(Encoder):
    @nn.compact
    def __call__(self, frames):
        return nn.Dense(4)(frames.reshape(-1).astype(jnp.float32))


class Sixteen(Encoder):
    def __call__(self, frames):
        return frames.reshape(len(frames), -1).astype(jnp.bfloat16)


class Typed(Encoder):
    def __call__(self, frames):
        assert frames.dtype == jnp.uint8, "bytes only"
        return frames.reshape(len(frames), -1).astype(jnp.float32)


class Nothing(Encoder):
    pass


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        (
            Flat,
            r"Flat.__call__ returned float32\[4\] for frames uint8\[3, 128, 128, 3\]; expected float32\[3, features\]",
        ),
        (
            Sixteen,
            r"Sixteen.__call__ returned bfloat16\[3, 49152\] for frames uint8\[3, 128, 128, 3\]; expected float32",
        ),
        (Typed, r"Typed.__call__ failed: \S+test_models_contract.py:\d+: AssertionError: bytes only"),
        (Nothing, r"Nothing does not define __call__; expected __call__\(frames\) -> features, see Encoder"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_broken_encoder_is_reported_in_one_line(encoder, message):
    with pytest.raises(ValueError, match=message) as error:
        check_encoder(encoder())
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("side", [128, 256])
@pytest.mark.parametrize("name", plugins.names("encoders"))
def test_every_encoder_keeps_the_contract(name, side):
    check_encoder(plugins.find("encoders", name)(), side)


def test_an_unsupported_side_is_the_encoders_own_message():
    with pytest.raises(ValueError) as error:
        check_encoder(plugins.find("encoders", "patch")(), 64)
    assert str(error.value) == "frames of 64 pixels; expected one of: 128, 256"
