"""The house: data flows one way, heavy libraries stay behind their doors, `import vlmrl` stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ORDER = [
    "errors", "ranks", "runtime", "configs", "tasks", "frames",
    "encoders.hub", "encoders.sources", "encoders.speed", "encoders.words", "encoders.clip", "encoders.slow", "encoders",
    "rewards.protocol", "rewards.goal_baseline", "rewards.controls", "rewards.learned_config", "rewards.budget",
    "rewards.answers", "rewards.asking", "rewards.ensemble", "rewards.sources", "rewards.views", "rewards.learned", "rewards",
    "horizon", "wrappers", "vector", "sb3",
    "agents.config", "agents.buffer", "agents.gae", "agents.networks", "agents.normalise", "agents.update", "agents.ppo",
    "agents", "rollout", "checkpoints", "runs", "progress", "overlay", "video", "plots", "page", "figures", "report",
    "preferences.formulas", "preferences.configs", "preferences.protocol", "preferences.asking", "preferences.embedding",
    "preferences.segments", "preferences.samplers", "preferences.schema", "preferences.rows",
    "preferences.claims", "preferences.reading", "preferences.store", "preferences.known", "preferences.exchange", "preferences.stage", "preferences.oracle",
    "preferences.encoder_labeller", "preferences.routed", "preferences.bradley_terry", "preferences.calibration",
    "preferences.networks", "preferences.labelled", "preferences.fitting", "preferences.evidence", "preferences.weights", "preferences.learned",
    "preferences.learning", "preferences.relabelling",
    "preferences.chat.config", "preferences.chat.errors", "preferences.chat.transport", "preferences.chat.retry",
    "preferences.chat.budget", "preferences.chat.images", "preferences.chat.prompts", "preferences.chat.answers",
    "preferences.chat.tally", "preferences.chat.status", "preferences.chat.client", "preferences.chat.labeller",
    "preferences.chat.injection", "preferences.chat",
    "preferences.human.sink", "preferences.human.store_sink", "preferences.human.folder", "preferences.human.session",
    "preferences.human.clips", "preferences.human.page", "preferences.human.server", "preferences.human.label",
    "preferences.human", "preferences.online_config", "preferences.answers", "preferences.account", "preferences.online",
    "preferences",
    "making", "samples", "preflight", "train_config", "preferring", "sb3_state", "sb3_exploring", "sb3_replay",
    "sb3_preferences", "loop", "training", "evaluation",
    "adapt.config", "adapt.checks", "adapt.pairs", "adapt.cache", "adapt.stored", "adapt.worlds", "adapt.captions", "adapt.videos",
    "adapt.families", "adapt.tokens", "adapt.batches", "adapt.loss", "adapt.lora", "adapt.model", "adapt.side_by_side", "adapt.validation",
    "adapt.folder", "adapt.training", "adapt.progress", "adapt.loop", "adapt.options", "adapt",
    "doctor", "task_options", "commands.outcome", "commands.before", "commands.train", "commands.after", "commands.adapt", "commands",
    "cli", "__main__",
]  # fmt: skip
"""Modules of `vlmrl` in the order data flows through them: each may import only those above it."""
DOORS = {
    "open_clip": {"encoders.clip", "encoders.sources", "encoders.hub", "encoders.speed", "doctor"},
    "imageio": {"video", "doctor"},
    "imageio_ffmpeg": {"video", "doctor"},
    "stable_baselines3": {"sb3", "sb3_preferences", "sb3_replay"},
    "jax": {"agents.gae", "agents.networks", "agents.normalise", "agents.update", "agents.ppo", "doctor"},
    "optax": {"agents.update"},
    "sqlite3": {"preferences.schema", "preferences.reading", "preferences.store", "preferences.exchange"},
    "httpx2": {"preferences.chat.transport"},
    "tyro": {"commands.outcome", "task_options", "adapt.options", "cli"},
}


PREFERENCES_WITH_TORCH = {
    "preferences.encoder_labeller", "preferences.bradley_terry", "preferences.networks", "preferences.fitting",
    "preferences.evidence", "preferences.learned", "preferences.learning", "preferences.relabelling", "preferences.online",
}  # fmt: skip
"""Asking, keeping and drawing pairs must not need torch."""


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted((ROOT / "vlmrl").rglob("*.py")):
        parts = path.relative_to(ROOT / "vlmrl").with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if name:
            yield name, path


def imports(path: Path) -> Iterator[str]:
    tree = ast.parse(path.read_text())
    hidden = {
        id(n)
        for i in ast.walk(tree)
        if isinstance(i, ast.If) and "TYPE_CHECKING" in ast.dump(i.test)
        for n in ast.walk(i)
    }
    for node in ast.walk(tree):
        if id(node) in hidden:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            inner = [name for name in whole if name.removeprefix("vlmrl.") in ORDER]
            yield from inner
            if len(inner) < len(whole):  # something other than its modules is taken from the package itself
                yield node.module


def test_every_module_has_its_place() -> None:
    assert {name for name, _ in modules()} == set(ORDER)


@pytest.mark.parametrize(
    ("name", "path"), modules(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_imports_go_up_only(name: str, path: Path) -> None:
    place = ORDER.index(name)
    for module in imports(path):
        inner = module.removeprefix("vlmrl.")
        if (
            module.startswith("vlmrl.")
            and inner in ORDER
            and inner != name
            and not inner.startswith(name + ".")
        ):
            assert ORDER.index(inner) < place, f"{name} imports {inner}, which comes after it"


@pytest.mark.parametrize("library", DOORS)
def test_one_door_for_each_heavy_library(library: str) -> None:
    users = {name for name, path in modules() if any(m.split(".")[0] == library for m in imports(path))}
    assert users <= DOORS[library]


def test_preferences_need_torch_only_to_embed_and_to_learn() -> None:
    users = {name for name, path in modules() if any(m.split(".")[0] == "torch" for m in imports(path))}
    assert {name for name in users if name.startswith("preferences")} <= PREFERENCES_WITH_TORCH


def test_the_worlds_know_nothing_of_vlmrl() -> None:
    for path in (ROOT / "envs").rglob("*.py"):
        assert not any(m.split(".")[0] in ("vlmrl", "torch", "jax") for m in imports(path)), path


def test_no_pickle_and_no_torch_load() -> None:
    for path in [*(ROOT / "vlmrl").rglob("*.py"), *(ROOT / "envs").rglob("*.py")]:
        assert not {"pickle", "cloudpickle", "joblib"} & {m.split(".")[0] for m in imports(path)}, path


def test_import_is_light() -> None:
    code = "import sys, vlmrl; print([m for m in ('torch', 'jax', 'mujoco', 'open_clip', 'gymnasium') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_every_public_name_is_there() -> None:
    import vlmrl

    for name in vlmrl.__all__:
        assert getattr(vlmrl, name) is not None
    with pytest.raises(AttributeError):
        vlmrl.nothing  # noqa: B018


def test_no_registry_address_and_no_machines_path_is_committed() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True).stdout.split(
        "\0"
    )
    for name in filter(None, listed):
        path = ROOT / name
        if (
            path.suffix in {".toml", ".txt", ".cfg", ".md", ".py", ".json", ".yml", ""}
            and path.is_file()
            and path.name != Path(__file__).name
        ):
            text = path.read_text(errors="ignore")
            assert "--index-url" not in text and str(ROOT) not in text, name
