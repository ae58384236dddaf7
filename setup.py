"""Requirements and extras. Tool settings are in pyproject.toml."""

from pathlib import Path

from setuptools import find_packages, setup

setup(
    name="podarcade",
    version="0.1.0",
    description="A Podracer trainer in JAX for memory under partial observability, with the POPGym Arcade games",
    long_description=(Path(__file__).parent / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.11",
    packages=find_packages(include=["podarcade", "podarcade.*"]),
    install_requires=[
        # 0.10.2 is the newest for Python 3.11, and the oldest with the shard_map that we rely on.
        "jax>=0.10.2",
        "jaxlib>=0.10.2",
        "flax>=0.12.8",
        "optax>=0.2.8",
        # The v1 interface: 0.12.4 restores sharded keys on this jax, 1.0 moves the interface.
        "orbax-checkpoint>=0.12.4,<1",
        "tensorboardX>=2.6.5",
        "absl-py>=2",
        "ml-collections>=1.1",
        "numpy>=2",
        # Encodes the animated picture of a run; flax already brings rich, which draws the console.
        "pillow>=10",
        "rich>=13",
    ],
    extras_require={
        "cuda12": ["jax[cuda12]"],
        "cuda13": ["jax[cuda13]"],
        "tpu": ["jax[tpu]"],
        "bench": ["matplotlib"],
        "gym": ["gymnasium>=1.1"],
        "plots": ["matplotlib"],
        "slurm": ["submitit"],
        "wandb": ["wandb"],
        "dev": ["pytest>=8", "pytest-timeout", "pytest-xdist", "hypothesis", "ruff", "gymnasium>=1.1"],
    },
)
