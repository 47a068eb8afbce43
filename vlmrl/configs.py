"""Frozen dataclass configs as plain JSON values and back, with secrets taken out."""

from __future__ import annotations

import dataclasses
import difflib
import math
import os
import re
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from vlmrl.errors import UsageError, usage_error

T = TypeVar("T")

REMOVED = "[removed]"
_SECRET_WORD = (
    r"(api_?key|access_?key|secret(_?key)?|private_?key|passw(or)?d|passphrase|token|credentials?|auth)"
)
_SECRET_NAME = re.compile(rf"(^|[_.-]){_SECRET_WORD}s?$", re.IGNORECASE)
_SECRET_VALUE = re.compile(
    r"\b(sk-[\w-]{16,}|hf_\w{16,}|gh[pousr]_\w{16,}|github_pat_\w{16,}|xox[abprs]-[\w-]{10,}|AKIA[0-9A-Z]{16}"
    r"|AIza[\w-]{30,})|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"
)


def to_plain(value: Any) -> Any:
    """Return `value` as JSON values: dataclasses and mappings as dict, paths as str, tuples as lists.

    Non-finite numbers become the strings "nan", "inf", "-inf", which `from_plain` takes back.
    Raises: UsageError on anything that has no plain form (arrays, functions).
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(to_plain(item) for item in value)
    if isinstance(value, Path):
        return str(value)
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if getattr(value, "shape", None) == () and hasattr(value, "item"):  # a NumPy, torch or JAX scalar
        return to_plain(value.item())
    raise usage_error(
        "config value", type(value).__name__, "numbers, strings, lists, dataclasses", "convert it first"
    )


def from_plain(cls: type[T], plain: Any, where: str = "config") -> T:
    """Return the `cls` (a dataclass or any type a config field may have) that `plain` describes.

    Fields that `plain` lacks keep their default. `where` names the place for error messages.
    Raises: UsageError on unknown fields, missing fields and values of the wrong type.
    """
    if dataclasses.is_dataclass(cls):
        return _dataclass_from_plain(cls, plain, where)
    origin, args = typing.get_origin(cls), typing.get_args(cls)
    if origin in (typing.Union, types.UnionType):
        return _union_from_plain(args, plain, where)
    if origin is typing.Annotated:
        return from_plain(args[0], plain, where)
    if origin is typing.Literal and plain in args:
        return plain
    if origin is tuple and isinstance(plain, (list, tuple)):
        types_of = args[:1] * len(plain) if args[1:] == (...,) else args
        if len(types_of) == len(plain):
            items = zip(types_of, plain, strict=True)
            return tuple(from_plain(t, item, f"{where}[{i}]") for i, (t, item) in enumerate(items))  # type: ignore[return-value]
    if origin in (list, dict) and isinstance(plain, origin):
        return plain
    return _leaf_from_plain(cls, plain, where)


def _leaf_from_plain(cls: Any, plain: Any, where: str) -> Any:
    if cls is Any:
        return plain
    if cls is float and (type(plain) in (int, float) or plain in ("nan", "inf", "-inf")):
        return float(plain)
    if cls is Path and isinstance(plain, str):
        return Path(plain)
    is_class = isinstance(cls, type)
    if is_class and isinstance(plain, cls) and not (isinstance(plain, bool) and cls is int):
        return plain
    expected = getattr(cls, "__name__", str(cls)) if is_class else str(cls)
    raise usage_error(where, repr(plain), expected, "correct the value")


def _union_from_plain(args: tuple[Any, ...], plain: Any, where: str) -> Any:
    if plain is None and type(None) in args:
        return None
    errors: list[UsageError] = []
    # Exact types first: in int | float, 3 is to stay an int.
    for cls in sorted(args, key=lambda a: type(plain) is not a):
        try:
            return from_plain(cls, plain, where)
        except UsageError as error:
            errors.append(error)
    raise errors[0]


def _dataclass_from_plain(cls: Any, plain: Any, where: str) -> Any:
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init}
    if not isinstance(plain, Mapping):
        raise usage_error(where, repr(plain), f"the fields of {cls.__name__}", "correct the value")
    for name in plain:
        if name not in fields:
            close = difflib.get_close_matches(name, fields, n=1)
            remedy = f"did you mean {close[0]}?" if close else "remove it"
            raise usage_error(f"{where}.{name}", "an unknown field", f"one of {', '.join(fields)}", remedy)
    hints = typing.get_type_hints(cls, include_extras=True)
    values = {name: from_plain(hints[name], item, f"{where}.{name}") for name, item in plain.items()}
    try:
        return cls(**values)
    except TypeError as error:  # a field without default is missing
        raise usage_error(
            where, sorted(plain), f"every field of {cls.__name__} ({error})", "add it"
        ) from error


def redact(plain: Any, environ: Mapping[str, str] | None = None) -> Any:
    """Return `plain` with secrets replaced by "[removed]".

    Removed are: strings under a name such as api_key, token or password; anything that looks like a
    well-known key or a password in a URL; and the value of any environment variable of such a name.
    """
    variables = os.environ if environ is None else environ
    known = sorted({v for k, v in variables.items() if _SECRET_NAME.search(k) and len(v) >= 8}, key=len)
    return _redact(plain, known[::-1])  # longest first, in case one secret contains another


def _redact(plain: Any, known: list[str]) -> Any:
    if isinstance(plain, dict):
        return {
            _redact(key, known): REMOVED
            if isinstance(item, str) and item and _SECRET_NAME.search(key)
            else _redact(item, known)
            for key, item in plain.items()
        }
    if isinstance(plain, list):
        # A command line: the word after --api-key.
        hidden = [isinstance(item, str) and item[:1] == "-" and _SECRET_NAME.search(item) for item in plain]
        after = zip([None, *hidden], plain, strict=False)
        return [
            REMOVED if secret and isinstance(item, str) else _redact(item, known) for secret, item in after
        ]
    if isinstance(plain, str):
        for secret in known:
            plain = plain.replace(secret, REMOVED)
        name, equals, _ = plain.partition("=")
        if equals and _SECRET_NAME.search(name):
            return f"{name}={REMOVED}"
        return _SECRET_VALUE.sub(REMOVED, plain)
    return plain
