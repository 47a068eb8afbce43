"""From standing: 'a humanoid robot standing up, with its arms crossed', held for half of the steps.

python -m experiments.humanoid_arms_crossed                # all that the plan holds for it; skips what is there
python -m experiments.humanoid_arms_crossed --seeds 10 --conditions asked_rarely
"""

import sys

from experiments.humanoid import main

if __name__ == "__main__":
    main(["--tasks", "humanoid_arms_crossed", *sys.argv[1:]])
