"""Settings of the chat labeller: endpoint, question, pictures, retries, budgets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from vlmrl.errors import usage_error

URL_VARIABLE = "OPENAI_BASE_URL"
MODEL_VARIABLE = "VLMRL_CHAT_MODEL"
KEY_VARIABLE = "OPENAI_API_KEY"
PromptName = Literal["one-stage", "two-stage"]


def _positive(name: str, value: float, least: float = 1) -> None:
    if not value >= least:
        raise usage_error(name, value, f"{least:g} or more", "correct the value")


@dataclass(frozen=True)
class ImageConfig:
    """How segments become pictures, and how large these may be."""

    layout: Literal["strip", "images"] = "strip"
    """A segment of several frames as one picture, left to right, or as several pictures."""
    max_frames: int = 4
    """Frames of a segment that are shown, evenly spread, first and last among them."""
    min_side: int = 256
    """Smaller frames are enlarged by the whole factor that brings their width near this, in pixels."""
    max_side: int = 768
    """Longest side of a picture that is sent, in pixels."""
    max_bytes: int = 300_000
    """Largest picture that is sent; above it JPEG takes the place of PNG, then the picture shrinks."""
    format: Literal["png", "jpeg"] = "png"
    """How pictures are encoded."""

    def __post_init__(self) -> None:
        for name, least in (("max_frames", 1), ("min_side", 1), ("max_side", 32), ("max_bytes", 2000)):
            _positive(f"images.{name}", getattr(self, name), least)


@dataclass(frozen=True)
class RetryConfig:
    """The one retry layer."""

    attempts: int = 4
    """Requests for one reply, the first among them."""
    base: float = 1.0
    """First wait in seconds; each further one is up to twice as long, shortened at random."""
    cap: float = 30.0
    """Longest wait in seconds, unless the server asks for more (Retry-After)."""
    deadline: float = 180.0
    """Seconds from the first request on after which no other is begun."""
    timeout: float = 60.0
    """Seconds for one request."""

    def __post_init__(self) -> None:
        _positive("retry.attempts", self.attempts)
        for name in ("base", "cap", "deadline", "timeout"):
            _positive(f"retry.{name}", getattr(self, name), 1e-3)


@dataclass(frozen=True)
class BudgetConfig:
    """What may be spent; the worst case of a pair is set aside before it is asked, so no limit is passed."""

    calls: int | None = None
    """Requests, repeated ones among them; None: no limit."""
    tokens: int | None = None
    """Tokens read and written by the model; None: no limit."""
    cost: float | None = None
    """Money, in the currency of the prices; None: no limit."""
    prompt_price: float = 0.0
    """Price of a million tokens that the model reads."""
    completion_price: float = 0.0
    """Price of a million tokens that the model writes."""
    tokens_per_image: int = 3000
    """Most tokens a picture may count for; if the server counts more, that is used from then on."""

    def __post_init__(self) -> None:
        if self.cost is not None and not (self.prompt_price > 0 or self.completion_price > 0):
            remedy = "give budget.prompt_price and budget.completion_price, per million tokens"
            raise usage_error("budget.cost", f"{self.cost} without a price", "the model's prices", remedy)
        for name in ("calls", "tokens", "cost"):
            if getattr(self, name) is not None:
                _positive(f"budget.{name}", getattr(self, name), 0)
        for name in ("prompt_price", "completion_price", "tokens_per_image"):
            _positive(f"budget.{name}", getattr(self, name), 0)


@dataclass(frozen=True)
class ChatConfig:
    """A chat model behind an OpenAI-compatible address, and how it is asked."""

    base_url: str = ""
    """Address up to /v1; "" takes OPENAI_BASE_URL from the environment."""
    model: str = ""
    """The model's name at that address; "" takes VLMRL_CHAT_MODEL from the environment."""
    key_variable: str = KEY_VARIABLE
    """Environment variable that holds the key (never the key itself); "" for a server without keys."""
    prompt: PromptName = "one-stage"
    """one-stage, or two-stage: RL-VLM-F's description first, then a verdict on the description alone."""
    both_orders: bool = True
    """Ask a second time with the segments exchanged; two answers that disagree are a tie."""
    guard: bool = True
    """Say first that text inside a picture is neither an instruction nor an answer."""
    json_schema: bool = True
    """Ask for JSON by a schema (`response_format`); else for one word or number on a line."""
    logprobs: bool = False
    """Ask for log-probabilities and use them as soft labels where the server returns them."""
    temperature: float = 0.0
    """Sampling temperature."""
    seed: int | None = None
    """Sampling seed, sent if given; servers need not heed it."""
    sample: int = 0
    """Which of a model's answers this is at a temperature above 0: each is asked for, and kept, by itself."""
    describe_tokens: int = 400
    """Longest description of the two-stage question, in tokens."""
    answer_tokens: int = 32
    """Longest answer, in tokens; one that is cut off is an abstention."""
    limit_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """The name by which the server knows the longest reply."""
    workers: int = 4
    """Requests at the same time."""
    max_failure_rate: float = 0.5
    """Share of requests without a usable reply above which asking stops."""
    images: ImageConfig = field(default_factory=ImageConfig)
    """Pictures."""
    retry: RetryConfig = field(default_factory=RetryConfig)
    """Retries."""
    budget: BudgetConfig = field(default_factory=BudgetConfig)
    """Limits."""

    def __post_init__(self) -> None:
        for name in ("describe_tokens", "answer_tokens", "workers"):
            _positive(name, getattr(self, name))
        _positive("temperature", self.temperature, 0)
        if self.sample < 0 or (self.sample and not self.temperature):
            got = f"{self.sample} at temperature {self.temperature:g}"
            raise usage_error(
                "sample", got, "0, or more where it is above 0", "raise temperature, or leave it out"
            )
        if not 0 < self.max_failure_rate <= 1:
            expected = "a share above 0, at most 1"
            raise usage_error("max_failure_rate", self.max_failure_rate, expected, "0.5 is usual")
