"""How busy other processes keep the machine while one of ours is timed.

The load average alone does not say it: a minute after our own last run it still holds that run. So beside it goes
what was measured during the run itself: the processor time of the whole machine less that of the run.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

BUSY = 0.5  # cores kept busy by others, or load average, above which a time is not to be trusted


class Load:
    """Watches from its making until `figures` is asked for; in between runs one process, waited for at the end."""

    def __init__(self) -> None:
        self.before = os.getloadavg()[0]
        self._began, self._all, self._ours = time.perf_counter(), machine_seconds(), own_seconds()

    def figures(self) -> dict[str, float]:
        """Return "load before", and "other cores": how many cores others kept busy meanwhile, on average."""
        others = machine_seconds() - self._all - (own_seconds() - self._ours)
        elapsed = max(time.perf_counter() - self._began, 1e-9)
        return {"load before": self.before, "other cores": max(0.0, others / elapsed)}


def machine_seconds() -> float:
    """Return the processor time of all processes since the machine began, and what its host took from it."""
    user, nice, system, _, _, irq, softirq, steal = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def own_seconds() -> float:
    """Return the processor time of this process and of those it has waited for."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def was_busy(row: Mapping[str, Any]) -> bool:
    """Return whether others disturbed a run; one of which nothing is known counts as disturbed."""
    return bool(row.get("other cores", row.get("load before", BUSY + 1)) > BUSY)
