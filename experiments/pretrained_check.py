"""For those with a network and a GPU: cart-pole with ViT-B-32 and kneeling with ViT-bigG-14, zero-shot, as VLM-RM did.

    python -m experiments.pretrained_check                       # both; weights are downloaded by open_clip
    python -m experiments.pretrained_check --only cartpole
    python -m experiments.pretrained_check --only kneeling --encoder local-dir:/path/to/an/open_clip/folder

Expected after VLM-RM (Rocamonde et al. 2024): cart-pole solved; kneeling solved by ViT-bigG-14 and by no smaller
model. Not run by us yet: no weights can be downloaded where this project is built.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from experiments.common import RESULTS, Book, run_one
from vlmrl.training import preset

CHECKS = {
    "cartpole": ("cartpole", "ViT-B-32/laion2b_s34b_b79k", (200,), 300_000),
    "kneeling": ("humanoid_kneeling", "ViT-bigG-14/laion2b_s39b_b160k", (100, 400), 3_000_000),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=CHECKS)
    parser.add_argument("--encoder", help="another encoder for the check named by --only")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--render-size", type=int, default=224, help="side of the frames, pixels")
    parser.add_argument("--total-steps", type=int)
    parser.add_argument("--device")
    parser.add_argument("--runs", type=Path, default=Path("runs") / "pretrained_check")
    parser.add_argument("--results", type=Path, default=RESULTS / "pretrained_check.json")
    args = parser.parse_args()
    if args.encoder and not args.only:
        parser.error("--encoder needs --only")
    book = Book(args.results)
    for name in [args.only] if args.only else CHECKS:
        task_name, tag, horizons, steps = CHECKS[name]
        encoder = args.encoder or tag
        for seed in args.seeds:
            if book.has(task=task_name, encoder=encoder, seed=seed):
                continue
            base, out = (
                preset(task_name),
                args.runs / f"{name}-{encoder.replace('/', '-').replace(':', '-')}-{seed}",
            )
            task = replace(base.task, render_size=(args.render_size, args.render_size))
            config = replace(
                base, task=task, encoder=encoder, seed=seed, device=args.device, total_steps=args.total_steps or steps,
                out=out,
            )  # fmt: skip
            book.add(run_one(config, horizons, 100, args.runs / f"{out.name}.mp4"))


if __name__ == "__main__":
    main()
