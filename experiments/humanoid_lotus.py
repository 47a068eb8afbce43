"""From standing: 'a humanoid robot seated down, meditating in the lotus position', held for half of the steps.

python -m experiments.humanoid_lotus                # all that the plan holds for it; skips what is there
python -m experiments.humanoid_lotus --seeds 10 --conditions asked_rarely
"""

import sys

from experiments.humanoid import main

if __name__ == "__main__":
    main(["--tasks", "humanoid_lotus", *sys.argv[1:]])
