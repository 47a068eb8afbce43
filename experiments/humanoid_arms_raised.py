"""From standing: 'a humanoid robot standing up, with both arms raised', held for half of the steps.

python -m experiments.humanoid_arms_raised                # all that the plan holds for it; skips what is there
python -m experiments.humanoid_arms_raised --seeds 10 --conditions asked_rarely
"""

import sys

from experiments.humanoid import main

if __name__ == "__main__":
    main(["--tasks", "humanoid_arms_raised", *sys.argv[1:]])
