"""What `vlmrl label` does, and the same as a labeller for a program that waits for the person."""

from __future__ import annotations

import os
import webbrowser
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from vlmrl.errors import usage_error
from vlmrl.preferences.human.folder import FolderSink
from vlmrl.preferences.human.server import LabelServer
from vlmrl.preferences.human.session import PARAMETERS, LabelSession
from vlmrl.preferences.human.sink import AnswerSink, MemorySink
from vlmrl.preferences.protocol import Answer, Pair, Question

PREFERENCES = "preferences"
"""Folder of a run that holds its pairs and answers."""


class LabellingStopped(RuntimeError):
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
    """Serve the page for the pairs in RUN/preferences until the person finishes or Ctrl-C; return the totals.

    on_ready: called with the page's address. Each answer is on disk before the page shows the next pair.
    Raises: UsageError without pairs, or if port or fps are wrong.
    """
    folder = Path(run) / PREFERENCES
    if not folder.is_dir():
        remedy = "`vlmrl.preferences.human.write_pairs` puts pairs there"
        raise usage_error("run", run, f"a run with a folder {PREFERENCES}", remedy)
    sink = FolderSink(folder)
    try:
        return serve(sink, port=port, person=person, fps=fps, open_browser=open_browser, on_ready=on_ready)
    finally:
        sink.close()


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

    Attributes: name "human"; model, the person's name; parameters, how pairs are shown.
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
    ) -> None:
        """`on_ready` is called with the page's address; `open_browser` opens it as well."""
        self.model, self.parameters = person, dict(PARAMETERS)
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
        sink = MemorySink(pairs, question)
        if sink.pending():
            serve(sink, person=self.model, **self._options)
        answers = [sink.answers.get(pair.key) for pair in pairs]
        given = [answer for answer in answers if answer is not None]
        if len(given) < len(answers):
            error = LabellingStopped(
                f"{len(given)} of {len(answers)} pairs were answered; ask the rest again"
            )
            error.answers = answers
            raise error
        return given
