"""The chat labeller: any vision-language model behind an OpenAI-compatible address answers pairs."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import asdict
from typing import Any

from vlmrl.errors import usage_error
from vlmrl.preferences.asking import collected
from vlmrl.preferences.chat.answers import GAVE_UP, HEARD, Choice, Verdict, combine, read_choice
from vlmrl.preferences.chat.budget import Amount, Hold, Ledger
from vlmrl.preferences.chat.client import ChatClient, Request
from vlmrl.preferences.chat.config import ChatConfig
from vlmrl.preferences.chat.errors import GaveUp, TooManyFailures
from vlmrl.preferences.chat.images import num_images, segment_images
from vlmrl.preferences.chat.prompts import PROMPTS, Message, picture_messages, text_bytes, verdict_messages
from vlmrl.preferences.chat.retry import Retry
from vlmrl.preferences.chat.status import Completion
from vlmrl.preferences.chat.tally import ChatReport, Tally
from vlmrl.preferences.chat.transport import Transport, find_endpoint
from vlmrl.preferences.protocol import Answer, Group, Pair, Question


class _Interrupted(Exception):
    """This pair was not answered because asking stopped."""


class ChatLabeller:
    """Asks a chat model which of two segments is closer to the goal, in both orders.

    Attributes: name "chat"; model, its name; parameters, all that its answers depend on besides; is_deterministic,
    whether its temperature is 0.
    Source: RL-VLM-F (arXiv 2402.03681) for the two-stage question. Deviations: both orders are asked and a
    disagreement is a tie; what is not exactly an answer is an abstention, where RL-VLM-F makes it -1 and spends the
    query; pairs that look the same are not paid for; after an abstention the other order is not asked. A question that the
    network swallowed is no abstention: its answer `is_open`.
    """

    name = "chat"

    def __init__(
        self,
        config: ChatConfig | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        """Find address, model and key in `config` and `environ` (None: os.environ); nothing is sent yet.

        clock, sleep: for retries, in seconds; by default the system's, which a stop ends early.
        Raises: UsageError if address, model or key are missing or malformed.
        """
        self.config = config or ChatConfig()
        self.endpoint = find_endpoint(self.config, os.environ if environ is None else environ)
        self.model = self.endpoint.model
        self.prompt = PROMPTS[self.config.prompt]
        self.parameters, self.is_deterministic = self._parameters(), self.config.temperature == 0
        self._clock = clock
        self._stop, self._error_lock = threading.Event(), threading.Lock()
        self._error: BaseException | None = None
        self._tally, self._ledger = Tally(), Ledger(self.config.budget)
        retry = Retry(self.config.retry, clock=clock, sleep=self._stop.wait if sleep is None else sleep)
        self._client = ChatClient(
            self.config, Transport(self.endpoint, self.config.workers), self._ledger, retry
        )

    def _parameters(self) -> dict[str, Any]:
        names = ("both_orders", "guard", "json_schema", "logprobs", "temperature", "seed", "answer_tokens")
        found: dict[str, Any] = {
            "prompt": self.prompt.tag,
            **{name: getattr(self.config, name) for name in names},
        }
        if self.prompt.name == "two-stage":
            found["describe_tokens"] = self.config.describe_tokens
        if self.config.temperature:
            found["sample"] = self.config.sample
        return found | {"images": asdict(self.config.images)}

    def report(self) -> ChatReport:
        """Return what was seen so far: bad replies, position bias, flips, what it took."""
        spent = self._ledger.spent
        return self._tally.report(spent.calls, spent.tokens, spent.cost)

    def carry_on(self, answers: Sequence[Answer]) -> None:
        """Count tokens and money of earlier answers against the budget, for a run that goes on; calls count anew."""
        before = Amount(0, sum(answer.tokens for answer in answers), sum(answer.cost for answer in answers))
        self._ledger.spent = self._ledger.spent + before

    def answer(self, pairs: Sequence[Pair], question: Question) -> list[Answer]:
        """Return an answer for each pair, in order. One caller at a time.

        A pair whose reply is no answer abstains; one that brought no reply, however often it was asked, is open.

        Raises: as `stream`; every error carries `answers`, one for each pair in order, None where none was given.
        """
        return collected(self.stream(pairs, question), len(pairs))

    def stream(self, pairs: Sequence[Pair], question: Question) -> Iterator[Group]:
        """Yield groups of (place in pairs, answer) as answers come, so that each can be kept at once.

        Raises: ChatSettingError (a UsageError) if the server refuses key, model, address or request; BudgetSpent;
            TooManyFailures. What was under way is finished and yielded first. After the first Ctrl-C too.
        """
        if not question.goal.strip():
            raise usage_error("goal", repr(question.goal), "a phrase", 'such as "to open the drawer"')
        self._stop.clear()
        self._error = None
        self._tally.begin()
        self._client.transport.open()
        pool = ThreadPoolExecutor(self.config.workers, thread_name_prefix="vlmrl-chat")
        try:
            places = {pool.submit(self._answer_or_stop, p, question): i for i, p in enumerate(pairs)}
            waiting = set(places)
            while waiting:
                try:
                    done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                except KeyboardInterrupt as interrupt:
                    if self._stop.is_set():
                        raise
                    self._fail(interrupt)
                    continue
                answered = ((places[f], f.result()) for f in sorted(done, key=places.__getitem__))
                group = [(place, answer) for place, answer in answered if answer is not None]
                if group:
                    yield group
        finally:
            self._stop.set()
            pool.shutdown(cancel_futures=True)
            self._client.transport.close()
        if self._error is not None:
            raise self._error

    def _fail(self, error: BaseException) -> None:
        with self._error_lock:
            self._error = self._error or error
        self._stop.set()

    def _answer_or_stop(self, pair: Pair, question: Question) -> Answer | None:
        if self._stop.is_set():
            return None
        try:
            return self._answer(pair, question)
        except _Interrupted:
            return None
        except Exception as error:
            self._fail(error)
            return None

    def _answer(self, pair: Pair, question: Question) -> Answer:
        start = self._clock()
        first, second = (segment_images(s, self.config.images) for s in (pair.first, pair.second))
        is_clip = max(len(pair.first.frames), len(pair.second.frames)) > 1
        if first == second:
            verdict = Verdict(None, "same picture: the two look alike at this size", "same picture")
            self._tally.pair(verdict)
            return self._made(verdict, (), Amount(), start)
        with self._ledger.hold(self._plan(question)) as hold:
            if self._stop.is_set():  # while this one waited for its turn
                raise _Interrupted
            one = self._choice(hold, question, first, second, is_clip)
            other = None
            if self.config.both_orders and one.label is not None:
                other = self._choice(hold, question, second, first, is_clip)
        verdict = combine(one, other)
        self._tally.pair(verdict)
        return self._made(verdict, [one] if other is None else [one, other], hold.spent, start)

    def _made(self, verdict: Verdict, heard: Sequence[Choice], spent: Amount, start: float) -> Answer:
        said = {"kind": verdict.kind, "orders": [choice.label for choice in heard], "calls": spent.calls}
        parameters = {**self.parameters, HEARD: said}
        return Answer(
            verdict.label, self.name, verdict.reason, self.model, parameters, self._clock() - start, spent.tokens,
            spent.cost, is_open=verdict.kind == GAVE_UP,
        )  # fmt: skip

    def _plan(self, question: Question) -> Amount:
        """Return the most that a pair can amount to if no request has to be repeated."""
        images = 2 * num_images(self.config.images)
        written = self.config.answer_tokens
        sample = picture_messages(self.prompt, question.goal, (), (), self.config, True)
        worst = self._client.worst
        if self.prompt.name == "one-stage":
            once = worst(text_bytes(sample), images, written)
        else:
            describe = self.config.describe_tokens
            again = text_bytes(verdict_messages(self.prompt, question.goal, "", self.config)) + describe
            once = worst(text_bytes(sample), images, describe) + worst(again, 0, written)
        return once + once if self.config.both_orders else once

    def _choice(
        self, hold: Hold, question: Question, first: Sequence[str], second: Sequence[str], is_clip: bool
    ) -> Choice:
        """Ask one order and return what it says. Raises: as `answer`."""
        config, goal = self.config, question.goal
        messages = picture_messages(self.prompt, goal, first, second, config, is_clip)
        known: int | None = None
        try:
            if self.prompt.name == "two-stage":
                described = self._complete(messages, config.describe_tokens, {}, hold)
                failure = "refusal" if described.refusal or described.finish == "content_filter" else ""
                failure = failure or ("cut off" if described.finish == "length" else "")
                failure = failure or ("" if described.text.strip() else "unparseable")
                self._count(failure)
                if failure:
                    return Choice(None, None, failure)
                messages = verdict_messages(self.prompt, goal, described.text.strip(), config)
                if described.usage is not None:  # the same model counted the description already
                    known = text_bytes(verdict_messages(self.prompt, goal, "", config)) + described.usage[1]
            extras: dict[str, Any] = {"response_format": self.prompt.schema} if config.json_schema else {}
            extras |= {"logprobs": True, "top_logprobs": 5} if config.logprobs else {}
            reply = self._complete(messages, config.answer_tokens, extras, hold, known)
        except GaveUp as error:
            if self._stop.is_set():  # for another pair's sake: this one was not given its chances
                raise _Interrupted from None
            self._count(GAVE_UP)
            return Choice(None, None, GAVE_UP, str(error))
        choice = read_choice(
            reply.text, reply.finish, reply.refusal, reply.logprobs, self.prompt, config.json_schema
        )
        self._count("" if choice.option is not None else choice.kind)
        self._tally.verdict(choice.label)
        return choice

    def _complete(
        self,
        messages: Sequence[Message],
        limit: int,
        extras: dict[str, Any],
        hold: Hold,
        known: int | None = None,
    ) -> Completion:
        request = Request(messages, limit, extras, text_bytes(messages) if known is None else known)
        return self._client.complete(request, hold, self._tally.repeat, self._stop.is_set)

    def _count(self, failure: str) -> None:
        stop = self._tally.reply(failure, self.config.max_failure_rate)
        if stop:
            raise TooManyFailures(f"{stop}; look at the server, at json_schema, or at the prompt")
