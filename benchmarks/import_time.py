"""Seconds that `import vlmrl` takes in a fresh interpreter.

python -m benchmarks.import_time          # writes experiments/results/import_time.json
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

from experiments.common import RESULTS, provenance

CODE = "import time; t = time.perf_counter(); import vlmrl; print(time.perf_counter() - t)"
REPEATS = 15


def main() -> None:
    times = [
        float(subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True).stdout)
        for _ in range(REPEATS)
    ]
    found = {
        "seconds_median": statistics.median(times),
        "seconds_max": max(times),
        "repeats": len(times),
        **provenance(),
    }
    (RESULTS / "import_time.json").write_text(json.dumps(found, indent=1) + "\n")
    print(
        f"import vlmrl: median {found['seconds_median']:.3f} s, slowest {found['seconds_max']:.3f} s of {len(times)}"
    )


if __name__ == "__main__":
    main()
