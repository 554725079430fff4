"""What ``status`` prints of a bridge remedy and of what can be put right."""

from __future__ import annotations

from typing import TYPE_CHECKING

from generator.deploy.drift import Drift, DriftCause
from generator.deploy.journal_record import State
from generator.deploy.status import CardStatus
from nwscan.api.change import HostStatus
from nwscan.render.host import print_status

if TYPE_CHECKING:
    import pytest

GONE = Drift(DriftCause.PORT_CHANGED, "br0 floods unknown unicast to vnet0 again: somebody changed it")


def status(*findings: Drift, live: str | None = None) -> HostStatus:
    card = CardStatus(
        guest="vm1",
        uuid="6e777363-616e-4c61-8b00-000000000001",
        mac="52:54:00:00:00:01",
        tap="vnet0",
        intended=live,
        live=live,
        inactive=live,
        binding=live,
        rules=None,
        state=State.CONFIRMED,
        since=None,
        findings=findings,
        has_remedy=True,
    )
    return HostStatus((card,), ())


def test_a_remedy_is_told_alone_and_beside_a_filter(capsys: pytest.CaptureFixture[str]) -> None:
    print_status(status())
    alone = capsys.readouterr().out
    assert "1 card with a change of nwscan" in alone
    assert "a bridge remedy" in alone
    assert "--repair" not in alone
    print_status(status(live="nwscan-x"))
    assert "nwscan-x and a bridge remedy" in " ".join(capsys.readouterr().out.split())


def test_the_command_that_puts_it_right_is_told_where_one_does(capsys: pytest.CaptureFixture[str]) -> None:
    print_status(status(GONE))
    out = " ".join(capsys.readouterr().out.split())
    assert GONE.sentence in out
    assert "To put it right: nwscan status --repair" in out
    print_status(status(Drift(DriftCause.MIGRATED, "it was migrated", can_repair=False)))
    assert "--repair" not in capsys.readouterr().out
