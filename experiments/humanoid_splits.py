"""From standing: 'a humanoid robot practicing gymnastics, doing the side splits', held for half of the steps.

python -m experiments.humanoid_splits                # all that the plan holds for it; skips what is there
python -m experiments.humanoid_splits --seeds 10 --conditions asked_rarely
"""

import sys

from experiments.humanoid import main

if __name__ == "__main__":
    main(["--tasks", "humanoid_splits", *sys.argv[1:]])
