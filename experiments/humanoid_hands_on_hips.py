"""From standing: 'a humanoid robot standing up with hands on hips', held for half of the steps.

python -m experiments.humanoid_hands_on_hips                # all that the plan holds for it; skips what is there
python -m experiments.humanoid_hands_on_hips --seeds 10 --conditions asked_rarely
"""

import sys

from experiments.humanoid import main

if __name__ == "__main__":
    main(["--tasks", "humanoid_hands_on_hips", *sys.argv[1:]])
