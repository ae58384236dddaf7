"""What a run keeps in its working directory besides checkpoints and metrics: config.json and run.json."""

import hashlib
import json
import os
import pathlib
from typing import Any

import ml_collections

from podarcade.runtime.differences import differences

# A run may go on on other devices, with more patience, or with fewer checkpoints.
NOT_COMPARED = ("mesh", "preset_asked", "max_skipped", "checkpoint")


def fingerprint(config: ml_collections.ConfigDict) -> str:
    """Six hexadecimal digits that differ where two runs would."""
    return hashlib.sha256(json.dumps(comparable(config.to_dict()), sort_keys=True).encode()).hexdigest()[:6]


def comparable(config: dict[str, Any]) -> dict[str, Any]:
    """The part of a configuration that makes a run another run."""
    return {key: value for key, value in config.items() if key not in NOT_COMPARED}


def check(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> bool:
    """Whether the directory already holds this run; only looks.

    Raises:
      ValueError: the directory holds a run of another configuration, or its configuration is damaged.
      OSError: its configuration cannot be read.
    """
    path = workdir / "config.json"
    if not path.exists():
        return False
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise ValueError(f"{path} is damaged; remove it, and the run goes on: its checkpoints say what it is") from None
    if told := differences(comparable(before), comparable(config.to_dict())):
        raise ValueError(
            f"{workdir} holds a run of another configuration ({told}); "
            "give another --workdir, or the same configuration to resume it"
        )
    return True


def keep(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
    """Writes config.json.

    Raises:
      OSError: the directory cannot be written.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    write_json(workdir / "config.json", config.to_dict())


def write_json(path: pathlib.Path, content: Any) -> None:
    """Writes JSON so that the file is either the old or the whole new one, after a power cut too."""
    temporary = path.with_suffix(".tmp")
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(json.dumps(content, indent=2) + "\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
