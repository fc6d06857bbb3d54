"""JSON files that people write: read strictly, with one line that says what is wrong and where.

Owns the limits of such a file (size, depth, numbers, text) and their wording; knows nothing of schemes.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

from lctui.errors import BadInput

MAX_BYTES = 4 * 2**20
MAX_DEPTH = 64
MAX_DIGITS = 40


def read_json(path: Path) -> Any:
    """Parsed JSON of a file; refuses duplicate keys, NaN, infinite numbers, and files over 4 MiB.

    Raises:
        BadInput: the file is missing, unreadable or not JSON; says where.
    """
    source = str(path)
    text = _read_text(path, source)
    try:
        value = json.loads(
            text,
            object_pairs_hook=_no_duplicates,
            parse_constant=_no_constant,
            parse_float=_finite,
            parse_int=_short,
        )
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise BadInput.one(source, "", f"is not JSON: {error.msg} at {where}") from None
    except RecursionError:
        raise BadInput.one(source, "", "is nested too deeply") from None
    except ValueError as error:
        raise BadInput.one(source, "", f"is not JSON: {error}") from None
    if (problem := unfit(value)) is not None:
        raise BadInput.one(source, "", problem)
    return value


def _read_text(path: Path, source: str) -> str:
    try:
        if path.is_dir():
            raise BadInput.one(source, "", "is a folder, not a scheme file")
        with path.open("rb") as file:
            # Never more than the limit: a pipe or a device has no size to ask for first.
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise BadInput.one(source, "", f"is larger than {MAX_BYTES // 2**20} MiB: not a scheme file")
        return content.decode("utf-8-sig")
    except FileNotFoundError:
        raise BadInput.one(source, "", "no such file") from None
    except OSError as error:
        raise BadInput.one(source, "", f"cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise BadInput.one(source, "", f"is not UTF-8 text (byte {error.start})") from None
    except ValueError:
        raise BadInput.one(source, "", "is no name that a file can have") from None


def unfit(value: Any) -> str | None:
    """Why a parsed value cannot be part of a scheme: nested too deeply, or text and numbers that JSON cannot hold."""
    levels = [value]
    for _ in range(MAX_DEPTH + 1):
        below: list[Any] = []
        for item in levels:
            if isinstance(item, float) and not math.isfinite(item):
                return f"{item} is not a JSON number"
            if isinstance(item, str) and not _is_text(item):
                return f"{item[:40]!a} is not text: it holds half a character"
            below += [*item, *item.values()] if isinstance(item, dict) else item if isinstance(item, list) else ()
        if not below:
            return None
        levels = below
    return f"is nested too deeply: more than {MAX_DEPTH} levels"


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f"{twice!r} stands twice in one object")
    return result


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"{_cut(digits)} is too large for a number")
    return number


def _short(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"{_cut(digits)} is too large for a number")
    return int(digits)


def _cut(digits: str) -> str:
    return digits if len(digits) <= MAX_DIGITS else f"{digits[:MAX_DIGITS]}…"
