"""The cart learns from 'pole vertically upright on top of the cart' to keep the pole within 12 degrees of upright for at least 95% of the steps.

python -m experiments.cartpole                      # every condition, seeds 0 1 2; skips what is there
python -m experiments.cartpole --conditions vlm --seeds 0
"""

from experiments.common import main

if __name__ == "__main__":
    main(
        "cartpole",
        horizons=(200, 500),
        claim="The cart learns from 'pole vertically upright on top of the cart' to keep the pole within 12 degrees of upright for at least 95% of the steps.",
    )
