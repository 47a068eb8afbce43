"""From standing: 'a humanoid robot standing up on one leg', held for half of the steps.

python -m experiments.humanoid_one_leg                # all that the plan holds for it; skips what is there
python -m experiments.humanoid_one_leg --seeds 10 --conditions asked_rarely
"""

import sys

from experiments.humanoid import main

if __name__ == "__main__":
    main(["--tasks", "humanoid_one_leg", *sys.argv[1:]])
