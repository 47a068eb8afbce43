"""How many states of a rollout may be asked about, so that a run keeps to its budget to the last query."""

from __future__ import annotations

import math
from dataclasses import dataclass

from vlmrl.errors import usage_error
from vlmrl.rewards.learned_config import check_budget


def total_queries(total_steps: int, queries: int | None, query_share: float | None) -> int:
    """Return how many states of `total_steps` may be asked about: the smaller of both limits.

    Raises: UsageError for no limit, one that is out of range, or one that comes to no query at all.
    """
    check_budget(queries, query_share)
    if queries is None and query_share is None:
        raise usage_error(
            "queries", "neither queries nor query_share", "one of both", "query_share=0.1 is usual"
        )
    if total_steps < 1:
        raise usage_error("total_steps", total_steps, "an integer >= 1", "pass the states the run will visit")
    # The least more, since 0.1 * 30 is 3 to people and a little less to a computer.
    shared = math.inf if query_share is None else math.floor(query_share * total_steps * (1 + 1e-12))
    total = int(min(shared, math.inf if queries is None else queries, total_steps))
    if total < 1:
        got = f"{query_share} of {total_steps} steps, which is no query"
        raise usage_error("query_share", got, "at least one query in the run", "raise it, or set queries")
    return total


@dataclass
class Budget:
    """Spread `total` queries over a run of `total_steps` states: evenly, but more at the beginning where allowed.

    What is left is divided by the states that are left, so that whatever the beginning took, or a rollout could not
    use, is made up for, and the last rollout gets exactly what remains.
    """

    total: int
    """Queries in all."""
    total_steps: int
    """States that the run will visit."""
    asked: int = 0
    """Queries spent."""
    seen: int = 0
    """States visited."""
    warm: int = 0
    """Queries spent beyond the even share."""
    due: float = 0.0
    """Part of a query carried over, in [0, 1)."""

    @property
    def left(self) -> int:
        """Queries that are left."""
        return self.total - self.asked

    def take(
        self, num_states: int, candidates: int, warm_share: float = 0.0, warm_budget: float = 0.0
    ) -> int:
        """Spend queries on a rollout of `num_states`, of which `candidates` can be asked about; return how many.

        `warm_share` > 0 asks about that share of the candidates as long as no more than `warm_budget` (of `total`) has
        gone beyond the even share. The very first states get one query at least.
        """
        ahead = max(self.total_steps - self.seen, num_states, 1)
        even = (self.left - self.due) * num_states / ahead + self.due
        room = max(0, math.floor(warm_budget * self.total) - self.warm)
        count = math.floor(even + 1e-9)
        self.due = min(max(even - count, 0.0), 1.0)
        wished = max(count, min(math.ceil(warm_share * candidates), count + room))
        if self.asked == 0:
            wished = max(wished, 1)
        taken = max(0, min(wished, candidates, self.left))
        self.warm += max(0, taken - count)
        self.asked += taken
        self.seen += num_states
        return taken
