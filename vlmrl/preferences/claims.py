"""Claims: of two processes that want the same question answered, one asks and the other waits for the answer.

A claim is a lock of the operating system on one byte of a file beside the store, so it ends with its process, however
that ends. Where the system has no such locks (Windows) nothing is claimed: two processes may then both ask, and the
store keeps the first answer.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from vlmrl.errors import usage_error

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_GUARD = threading.Lock()
_FILES: dict[Path, tuple[int, threading.RLock]] = {}
"""Claim file -> its descriptor, kept open (closing one drops all locks of the process on that file), and a lock for
the threads of this process, which the system's locks do not keep apart."""


@contextmanager
def claimed(path: Path, digests: Iterable[str]) -> Iterator[None]:
    """Hold what the hexadecimal `digests` name, in the claim file `path`, against other processes and threads.

    Waits while another holds one of them. All take them in one order, so that two never wait for each other.
    Raises: UsageError if the file cannot be opened.
    """
    descriptor, lock = _open(path)
    places = sorted({int(digest[:15], 16) for digest in digests})
    held: list[int] = []
    with lock:
        try:
            for place in places if fcntl else ():
                _wait_for(descriptor, place)
                held.append(place)
            yield
        finally:
            for place in held:
                fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, place)


def _wait_for(descriptor: int, place: int) -> None:
    while True:
        try:
            return fcntl.lockf(descriptor, fcntl.LOCK_EX, 1, place)
        except OSError as error:
            # The system looks at whole processes: threads that ask two stores can look like a circle to it.
            if error.errno != errno.EDEADLK:
                raise
            time.sleep(0.05)


def _open(path: Path) -> tuple[int, threading.RLock]:
    path = path.absolute()
    with _GUARD:
        known = _FILES.get(path)
        if known is None or not _same_file(known[0], path):  # a run folder deleted and made again
            try:
                known = (os.open(path, os.O_RDWR | os.O_CREAT, 0o644), threading.RLock())
            except OSError as error:
                got = f"{path} ({error.strerror})"
                raise usage_error(
                    "store", got, "a folder that may be written", "name another file"
                ) from error
            _FILES[path] = known
        return known


def _same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except OSError:
        return False
