"""The car learns from 'a car at the peak of the mountain, next to the yellow flag' to swing itself up, reach the flag and stay.

python -m experiments.mountain_car                      # every condition, seeds 0 1 2; skips what is there
python -m experiments.mountain_car --conditions vlm --seeds 0
"""

from experiments.common import main

if __name__ == "__main__":
    main(
        "mountain_car",
        horizons=(200,),
        claim="The car learns from 'a car at the peak of the mountain, next to the yellow flag' to swing itself up, reach the flag and stay.",
    )
