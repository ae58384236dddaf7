"""The sections of a report, in their order: a further one is a function, and a line here."""

import functools
from collections.abc import Callable, Sequence

from podarcade.reporting.report import (
    Section,
    churn,
    configuration,
    contamination,
    curves,
    episodes,
    gap,
    in_training,
    overview,
    probes,
    recall,
    saliency,
    scalars,
    throughput,
    twins,
)
from podarcade.reporting.report.folders import Broken
from podarcade.reporting.report.reading import ReportedRun

SectionOf = Callable[[Sequence[ReportedRun]], Section | None]

# Diagnostics with a section of their own; the numbers of all others are in a table.
DIAGNOSTICS: dict[str, SectionOf] = {
    recall.NAME: recall.section,
    contamination.NAME: contamination.section,
    probes.NAME: probes.section,
    twins.NAME: twins.section,
    saliency.NAME: saliency.section,
}

SECTIONS: tuple[SectionOf, ...] = (
    curves.learning,
    curves.final,
    gap.section,
    *DIAGNOSTICS.values(),
    functools.partial(scalars.section, but=DIAGNOSTICS),
    in_training.section,
    churn.section,
    episodes.section,
    throughput.section,
    configuration.options,
    configuration.machines,
    configuration.commands,
)


def made(runs: Sequence[ReportedRun], broken: Sequence[Broken]) -> list[Section]:
    """Return the sections that have something to show."""
    found = (make(runs) for make in SECTIONS) if runs else ()
    return [overview.section(runs, broken), *(section for section in found if section is not None)]
