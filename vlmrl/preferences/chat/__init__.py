"""A chat model as the labeller: any OpenAI-compatible address, within budgets, never a guess for an answer."""

from vlmrl.preferences.chat.config import BudgetConfig, ChatConfig, ImageConfig, RetryConfig
from vlmrl.preferences.chat.errors import BudgetSpent, ChatSettingError, ChatStopped, TooManyFailures
from vlmrl.preferences.chat.injection import InjectionReport, measure_injection
from vlmrl.preferences.chat.labeller import ChatLabeller
from vlmrl.preferences.chat.tally import ChatReport

__all__ = [
    "BudgetConfig",
    "BudgetSpent",
    "ChatConfig",
    "ChatLabeller",
    "ChatReport",
    "ChatSettingError",
    "ChatStopped",
    "ImageConfig",
    "InjectionReport",
    "RetryConfig",
    "TooManyFailures",
    "measure_injection",
]
