"""The words of a rule that nft tells as JSON (libnftables-json(5)), as ``nft list`` would print them.

For people and for comparing rules as text. Pure; what is not known here is shown as its JSON, never left out.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

INTERFACE_KEYS: Final = frozenset({"oif", "oifname", "iif", "iifname"})
"""The keys of ``meta`` that name the interface which a frame leaves or came through."""


def statement_words(kind: str, value: Any) -> str:  # noqa: ANN401 - any JSON
    """Give the words of one statement: ``ether daddr 52:54:00:00:00:01``, ``jump vnet0-in``, ``drop``."""
    if value is None:
        return kind
    if kind == "match":
        masked = isinstance(value["left"], dict) and "&" in value["left"]
        operator = value.get("op", "==")
        shown = f" {operator}" if masked or operator not in {"==", "in"} else ""
        return f"{expression_words(value['left'])}{shown} {expression_words(value['right'])}"
    if kind in {"jump", "goto"}:
        return f"{kind} {value['target']}"
    if kind == "vmap":
        return f"{expression_words(value['key'])} vmap {expression_words(value['data'])}"
    return f"{kind} {json.dumps(value)}"


def expression_words(value: Any) -> str:  # noqa: ANN401 - any JSON
    """Give the words of one expression: ``ether daddr & 01:00:00:00:00:00``, ``68-70``, ``{ a, b }``."""
    if isinstance(value, list):
        return ",".join(map(expression_words, value))
    if not isinstance(value, dict):
        return str(value)
    kind, body = next(iter(value.items()))
    words = _WORDS.get(kind)
    try:
        return json.dumps(value) if words is None else words(body)
    except (KeyError, TypeError):
        return json.dumps(value)


def _meta(body: Any) -> str:  # noqa: ANN401 - any JSON
    return str(body["key"]) if body["key"] in INTERFACE_KEYS else f"meta {body['key']}"


def _set(body: Any) -> str:  # noqa: ANN401 - any JSON
    return "{ " + ", ".join(map(expression_words, body if isinstance(body, list) else [body])) + " }"


_WORDS: Final[Mapping[str, Callable[[Any], str]]] = {
    "payload": lambda body: f"{body['protocol']} {body['field']}",
    "meta": _meta,
    "ct": lambda body: f"ct {body['key']}",
    "&": lambda body: " & ".join(map(expression_words, body)),
    "prefix": lambda body: f"{expression_words(body['addr'])}/{body['len']}",
    "range": lambda body: "-".join(map(expression_words, body)),
    "set": _set,
}
