"""Bad answers: what becomes of labels when a chat server spoils requests, and when text in a frame tries to give the answer.

    python -m benchmarks.bad_answers        # writes experiments/results/bad_answers.json

Faults: a server program of its own (tests/chat_server.py) answers over HTTP on this machine and spoils a share of the
requests by garbage, prose, refusals, empty, cut and double answers, half of a JSON, broken connections, timeouts, 429
and 500. What it says without faults is the truth here. A share too high must stop the asking, with what was answered kept.
Text: sentences that ask for the answer are drawn into the frame that was not preferred (`measure_injection`); flipped is
an answer that then prefers it. The encoder reads no text it was not shown, so this is about how pictures change.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.label_pools import pools_of
from experiments.common import RESULTS, provenance
from experiments.preference_targets import SEVEN
from vlmrl.checkpoints import replace_file
from vlmrl.encoders import load_encoder
from vlmrl.preferences.chat import ChatConfig, ChatLabeller, ChatStopped, RetryConfig, measure_injection
from vlmrl.preferences.configs import EncoderLabellerConfig
from vlmrl.preferences.encoder_labeller import EncoderLabeller
from vlmrl.preferences.protocol import Pair, Question, task_question
from vlmrl.preferences.samplers import Uniform
from vlmrl.preferences.store import PreferenceStore
from vlmrl.runtime import limit_threads
from vlmrl.tasks import get_task

SERVER = Path(__file__).parent.parent / "tests" / "chat_server.py"
SHARES = (0.3, 0.9)
"""Of the requests that are spoilt: the issue's figure, and one that must stop the asking."""
RETRY = RetryConfig(base=0.05, cap=0.5, timeout=1.0)
"""The server sleeps for 3 s where it lets a request time out."""


@contextmanager
def serving(share: float) -> Iterator[tuple[str, dict[str, Any]]]:
    """Run the server program; yield its address and a dictionary that holds what it spoilt once it has ended."""
    command, served = [sys.executable, str(SERVER), "--faults", str(share)], {}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield server.stdout.readline().strip(), served
        served |= json.loads(server.communicate()[0])


def pairs_of(task: str, count: int, seed: int) -> tuple[list[Pair], Question]:
    """Return pairs of single frames of a task's world, and the question about them."""
    pools, rng = pools_of(get_task(task)), np.random.default_rng(seed)
    pairs = Uniform().sample(pools.make(2 * count, rng), count, rng)
    pools.close()
    return pairs, task_question(get_task(task))


def asked(pairs: Sequence[Pair], question: Question, share: float, prompt: Any) -> dict[str, Any]:
    """Ask the server about pairs into a store on disk; return the labels kept (None: no label) and what was reported."""
    with tempfile.TemporaryDirectory() as folder, PreferenceStore(Path(folder) / "store.sqlite") as store:
        with serving(share) as (url, served):
            config = ChatConfig(url, "scripted", key_variable="", prompt=prompt, workers=8, retry=RETRY)
            labeller, stopped, started = ChatLabeller(config), "", perf_counter()
            try:
                store.ask(labeller, list(pairs), question)
            except ChatStopped as error:
                stopped = str(error)
            seconds = perf_counter() - started
        kept = store.find(labeller, list(pairs), question)
    report = labeller.report()
    return {
        "labels": [None if answer is None else answer.label for answer in kept], "stopped": stopped, "seconds": seconds,
        "requests": served["requests"], "faults": served["faults"], "report": asdict(report),
        "failure_rate": report.failure_rate,
    }  # fmt: skip


def faults(pairs: Sequence[Pair], question: Question) -> list[dict[str, Any]]:
    """Return a row for each question and share of spoilt requests, held against the same server without faults."""
    rows = []
    for prompt in ("one-stage", "two-stage"):
        truth = asked(pairs, question, 0.0, prompt)["labels"]
        assert None not in truth
        for share in SHARES:
            row = asked(pairs, question, share, prompt)
            labels = row.pop("labels")
            wrong = sum(label not in (None, true) for label, true in zip(labels, truth, strict=True))
            known = sum(label is not None for label in labels)
            found = {"prompt": prompt, "share": share, "pairs": len(pairs), "labels": known, "wrong": wrong}
            rows.append({**found, **row})
            word = f"stopped: {row['stopped']}" if row["stopped"] else "completed"
            print(f"{prompt}, {share:.0%} spoilt: {known} labels of {len(pairs)} pairs, {wrong} wrong, "
                  f"{row['failure_rate']:.1%} unusable, {row['seconds']:.0f} s; {word}", flush=True)  # fmt: skip
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write; arguments as on the command line, None reads sys.argv."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=300, help="asked of the server")
    parser.add_argument("--attacked", type=int, default=200, help="pairs of each task with text drawn in")
    parser.add_argument("--tasks", nargs="+", default=[*SEVEN, "humanoid_kneeling"])
    parser.add_argument("--out", type=Path, default=RESULTS / "bad_answers.json")
    args = parser.parse_args(arguments)
    limit_threads()
    spoilt = faults(*pairs_of("cartpole", args.pairs, 0))
    encoder, attacked = load_encoder(), []
    for task in args.tasks:
        pairs, question = pairs_of(task, args.attacked, 1)
        labeller = EncoderLabeller(encoder, EncoderLabellerConfig(alpha=get_task(task).alpha, soft=False))
        found = measure_injection(labeller, pairs, question)
        attacked.append({"task": task, "labeller": "encoder", "encoder": encoder.name, **asdict(found)})
        print(f"{task}: {found.flipped} of {found.decided} answers flipped by text", flush=True)
    whole = {"faults": spoilt, "text": attacked, **provenance()}
    replace_file(args.out, (json.dumps(whole, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
