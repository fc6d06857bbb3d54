"""Broken files from whole ones: bytes that changed, and JSON whose parts did.  The same seed breaks the same way."""

from __future__ import annotations

import copy
import json
from random import Random
from typing import Any

HOSTILE = [
    *(
        "",
        "x",
        "\x1b[31mred",
        "\x1b]0;title\x07",
        "\x9b2J",
        "\u202egnp.exe",
        "[red]bold[/red]",
        "[link=file:///]x",
        "\r\n",
    ),
    *("../../x", "/etc/passwd", "a/../b", "\0", "*" * 40, "[!a]*", "a" * 5000, "{}", "os:system", "x.py:f", "μ"),
]
"""Text that a terminal, a path, a pattern or a markup could obey."""

NUMBERS = [0, 1, -1, 2, 255, 2**31, 2**33, 2**53, 2**63, 2**64, 10**30, 10**400, 0.5, -0.0, 1e300, 1e-300, float("inf")]
SCALARS = [None, True, False, *NUMBERS, float("nan"), *HOSTILE]
NAMES = [
    "type",
    "how",
    "layers",
    "event",
    "step",
    "shapes",
    "parts",
    "state",
    "name",
    "version",
    "parts",
    "base",
    "grid",
]


def mutated_bytes(rng: Random, content: bytes) -> bytes:
    """Content with one to four things done to its bytes."""
    data = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        a, b = sorted((rng.randint(0, len(data)), rng.randint(0, len(data))))
        b = min(b, a + rng.choice((1, 8, 200, 1 << 20)))
        match rng.choice(("flip", "set", "cut", "drop", "twice", "zero", "splice", "grow")):
            case "flip" if data:
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            case "set" if data:
                data[rng.randrange(len(data))] = rng.choice((0, 10, 27, 34, 91, 123, 127, 155, 255))
            case "cut":
                del data[a:]
            case "drop":
                del data[a:b]
            case "twice":
                data[b:b] = data[a:b]
            case "zero":
                data[a:b] = bytes(b - a)
            case "splice":
                place = rng.randint(0, len(data))
                data[place : place + b - a] = data[a:b]
            case "grow":
                data[a:a] = rng.choice((rng.randbytes(40), b"[" * 3000, b"9" * 6000, b"\n" * 50, b'{"a":' * 500))
    return bytes(data)


def mutated_json(rng: Random, value: Any) -> Any:
    """A parsed value with one to three of its parts replaced, removed, added, named anew, or nested deeply."""
    root = [copy.deepcopy(value)]
    for _ in range(rng.choice((1, 1, 2, 3))):
        container, key = rng.choice(_places(root))
        match rng.choice(("replace", "replace", "number", "remove", "add", "rename", "nest", "swap", "repeat")):
            case "number" if type(container[key]) in (int, float):
                container[key] = rng.choice((*NUMBERS, container[key] + 1, -container[key], container[key] * 1000))
            case "remove" if container is not root:
                del container[key]
            case "add" if isinstance(container, dict):
                container[rng.choice((*NAMES, *HOSTILE))] = _anything(rng)
            case "add" if container is not root:
                container.insert(key, _anything(rng))
            case "rename" if isinstance(container, dict):
                container[rng.choice((*container, *NAMES, *HOSTILE))] = container.pop(key)
            case "nest":
                for _ in range(rng.choice((1, 3, 70, 300))):
                    container[key] = rng.choice(([container[key]], {"how": container[key]}))
            case "swap":
                other, place = rng.choice(_places(root))
                container[key] = copy.deepcopy(other[place])
            case "repeat" if isinstance(container[key], list):
                container[key] = container[key] * rng.choice((2, 50))
            case _:
                container[key] = _anything(rng)
    return root[0]


def text_of(value: Any) -> bytes:
    """JSON, with numbers that JSON does not have, as hostile writers write it."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _anything(rng: Random) -> Any:
    scalar = rng.choice(SCALARS)
    return rng.choice((scalar, scalar, [scalar], {"type": scalar}, [], {}, [[1, 2], {"layers": scalar}]))


def _places(value: Any, depth: int = 90) -> list[tuple[Any, Any]]:
    """Every (container, key) in a tree."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    if not depth:
        return []
    here: list[tuple[Any, Any]] = [(value, key) for key in keys]
    return here + [place for key in keys for place in _places(value[key], depth - 1)]
