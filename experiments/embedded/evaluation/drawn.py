"""A world's states that no training batch held, with what is true of them and how the encoder sees them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from experiments.embedded import metaworld
from experiments.embedded.drawing import in_looks
from experiments.embedded.evaluation.scenes import SceneRules
from experiments.embedded.stock import DRAWS_ITSELF, STOCK, gymnasium_frames
from experiments.embedded.variation import base_of_looks
from vlmrl.rewards import GoalBaselineReward
from vlmrl.tasks import COMPOSITIONS, TASKS, Task, get_task
from vlmrl_envs import WORLDS, metaworld_scenes
from vlmrl_envs.captions import Grammar
from vlmrl_envs.rendering import make_renderer
from vlmrl_envs.rules import WorldRules

SEED = 2026
"""States, cameras and words of this seed are in no training batch, which are drawn from seed 0."""
SIZE = 64
POOL = 4
"""States drawn for one that is kept: goals and rare compositions are looked for in all of them."""
TRUE = 0.6
"""Truth from which a sentence is said rightly of a state."""
RARE = 60
"""States kept of each goal and composition beyond the random ones."""


@dataclass
class Drawn:
    """States of one world, chosen so that goals and held-out compositions occur."""

    world: str
    """Folder of the world, such as humanoid."""
    tasks: tuple[Task, ...]
    """Its built-in tasks."""
    rules: Mapping[str, WorldRules | SceneRules]
    """Task -> the world's rules with that goal."""
    states: np.ndarray
    """Full physics states (B, S); the first `num_random` are drawn at random, the others sought out."""
    num_random: int
    degrees: np.ndarray
    """What is true of them (B, F), by the columns of the grammar."""
    frames: np.ndarray
    """Drawn by the world's own camera (B, 64, 64, 3) uint8."""
    grammar: Grammar | None = None
    """What can be said of it, by columns of `degrees`."""
    embeddings: dict[str, np.ndarray] = field(default_factory=dict)
    """View -> unit vectors (B, D): own; unseen, from the bands that training leaves out; beyond, outside of its range; and
    stock, which is how Gymnasium shows its own environment, where it has one."""


def tasks_of(world: str) -> tuple[Task, ...]:
    """Return the built-in tasks of a world's folder, but not its held-out compositions, which `words` measures."""
    ids = {f"vlmrl/{name}" for name, folder in WORLDS.items() if folder == world}
    return tuple(t for t in TASKS.values() if t.env_id in ids and t.kwargs.get("pose") not in COMPOSITIONS)


def rules_of(task: Task) -> WorldRules:
    """Return the rules of a task's world with its goal."""
    import gymnasium

    options: dict[str, Any] = {"vectorization_mode": "vector_entry_point", **task.kwargs}
    envs = gymnasium.make_vec(task.env_id, num_envs=1, **options)
    try:
        return envs.unwrapped.rules
    finally:
        envs.close()


def draw(world: str, encoder: Any, count: int, seed: int = SEED) -> Drawn:
    """Draw `count` random states of a world and up to `RARE` of each goal and held-out composition; embed four views."""
    if world in metaworld.WORLDS:
        return _draw_metaworld(world, encoder, count, seed)
    tasks = tasks_of(world)
    rules = {task.name: rules_of(task) for task in tasks}
    first = next(iter(rules.values()))
    pool = first.sample_states(np.random.default_rng(seed), POOL * count)
    degrees = first.fact_degrees(pool)
    wanted = [np.flatnonzero(r.success(pool))[:RARE] for r in rules.values()]
    grammar = first.grammar
    if grammar is not None:
        pairs = np.argwhere(np.triu(grammar.held_pairs))
        wanted += [np.flatnonzero(degrees[:, pair].prod(axis=1) >= TRUE)[:RARE] for pair in pairs]
    sought = np.unique(np.concatenate([np.zeros(0, int), *wanted]))
    chosen = np.concatenate([np.arange(count), sought[sought >= count]])
    frames = picture(first, pool[chosen])
    found = Drawn(world, tasks, rules, pool[chosen], count, degrees[chosen], frames, grammar)
    found.embeddings["own"] = embed(encoder, frames)
    for view, split in (("unseen", "held_out"), ("beyond", "beyond")):
        found.embeddings[view] = embed(encoder, unseen(first, found.states, seed, split))
    if first.name in (*STOCK, *DRAWS_ITSELF):
        found.embeddings["stock"] = embed(encoder, gymnasium_frames(first, found.states))
    return found


def _draw_metaworld(world: str, encoder: Any, count: int, seed: int) -> Drawn:
    """Draw scenes of one of Meta-World's tasks, its goal judged by the package itself."""
    rules, drawn = SceneRules(world), metaworld_scenes.sample(world, np.random.default_rng(seed), count)
    degrees, grammar = metaworld_scenes.fact_degrees(world, drawn), metaworld_scenes.GRAMMARS[world]
    task = get_task(world)
    found = Drawn(world, (task,), {task.name: rules}, drawn, count, degrees, rules.picture(drawn), grammar)
    found.embeddings["own"] = embed(encoder, found.frames)
    for view, split in (("unseen", "held_out"), ("beyond", "beyond")):
        found.embeddings[view] = embed(encoder, rules.picture(drawn, seed, split))
    return found


def picture(rules: WorldRules | SceneRules, states: np.ndarray, model: Any = None) -> np.ndarray:
    """Draw states (B, S) by the world's own camera, or by another model's; uint8 (B, 64, 64, 3)."""
    if isinstance(rules, SceneRules):
        return rules.picture(states)
    renderer = make_renderer(
        "warp", model if model is not None else rules.model, rules.cameras[0], (SIZE, SIZE)
    )
    try:
        return renderer.render(rules.split(states)[0])
    finally:
        renderer.close()


def unseen(rules: WorldRules, states: np.ndarray, seed: int = SEED, split: str = "held_out") -> np.ndarray:
    """Draw states (B, S), each by another camera and light from the bands that training never draws, or "beyond" its range."""
    base = base_of_looks(rules.build_spec())
    qpos = rules.split(states)[0]
    return in_looks(base, rules.cameras[0], qpos, np.random.default_rng(seed), split, SIZE)


def embed(encoder: Any, frames: np.ndarray) -> np.ndarray:
    """Return the frames' unit vectors, float32 (B, D)."""
    return encoder.embed_images(frames).cpu().numpy()


def reward_of(encoder: Any, task: Task) -> GoalBaselineReward:
    """Return the reward of a task as training uses it."""
    return GoalBaselineReward(encoder, list(task.goal), list(task.baseline), task.alpha)


def said(encoder: Any, sentences: Sequence[str]) -> np.ndarray:
    """Return the sentences' unit vectors, float32 (K, D)."""
    return encoder.embed_texts(list(sentences)).cpu().numpy()
