"""`make demo`: cart-pole from a sentence, with before and after videos, a plot and one HTML page.

python -m experiments.demo            # about two minutes on two CPU cores
python -m experiments.demo --record   # and notes time and success in results/demo.json
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

from experiments.common import RESULTS, provenance
from vlmrl import report
from vlmrl.checkpoints import replace_file
from vlmrl.commands import finish
from vlmrl.evaluation import evaluate
from vlmrl.progress import ProgressPrinter
from vlmrl.runs import default_run_path
from vlmrl.training import preset, train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--record", action="store_true", help="write experiments/results/demo.json")
    args = parser.parse_args()
    started = time.perf_counter()
    out = default_run_path("demo", 0)
    config = replace(preset("cartpole"), out=out)
    print(f'The reward: how much each rendered frame looks like "{config.task.goal[0]}",')
    print(f'rather than just "{config.task.baseline[0]}". Nothing else is told to the agent.\n', flush=True)
    printer = ProgressPrinter()
    run = train(config, printer)
    printer.close()
    judged = evaluate(run, episodes=100)
    (out / "evaluation.json").write_text(json.dumps(judged, indent=1))
    finish(run, out)
    page = report.write_run_report(out, evaluation=judged)
    low, high = judged["success_interval"]
    seconds = time.perf_counter() - started
    print(
        f"\nJudged by the physics, not by the reward: {judged['success']:.0%} of {judged['episodes']} fresh episodes"
    )
    print(f"kept the pole upright (95% interval {low:.0%} to {high:.0%}); {seconds:.0f} s in all.")
    if args.record:
        row = {key: judged[key] for key in ("success", "success_interval", "episodes")}
        row |= {"seconds": round(seconds, 1), "seed": config.seed, **provenance()}
        replace_file(RESULTS / "demo.json", (json.dumps(row, indent=1) + "\n").encode())
    print("\nSee for yourself:")
    for path in (page, out / "videos" / "before.mp4", out / "videos" / "after.mp4"):
        print(f"  {Path(path).resolve()}")


if __name__ == "__main__":
    main()
