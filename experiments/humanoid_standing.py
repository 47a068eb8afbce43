"""From standing: 'a humanoid robot standing up', held for half of the steps.

python -m experiments.humanoid_standing                # all that the plan holds for it; skips what is there
python -m experiments.humanoid_standing --seeds 10 --conditions asked_rarely
"""

import sys

from experiments.humanoid import main

if __name__ == "__main__":
    main(["--tasks", "humanoid_standing", *sys.argv[1:]])
