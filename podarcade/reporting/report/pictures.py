"""Pictures that files of runs hold: inline in the page while all together are small."""

import base64
import pathlib
from collections.abc import Collection, Sequence

from podarcade.reporting.report.markup import Markup, element, join, listed, paragraph
from podarcade.reporting.report.measured import measured
from podarcade.reporting.report.reading import CLIP, ReportedRun

BUDGET = 4_500_000  # bytes of all pictures in a page: 6 MB in base 64
SALIENCY = "saliency"
SALIENCY_ENDS = ("-full.png", "-partial.png", ".gif")  # of the files that podarcade diagnose draws beside the arrays
KINDS = {b"GIF87a": "image/gif", b"GIF89a": "image/gif", b"\x89PNG\r\n": "image/png"}


def saliency_files(run: ReportedRun) -> list[pathlib.Path]:
    """Return the pictures of saliency in the folder of a run: strips of both twins and an animation, if they exist."""
    entry = measured(run, SALIENCY)
    stem = entry.path.with_suffix("").name if entry else ""
    return [path for end in SALIENCY_ENDS if entry and _size(path := entry.path.with_name(stem + end))]


def chosen(runs: Sequence[ReportedRun]) -> set[pathlib.Path]:
    """Return the pictures that are inline, from the smallest on, so that as many as possible are."""
    files = [path for run in runs for path in (run.path / CLIP, *saliency_files(run))]
    sizes = {path: size for path in files if (size := _size(path))}
    found, used = set(), 0
    for path, size in sorted(sizes.items(), key=lambda item: item[1]):
        used += size
        if used > BUDGET:
            break
        found.add(path)
    return found


def exists(path: pathlib.Path) -> bool:
    """Return whether a file is there and not empty, whatever it holds."""
    return _size(path) > 0


def image(path: pathlib.Path, alt: str) -> Markup:
    """Return a picture as an element that holds it."""
    content = path.read_bytes()
    kind = KINDS[content[:6]]
    return element("img", src=f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}", alt=alt)


def others(paths: Collection[pathlib.Path]) -> Markup | None:
    """Return the files that are not shown, named; None if there are none."""
    if not paths:
        return None
    names = listed([element("code", str(path)) for path in paths])
    return join(paragraph("Too large for this page, or damaged:"), names)


def _size(path: pathlib.Path) -> int:
    """Return the bytes of a picture, 0 without one; more than `BUDGET` for what is no picture."""
    try:
        with open(path, "rb") as file:
            is_known = file.read(6) in KINDS
        return path.stat().st_size if is_known else BUDGET + 1
    except OSError:
        return 0
