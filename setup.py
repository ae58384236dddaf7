"""Requirements, extras, and what is installed. Tool settings are in pyproject.toml."""

import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "podarcade" / "__init__.py").read_text(encoding="utf-8"))[1]


class BuildWithConfigs(build_py):
    """Install configs/ as podarcade/configs/, so that `--config=configs/pqn_lru.py` works from any directory.

    A mapping in `package_dir` would do the same, but would turn an editable install from a path into an import hook,
    and a folder called podarcade in the working directory (a clone) would then be imported instead of the package.
    """

    def run(self):
        """Copy the modules, then the experiments; an editable install reads both where they are."""
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib) / "podarcade" / "configs"
            shutil.rmtree(target, ignore_errors=True)  # of an earlier build
            shutil.copytree(ROOT / "configs", target, ignore=shutil.ignore_patterns("__pycache__"))


setup(
    name="podarcade",
    version=VERSION,
    description="A Podracer trainer in JAX for memory under partial observability, with the POPGym Arcade games",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.11",
    package_dir={"": "."},  # with one root, an editable install is a path, not an import hook
    packages=find_packages(include=["podarcade", "podarcade.*"]),
    package_data={"podarcade.envs": ["bounds.json"], "podarcade.reporting.report": ["page.css", "page.js"]},
    cmdclass={"build_py": BuildWithConfigs},
    entry_points={"console_scripts": ["podarcade = podarcade.__main__:main"]},
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
        "scipy>=1.13",
        "matplotlib>=3.9",
        # Encodes the animated picture of a run; flax already brings rich, which draws the console.
        "pillow>=10",
        "rich>=13",
    ],
    extras_require={
        "cuda12": ["jax[cuda12]"],
        "cuda13": ["jax[cuda13]"],
        "tpu": ["jax[tpu]"],
        "gym": ["gymnasium>=1.1"],
        "gymnax": ["gymnax>=1,<2", "six"],  # gymnax imports six without asking for it
        # Agents as safetensors and ONNX, metrics as Parquet. jax2onnx asks for an orbax older than ours, so that it is
        # installed by hand: pip install --no-deps jax2onnx
        "export": ["safetensors", "pyarrow", "onnx", "onnx-ir", "onnxruntime"],
        "search": ["optuna"],
        "wandb": ["wandb"],
        "slurm": ["submitit>=1.5"],  # submits sweeps as arrays
        "dev": [
            "pytest>=8",
            "pytest-timeout",
            "pytest-xdist",
            "hypothesis",
            "ruff",
            "gymnasium>=1.1",
            "safetensors",
            "pyarrow",
            "pandas",
            "submitit>=1.5",
            "setuptools>=70.1",
        ],
    },
)
