"""From standing: 'a humanoid robot kneeling', held for half of the steps.

python -m experiments.humanoid_kneeling                # all that the plan holds for it; skips what is there
python -m experiments.humanoid_kneeling --seeds 10 --conditions asked_rarely
"""

import sys

from experiments.humanoid import main

if __name__ == "__main__":
    main(["--tasks", "humanoid_kneeling", *sys.argv[1:]])
