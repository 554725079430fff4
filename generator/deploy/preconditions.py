"""What a plan rests on besides what it changes: the filters that its own refer to, and who refers to its own.

A filter of somebody else that ours stands before acts on the guest as well: edited, the prediction is void. A filter of
ours that another guest has come to refer to changes for that guest, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from analyzer.errors import HostError
from generator.deploy.plan import Plan, Precondition, digest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from generator.deploy.door import WriterDoor


def filter_precondition(name: str, text: str | None) -> Precondition:
    """Hold that a filter is as it was read."""
    return Precondition("filter", name, digest(text))


def users_precondition(name: str, users: Sequence[str]) -> Precondition:
    """Hold that the same guests and filters refer to a filter, besides those of the plan."""
    return Precondition("users", name, digest("\n".join(sorted(users))))


def other_users(plan_guest: str, filters: Sequence[str], users: Sequence[str]) -> tuple[str, ...]:
    """Leave out who the plan itself is about: its guest, and its own filters."""
    own = {f"filter {name}" for name in filters}
    return tuple(one for one in users if one not in own and not one.startswith(f"guest {plan_guest} ("))


def require(plan: Plan, door: WriterDoor) -> None:
    """Raise HostError where a filter below the plan's has changed, or somebody else has come to refer to one of them.

    A plan that was made without looking has no preconditions.
    """
    for each in plan.preconditions:
        if each.kind == "filter":
            now, what = filter_precondition(each.name, door.filter_xml(each.name)), f"filter {each.name} has changed"
        else:
            users = other_users(plan.name, plan.filters, door.filter_users(each.name))
            now = users_precondition(each.name, users)
            told = ", ".join(users) or "nobody else"
            what = f"others refer to filter {each.name} than when the plan was made (now {told})"
        if now != each:
            raise HostError(
                f"{what} since the plan was made" if each.kind == "filter" else what,
                plan.uri,
                "make a new plan with nwscan suggest",
            )
