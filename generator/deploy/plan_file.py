"""The file of a plan: ``nwscan.plan/1`` for one guest, ``nwscan.plans/1`` for several, a transaction each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from analyzer.errors import InputError
from generator.deploy.plan import SIZE_LIMIT, Plan, check, decode, encode

if TYPE_CHECKING:
    from collections.abc import Sequence


class _Plans(msgspec.Struct, frozen=True):
    schema: Literal["nwscan.plans/1"]
    plans: tuple[Plan, ...]


class _AnySchema(msgspec.Struct, frozen=True):
    schema: str


def encode_plans(plans: Sequence[Plan]) -> bytes:
    """Give the file of the plans, for people to read and for ``decode_plans``."""
    if len(plans) == 1:
        return encode(plans[0])
    return msgspec.json.format(msgspec.json.encode(_Plans("nwscan.plans/1", tuple(plans))), indent=1) + b"\n"


def decode_plans(document: bytes, where: str = "the plan") -> tuple[Plan, ...]:
    """Give the plans of a file, at least one, each of another guest. Raises InputError where it is none of ours."""
    if len(document) > SIZE_LIMIT:
        raise InputError(f"a plan of {len(document)} octets is above the limit of {SIZE_LIMIT}", where)
    try:
        schema = msgspec.json.decode(document, type=_AnySchema).schema
        if schema != "nwscan.plans/1":
            return (decode(document, where),)
        plans = msgspec.json.decode(document, type=_Plans).plans
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise InputError(f"not a plan of nwscan: {error}", where, "name a plan that nwscan suggest -o wrote") from error
    for plan in plans:
        check(plan, where)
    if not plans or len({plan.guest for plan in plans}) < len(plans):
        raise InputError("the plans are not of one guest each", where, "make it anew: nwscan suggest")
    return plans


def schemas() -> dict[str, dict[str, Any]]:
    """Give the JSON Schemas of both kinds of file by their names, as they are published."""
    published = {}
    for kind, told in ((Plan, "what changes on one guest"), (_Plans, "what changes on several guests")):
        name = "nwscan.plan/1" if kind is Plan else "nwscan.plans/1"
        described = f"The file that suggest -o writes and apply reads: {told}, step by step."
        found = msgspec.json.schema(kind)
        published[name] = {**_PUBLISHED, "title": name, "description": described, **found}
    return published


_PUBLISHED: Final = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
