"""What a run's page says in large print of asking: of the states that were asked about, of pairs and who answered them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def asking(metrics: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return how often the reward model was asked, how good the learned reward was, and where the two parted."""
    rows = [row for row in metrics if row.get("learned/asked_in_all") is not None]
    if not rows:
        return []
    last = rows[-1]
    text = f"{last['learned/share_in_all']:.1%} of steps"
    figures = [("asked of the reward model", f"{text}, {last['learned/asked_in_all']:,} times")]
    if last.get("learned/rank_correlation") is not None:
        name = "rank correlation of learned and true reward, last"
        figures.append((name, f"{last['learned/rank_correlation']:.2f}"))
    parted = [row["global_step"] for row in rows if row.get("learned/drift")]
    if parted:
        figures.append(("learned reward rose without the true one", f"first at step {parted[0]:,}"))
    return figures


def preferring(metrics: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return how many pairs were asked, how right the labels were, and how well the reward predicts held-out ones."""
    rows = [row for row in metrics if row.get("learned/pairs_asked")]
    if not rows:
        return []
    last = {key.removeprefix("learned/"): value for key, value in rows[-1].items()}
    without = f", {last['abstained']:.0f} without a label" if last.get("abstained") else ""
    without += f", {last['reused']:,.0f} answered in other runs" if last.get("reused") else ""
    figures = [("pairs asked", f"{last['pairs_asked']:,.0f} in {last['stages']:.0f} stages{without}")]
    if last.get("label_accuracy") is not None:
        wide = last.get("label_accuracy_wide")
        text = f"{last['label_accuracy']:.1%}" + (
            f"; {wide:.1%} of the wider half" if wide is not None else ""
        )
        figures.append(("labels on the side of more progress", text))
    flat = [row["learned/stages"] for row in rows if row.get("learned/is_flat")]
    if flat:
        text = f"in {len(set(flat))} of {last['stages']:.0f} stages"
        figures.append(("labels taught nothing, so that every reward was 0", text))
    if last.get("validation_accuracy") is not None:
        name = "held-out labels the learned reward agrees with; its calibration error"
        figures.append((name, f"{last['validation_accuracy']:.1%}; {last['ece']:.3f}"))
    return figures + chatting(last)


def chatting(last: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what a chat model's answers were worth and cost, from a stage's figures."""
    figures = []
    if last.get("unparseable_rate") is not None:
        text = f"{last['unparseable_rate']:.1%} unparseable, {last['refused']:.0f} refused, {last['unsure']:.0f} unsure"
        figures.append(("replies of the chat model without a label", text))
    if last.get("network_failures"):
        text = f"{last['network_failures']:.0f}; {last['unanswered']:.0f} pairs are still open"
        figures.append(("questions that brought no reply", text))
    if last.get("first_share") is not None:
        text = f"{last['first_share']:.1%} of verdicts"
        if last.get("flip_rate") is not None:
            text += f"; {last['flip_rate']:.1%} of pairs were judged otherwise when turned round"
        figures.append(("position bias: the first image was preferred in", text))
    if last.get("cost") or last.get("calls"):
        calls = f" in {last['calls']:,.0f} calls" if last.get("calls") else ""
        figures.append(("paid for answers", f"{last['cost']:.4g} for {last['tokens']:,.0f} tokens{calls}"))
    return figures
