"""Where an error comes from: the line of user code that is worth showing instead of a traceback."""

import os
import pathlib
import sysconfig
import traceback
from collections.abc import Sequence

PACKAGE = pathlib.Path(__file__).parent
STANDARD_LIBRARY = {pathlib.Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")}
# Installed packages that call user code, or that user code calls, and that are not where its mistake is.
LIBRARIES = {"absl", "chex", "etils", "flax", "gymnasium", "jax", "jaxlib", "matplotlib", "ml_collections", "numpy"} | {
    "optax", "orbax", "rich", "scipy", "tensorstore"
}  # fmt: skip

Place = tuple[str, int | None]  # file and line


def describe(error: BaseException, source: Place | None = None) -> str:
    """Return an error as one line, "FILE:LINE: Type: message".

    The place is the innermost frame of user code, that is, of neither podarcade nor a library; a syntax error has its
    own.

    Args:
      error: the error, with its traceback.
      source: file and line of the code that was called. Its file stands for user code if the traceback has none, as
        for plug-ins of this package, and its line if no frame is in that file.
    """
    frames = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    message = str(error)
    if isinstance(error, SyntaxError) and error.filename:
        frames, message = [(error.filename, error.lineno)], error.msg
    elif source and not {"user", "installed"} & {owner(file) for file, _ in frames}:
        frames = [frame for frame in frames if frame[0] == source[0]] or [source]
    first_line = next((line.strip() for line in message.splitlines() if line.strip()), "")
    return ": ".join(filter(None, [innermost(frames), type(error).__name__, first_line]))


def innermost(frames: Sequence[Place]) -> str:
    """Return "FILE:LINE" of the innermost frame of user code, or else of an installed package or of podarcade."""
    owners = [owner(file) for file, _ in frames]
    for kind in ("user", "installed", "podarcade"):
        if kind in owners:
            file, line = frames[len(owners) - 1 - owners[::-1].index(kind)]
            return f"{_short(file)}:{line}" if line else _short(file)
    return ""


def owner(file: str) -> str:
    """Return whose code a file is: "podarcade", "library", "installed" (another package) or "user"."""
    path = pathlib.Path(os.path.abspath(file))
    if path.is_relative_to(PACKAGE):
        return "podarcade"
    if file.startswith("<"):
        return "library"
    for folder in ("site-packages", "dist-packages"):
        if folder in path.parts:
            package = path.parts[path.parts.index(folder) + 1].removesuffix(".py")
            return "library" if package in LIBRARIES else "installed"
    return "library" if any(path.is_relative_to(folder) for folder in STANDARD_LIBRARY) else "user"


def _short(file: str) -> str:
    """Return a path relative to the working directory if it is inside, else as it is."""
    path = pathlib.Path(file)
    return str(path.relative_to(pathlib.Path.cwd())) if path.is_relative_to(pathlib.Path.cwd()) else file
