"""From standing, the humanoid kneels from the sentence 'a humanoid robot kneeling' and holds it for at least half of the steps.

python -m experiments.humanoid_kneeling                      # every condition, seeds 0 1 2; skips what is there
python -m experiments.humanoid_kneeling --conditions vlm --seeds 0
"""

from experiments.common import main

if __name__ == "__main__":
    main(
        "humanoid_kneeling",
        horizons=(100, 400),
        claim="From standing, the humanoid kneels from the sentence 'a humanoid robot kneeling' and holds it for at least half of the steps.",
    )
