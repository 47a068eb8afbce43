"""From standing: 'a humanoid robot standing up on one leg', held for half of the steps.

python -m experiments.humanoid_one_leg                # its seeds, asked_always; skips what is there
python -m experiments.humanoid_one_leg --seeds 0 --conditions control_blank
"""

import sys

from experiments.humanoid import main

if __name__ == "__main__":
    main(["--tasks", "humanoid_one_leg", *sys.argv[1:]])
