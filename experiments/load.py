"""How busy the machine was during a run, so that its wall-clock can be read."""

from __future__ import annotations

import os
import time
from typing import Any


class Load:
    """Measures from when it is made on."""

    def __init__(self) -> None:
        self.average = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
        self._cpu, self._wall = time.process_time(), time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds since."""
        return time.perf_counter() - self._wall

    def row(self) -> dict[str, Any]:
        """Return what a row says of it: cpu_seconds over sitting_seconds is how many cores the process really had.

        sitting_seconds: of this sitting, in which the run ended; fewer than its wall_seconds where there were earlier
        ones. load_average: processes that wanted to run in the minute before, this one hardly among them.
        """
        return {
            "cpu_seconds": round(time.process_time() - self._cpu, 1),
            "sitting_seconds": round(self.seconds, 1),
            "load_average": self.average,
        }
