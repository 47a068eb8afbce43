"""What `vlmrl label` does, and the same as a labeller for a program that waits for the person."""

from __future__ import annotations

import os
import webbrowser
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from vlmrl.configs import from_plain
from vlmrl.errors import Stopped, usage_error
from vlmrl.preferences.human.folder import FolderSink
from vlmrl.preferences.human.server import LabelServer
from vlmrl.preferences.human.session import PARAMETERS, LabelSession
from vlmrl.preferences.human.sink import AnswerSink, MemorySink
from vlmrl.preferences.human.store_sink import PredictionFile, StoreSink
from vlmrl.preferences.protocol import Answer, Pair, Question, task_question
from vlmrl.preferences.store import PREDICTIONS, STORE, PreferenceStore
from vlmrl.runs import read_config
from vlmrl.tasks import Task

PREFERENCES = "preferences"
"""Folder of a run that holds pairs of `write_pairs` and their answers, where it has no store."""


class LabellingStopped(Stopped):
    """The person finished before the last pair. Attributes: `answers`, None where none was given."""

    answers: Sequence[Answer | None] = ()


def label_run(
    run: str | os.PathLike[str],
    *,
    port: int = 0,
    person: str = "",
    fps: float = 8.0,
    open_browser: bool = False,
    on_ready: Callable[[str], object] = print,
) -> dict[str, Any]:
    """Serve the page for a run's pairs until the person finishes or Ctrl-C; return the totals.

    The pairs are those of the run's store that this person has not answered, whoever else has, and go on coming while
    the run trains; of a run without a store, those in RUN/preferences.
    on_ready: called with the page's address. Each answer is on disk before the page shows the next pair.
    Raises: UsageError without pairs, or if port or fps are wrong.
    """
    options: dict[str, Any] = {"port": port, "person": person, "fps": fps, "open_browser": open_browser}
    folder, store = Path(run) / PREFERENCES, Path(run) / STORE
    if store.is_file():
        question = task_question(from_plain(Task, read_config(run)["config"]["task"]))
        with PreferenceStore(store) as opened:
            known = PredictionFile(Path(run) / PREDICTIONS)
            sink = StoreSink(opened, HumanLabeller(person), question, known.of)
            return serve(sink, on_ready=on_ready, **options)
    if not folder.is_dir():
        remedy = "train with --labeller, or put pairs there with `vlmrl.preferences.human.write_pairs`"
        raise usage_error("run", run, f"a run with {STORE} or a folder {PREFERENCES}", remedy)
    files = FolderSink(folder)
    try:
        return serve(files, on_ready=on_ready, **options)
    finally:
        files.close()


def serve(
    sink: AnswerSink,
    *,
    port: int = 0,
    person: str = "",
    fps: float = 8.0,
    open_browser: bool = False,
    on_ready: Callable[[str], object] = print,
) -> dict[str, Any]:
    """Serve the page for any sink until the person finishes or Ctrl-C; return the totals as JSON values."""
    session = LabelSession(sink, person=person)
    with LabelServer(session, port=port, fps=fps) as server:
        on_ready(server.url)
        if open_browser:
            webbrowser.open(server.url)
        try:
            while not server.finished.wait(0.5):  # with a timeout, so that Ctrl-C is heard on every system
                pass
        except KeyboardInterrupt:  # the usual way to leave: every answer is kept already
            pass
    return session.totals()


class HumanLabeller:
    """Asks a person, in a browser on this machine, and waits.

    Attributes: name "human"; model, the person's name; parameters, how pairs are shown; predict, P(first preferred) of
    pairs by the model so far, or None: called before the pairs are shown, for the page to say how often they agree.
    """

    name = "human"

    def __init__(
        self,
        person: str = "",
        *,
        port: int = 0,
        fps: float = 8.0,
        open_browser: bool = True,
        on_ready: Callable[[str], object] = print,
        store: str | os.PathLike[str] | None = None,
    ) -> None:
        """`on_ready` is called with the page's address; `open_browser` opens it as well.

        store: the store that asks this person; each answer then lies in it before the next pair is shown, whatever
        happens to this process, and not only when all were given.
        """
        self.model, self.parameters = person, dict(PARAMETERS)
        self.predict: Callable[[Sequence[Pair]], Iterable[float]] | None = None
        self._store = store
        self._options: dict[str, Any] = {
            "port": port,
            "fps": fps,
            "open_browser": open_browser,
            "on_ready": on_ready,
        }

    def answer(self, pairs: Sequence[Pair], question: Question) -> list[Answer]:
        """Return the person's answer to each pair, in order; a skipped one abstains.

        Raises: LabellingStopped, with the `answers` so far, if the person finishes earlier.
        """
        answers = self._serve(pairs, question)
        given = [answer for answer in answers if answer is not None]
        if len(given) < len(answers):
            error = LabellingStopped(
                f"{len(given)} of {len(answers)} pairs were answered; ask the rest again"
            )
            error.answers = answers
            raise error
        return given

    def _serve(self, pairs: Sequence[Pair], question: Question) -> list[Answer | None]:
        predicted = [] if self.predict is None else map(float, self.predict(pairs))
        known = dict(zip((pair.key for pair in pairs), predicted, strict=False))
        if self._store is None:
            sink = MemorySink(pairs, question, known)
            if sink.pending():
                serve(sink, person=self.model, **self._options)
            return [sink.answers.get(pair.key) for pair in pairs]
        with PreferenceStore(Path(self._store)) as store:
            store.add_pairs(pairs)
            stored = StoreSink(store, self, question, known.get, only=[pair.key for pair in pairs])
            if stored.pending():
                serve(stored, person=self.model, **self._options)
            return store.find(self, pairs, question)
