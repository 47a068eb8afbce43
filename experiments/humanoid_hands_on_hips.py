"""From standing: 'a humanoid robot standing up with hands on hips', held for half of the steps.

python -m experiments.humanoid_hands_on_hips                # its seeds, asked_always; skips what is there
python -m experiments.humanoid_hands_on_hips --seeds 0 --conditions control_blank
"""

import sys

from experiments.humanoid import main

if __name__ == "__main__":
    main(["--tasks", "humanoid_hands_on_hips", *sys.argv[1:]])
