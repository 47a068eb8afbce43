"""A chat model as the labeller: any OpenAI-compatible address, within budgets, never a guess for an answer.

Importing this loads no HTTP client.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vlmrl.preferences.chat.config import BudgetConfig, ChatConfig, ImageConfig, RetryConfig
    from vlmrl.preferences.chat.errors import BudgetSpent, ChatSettingError, ChatStopped, TooManyFailures
    from vlmrl.preferences.chat.injection import InjectionReport, measure_injection
    from vlmrl.preferences.chat.labeller import ChatLabeller
    from vlmrl.preferences.chat.tally import ChatReport

_HOMES = {
    "BudgetConfig": "config", "ChatConfig": "config", "ImageConfig": "config", "RetryConfig": "config",
    "BudgetSpent": "errors", "ChatSettingError": "errors", "ChatStopped": "errors", "TooManyFailures": "errors",
    "InjectionReport": "injection", "measure_injection": "injection", "ChatLabeller": "labeller", "ChatReport": "tally",
}  # fmt: skip

__all__ = [
    "BudgetConfig", "BudgetSpent", "ChatConfig", "ChatLabeller", "ChatReport", "ChatSettingError", "ChatStopped",
    "ImageConfig", "InjectionReport", "RetryConfig", "TooManyFailures", "measure_injection",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
