"""The working directory of a run, and its config.json."""

import errno
import hashlib
import json
import os
import pathlib
import stat
import sys
from typing import Any

from podarcade.runtime.differences import differences

# A run may resume on other devices, with another limit of skipped steps, other checkpoint intervals or diagnostics.
NOT_COMPARED = ("mesh", "preset_asked", "max_skipped", "checkpoint", "diagnostics")
# Absent in earlier versions, which did just this.
ADDED = {
    "init_from": "", "keep_optimiser": False, "freeze": "", "churn": False, "diagnostics": "", "population": ""
}  # fmt: skip
LENGTH = ("frames", "schedule_frames")  # what differs in a run that is extended
CONFIG = "config.json"
LONGEST_NAME = 255  # bytes of a file name, on nearly every file system


def fingerprint(config: dict[str, Any]) -> str:
    """Return six hexadecimal digits that differ between configurations of different runs."""
    return hashlib.sha256(json.dumps(comparable(config), sort_keys=True).encode()).hexdigest()[:6]


def comparable(config: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a configuration that identifies a run."""
    kept = {key: value for key, value in config.items() if key not in NOT_COMPARED}
    return {key: value for key, value in kept.items() if key not in ADDED or value != ADDED[key]}


def resolve_workdir(workdir: str | os.PathLike) -> pathlib.Path:
    """Return the path of a working directory, with `~` expanded; check that it can be created and written by orbax.

    Nothing is created.

    Raises:
      ValueError: the path cannot be a directory of a run; the message says why and what to do.
    """
    given = f"--workdir={os.fspath(workdir)}"
    try:
        path = pathlib.Path(workdir).expanduser()
    except RuntimeError:  # unknown user, or no home directory
        raise ValueError(f"{given}: no home directory to expand `~` to; give the full path") from None
    try:
        str(path.absolute()).encode("utf-8")
    except UnicodeEncodeError:
        shown = str(path.absolute()).encode("utf-8", "replace").decode()
        encoding = sys.getfilesystemencoding()
        raise ValueError(
            f"the path {shown} has characters that cannot be read in this locale's encoding, {encoding}, and "
            "checkpoints could not be saved; set PYTHONUTF8=1, or choose a --workdir of ASCII characters"
        ) from None
    for folder in reversed([path, *path.parents]):
        _check_folder(folder, given)
    return path


def _check_folder(path: pathlib.Path, given: str) -> None:
    """Raise ValueError if `path` exists and is no directory, or cannot exist."""
    try:
        is_link = stat.S_ISLNK(os.lstat(path).st_mode)
        is_folder = stat.S_ISDIR(os.stat(path).st_mode)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            size = len(os.fsencode(path.name))
            what = f"the name {path.name[:20]}... of {size} bytes is" if size > LONGEST_NAME else "the path is"
            raise ValueError(
                f"{given[:60]}...: {what} longer than the file system allows (usually {LONGEST_NAME} bytes for a "
                "name, 4095 for a path); choose a shorter --workdir"
            ) from None
        if error.errno in (errno.ENOENT, errno.ELOOP) and path.is_symlink():
            raise ValueError(
                f"{given}: {path} is a symbolic link to {os.readlink(path)}, which does not exist; create that "
                "directory, remove the link, or choose another --workdir"
            ) from None
        return  # absent, or not permitted: then the first write reports it
    if not is_folder:
        what = "a symbolic link to a file" if is_link else "a file"
        raise ValueError(f"{given}: {path} is {what}; expected a directory; choose another --workdir")


def holds_run(config: dict[str, Any], workdir: pathlib.Path, may_extend: bool = False) -> bool:
    """Return whether the directory already holds this run; writes nothing.

    Args:
      config: of the run.
      workdir: its directory.
      may_extend: whether a shorter run counts as this one.

    Raises:
      ValueError: the directory holds a run of another configuration, or its config.json is corrupt.
      OSError: config.json cannot be read.
    """
    path = workdir / CONFIG
    if not path.exists():
        return False
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise ValueError(
            f"{path} is corrupt; remove it to resume: the checkpoints record the configuration too"
        ) from None
    saved = extended(saved, config) if may_extend else saved
    if different := differences(comparable(saved), comparable(config)):
        raise ValueError(
            f"{workdir} holds a run of another configuration ({different}); "
            "choose another --workdir, or resume it with the same configuration"
        )
    return True


def extended(saved: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    """Return a saved configuration with the length and the schedules of `config`, where that may extend its run.

    Schedules either span the longer run, or stay complete after the frames of the shorter one.
    """
    if any(name not in saved for name in LENGTH) or config["frames"] <= saved["frames"]:
        return saved
    schedule = saved["schedule_frames"]
    may = config["schedule_frames"] in (schedule, schedule or planned_frames(saved))
    return saved | {name: config[name] for name in LENGTH} if may else saved


def planned_frames(config: dict[str, Any]) -> int:
    """Return the frames of a run: whole calls of the program that make at least `frames` of them."""
    per_call = config["num_envs"] * config["algorithm"]["rollout_length"] * config["updates_per_call"]
    return -(-config["frames"] // per_call) * per_call


def extension(config: dict[str, Any], workdir: pathlib.Path) -> dict[str, int]:
    """Return how a configuration extends the run in a directory that it fits; empty where it does not.

    Returns:
      {"from": frames of the shorter run, "to": of the longer one, "schedule": those that schedules span}.
    """
    path = workdir / CONFIG
    saved = json.loads(path.read_text(encoding="utf-8")) if path.exists() else config
    if saved["frames"] == config["frames"]:
        return {}
    schedule = config["schedule_frames"] or planned_frames(config)
    return {"from": planned_frames(saved), "to": planned_frames(config), "schedule": schedule}


def write_config(config: dict[str, Any], workdir: pathlib.Path) -> None:
    """Write config.json.

    Raises:
      OSError: the directory cannot be written.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    write_json(workdir / CONFIG, config)


def write_json(path: pathlib.Path, content: Any) -> None:
    """Write JSON atomically: after a crash or a power cut the file is either the old or the whole new one."""
    temporary = path.with_suffix(".tmp")
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(json.dumps(content, indent=2) + "\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
