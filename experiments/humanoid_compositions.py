"""Two things at once that the encoder's training never says together; eight sentences, ours and not VLM-RM's.

python -m experiments.humanoid_compositions                # all that the plan holds for them; skips what is there
python -m experiments.humanoid_compositions --tasks humanoid_kneeling_one_arm_raised --seeds 10
"""

import sys

from experiments.humanoid import main
from experiments.humanoid_conditions import TASKS
from vlmrl.tasks import COMPOSITIONS

if __name__ == "__main__":
    main(["--tasks", *TASKS[: len(COMPOSITIONS)], *sys.argv[1:]])
