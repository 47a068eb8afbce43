"""Preferences: which of two clips is closer to the goal; asked once, kept, and learned from.

Data flows one way: segments of rollouts, pairs, answers of a labeller kept in a store, a reward fitted to them.

    formulas.py configs.py    small formulas and settings that several parts share
    protocol.py         segments, pairs, questions, answers, labellers: what everything here speaks of
    segments.py         a bounded pool of segments of rollouts; samplers.py: which pairs of them are asked
    oracle.py           labellers: the oracle, an encoder (encoder_labeller.py), a cheap one before a better (routed.py)
    schema.py rows.py claims.py reading.py store.py exchange.py    one SQLite file of all that was asked; JSONL in and out
    known.py            what the stores of other runs hold already
    stage.py            one stage of asking, until there are enough labels
    bradley_terry.py calibration.py networks.py labelled.py fitting.py    mathematics and fitting
    evidence.py         whether labels teach anything at all
    weights.py learned.py learning.py    the learned reward; relabelling.py: new rewards for all that was seen
    chat/ human/        labellers: a chat model behind an address, a person in a browser
    online_config.py answers.py account.py online.py    all of it while an agent trains, in stages, resumed to the bit

Importing this loads no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vlmrl.preferences.configs import EncoderLabellerConfig, PixelPreferenceConfig, PreferenceConfig
    from vlmrl.preferences.encoder_labeller import EncoderLabeller
    from vlmrl.preferences.exchange import check_store, export_jsonl, import_jsonl, import_store
    from vlmrl.preferences.known import KnownAnswers
    from vlmrl.preferences.learning import PixelPreferenceReward, PreferenceReward
    from vlmrl.preferences.online import OnlinePreferenceReward, PreferenceLearner
    from vlmrl.preferences.online_config import PreferencesConfig
    from vlmrl.preferences.oracle import OracleConfig, OracleLabeller
    from vlmrl.preferences.protocol import Answer, Labeller, Pair, Question, Segment, StreamingLabeller
    from vlmrl.preferences.relabelling import EmbeddingRing, relabel
    from vlmrl.preferences.routed import RoutedConfig, RoutedLabeller
    from vlmrl.preferences.samplers import Disagreement, Entropy, Mixture, Uniform, VisualGap
    from vlmrl.preferences.segments import PoolConfig, SegmentPool
    from vlmrl.preferences.stage import gather
    from vlmrl.preferences.store import PreferenceStore

_HOMES = {
    "Answer": "protocol", "Labeller": "protocol", "Pair": "protocol", "Question": "protocol", "Segment": "protocol",
    "StreamingLabeller": "protocol", "PoolConfig": "segments", "SegmentPool": "segments",
    "Disagreement": "samplers", "Entropy": "samplers", "Mixture": "samplers", "Uniform": "samplers",
    "VisualGap": "samplers", "OracleConfig": "oracle", "OracleLabeller": "oracle",
    "EncoderLabeller": "encoder_labeller", "EncoderLabellerConfig": "configs",
    "RoutedConfig": "routed", "RoutedLabeller": "routed", "PreferenceStore": "store", "gather": "stage",
    "KnownAnswers": "known", "check_store": "exchange", "export_jsonl": "exchange", "import_jsonl": "exchange", "import_store": "exchange",
    "PreferenceConfig": "configs", "PreferenceReward": "learning", "PixelPreferenceConfig": "configs",
    "PixelPreferenceReward": "learning", "EmbeddingRing": "relabelling", "relabel": "relabelling",
    "OnlinePreferenceReward": "online", "PreferenceLearner": "online", "PreferencesConfig": "online_config",
}  # fmt: skip

__all__ = [
    "Answer", "Disagreement", "EmbeddingRing", "EncoderLabeller", "EncoderLabellerConfig", "Entropy",
    "KnownAnswers", "Labeller", "Mixture", "OnlinePreferenceReward", "OracleConfig", "OracleLabeller", "Pair",
    "PixelPreferenceConfig", "PixelPreferenceReward", "PoolConfig", "PreferenceConfig", "PreferenceLearner",
    "PreferenceReward", "PreferenceStore", "PreferencesConfig", "Question", "RoutedConfig", "RoutedLabeller",
    "Segment", "SegmentPool", "StreamingLabeller", "Uniform", "VisualGap", "check_store", "export_jsonl",
    "gather", "import_jsonl", "import_store", "relabel",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
