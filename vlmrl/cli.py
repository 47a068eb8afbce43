"""The command line `vlmrl`: parse, run, print the result once, and end with the right exit code.

Exit codes: 0 done; 2 wrong usage or input, said in one line; 130 interrupted; 1 anything else.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Union

import tyro

from vlmrl import commands
from vlmrl.errors import Stopped, UsageError
from vlmrl.tasks import TASKS

DONE, FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that `argv` (None: sys.argv) asks for and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments == ["--version"]:
        from importlib.metadata import version

        print(f"vlmrl {version('vlmrl')}")
        return DONE
    try:
        command = parse(arguments)
        # Libraries greet on standard output (Warp does): there only the result belongs.
        with _one_line_warnings(), contextlib.redirect_stdout(sys.stderr):
            outcome = command.run()
        print(json.dumps(outcome.result, ensure_ascii=False) if command.json else outcome.text, flush=True)
        return outcome.code
    except SystemExit as exit_:  # tyro: 0 after --help, 2 after a mistake
        return exit_.code if isinstance(exit_.code, int) else FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # `vlmrl tasks | head`: the reader has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return FAILED
    except Exception as error:
        return _explain(error)


def parse(arguments: Sequence[str]) -> Any:
    """Return the command dataclass that `arguments` describe; defaults of `train` are its task's preset.

    Raises: SystemExit, with 2 after a mistake, which tyro has explained on standard error.
    """
    # The preset depends on the task, which only parsing finds for sure: guess, and if wrong parse again.
    guess = next((word for word in arguments if word in TASKS), None)
    command = _parse(arguments, guess)
    task = getattr(command, "task", None)
    if isinstance(command, commands.Train) and task != guess:
        command = _parse(arguments, task)
    return command


def _parse(arguments: Sequence[str], task: str | None) -> Any:
    variants = []
    for name, cls in commands.COMMANDS.items():
        options: dict[str, Any] = {"name": name}
        if cls is commands.Train and arguments[:1] == ["train"]:
            options["default"] = commands.train_defaults(task)
        variants.append(Annotated[cls, tyro.conf.subcommand(**options)])
    union: Any = Union[tuple(variants)]  # noqa: UP007
    return tyro.cli(
        union,
        args=list(arguments),
        prog="vlmrl",
        description="Name a goal in words, get a trained agent.",
        config=(tyro.conf.OmitSubcommandPrefixes, tyro.conf.FlagCreatePairsOff),
    )


def _explain(error: Exception) -> int:
    """Print a known kind of error in one line and return its code; raise any other, with its traceback."""
    is_usage = isinstance(error, UsageError) or type(error).__name__ == "WorldError"
    known = is_usage or isinstance(error, (OSError, FloatingPointError, Stopped))
    if not known:
        raise error
    text = " ".join(str(error).split()) or type(error).__name__
    print(f"vlmrl: error: {text}", file=sys.stderr)
    return WRONG_USAGE if is_usage else FAILED


@contextlib.contextmanager
def _one_line_warnings() -> Iterator[None]:
    """Show warnings as lines for people, without file and source line."""

    def show(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
        if not issubclass(category, (DeprecationWarning, FutureWarning, ResourceWarning)):
            print(f"vlmrl: warning: {' '.join(str(message).split())}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


if __name__ == "__main__":
    sys.exit(main())
