"""A bridge remedy on the terminal: what it would have removed, what stands against it, the commands, the hook."""

from __future__ import annotations

from typing import TYPE_CHECKING

from generator.deploy.hook import RELOAD
from nwscan.render.console import console, headline, refusal_lines, remark
from nwscan.render.text import count, visible

if TYPE_CHECKING:
    from nwscan.api.remedying import CardRemedy


def print_remedy(card: CardRemedy) -> None:
    """Print one card's remedy."""
    out, remedy, removes = console(), card.remedy, card.removes
    who, foreign = card.explanation.observation.identity.label, card.explanation.observation.foreign[0]
    least, most = (0, 0) if removes is None else (removes.frames_at_least, removes.frames_at_most)
    some = count(most) if least == most else f"{count(least)} to {count(most)}"
    out.print(headline(f"{who}: {remedy.title} would have kept {some} of {count(foreign)} foreign frames away"))
    for one in card.obstacles:
        out.print(*refusal_lines(one.reason, one.hint, can_force=one.can_force))
    out.print(remark(f"Effect: {remedy.effect}."))
    out.print(remark(f"Risk: {remedy.risk}."))
    out.print(remark(f"At a restart or a migration: {remedy.migration}."))
    out.print(headline("The commands, as root (--apply runs them with a journal and takes them back):"))
    for line in remedy.commands:
        out.print(f"  {visible(line)}", soft_wrap=True)
    out.print(headline("and to undo it:"))
    for line in remedy.undo:
        out.print(f"  {visible(line)}", soft_wrap=True)
    if card.hook is not None:
        out.print(headline("The libvirt hook that does it again at each start of the guest:"))
        for line in card.hook.splitlines():
            out.print(f"  {visible(line)}", soft_wrap=True)
        out.print(remark(f"libvirt looks for hooks when it starts: {RELOAD} once, after it was installed."))
    else:
        out.print(remark("It lasts until the guest's next start; --hook has libvirt do it again then."))
    out.print()
