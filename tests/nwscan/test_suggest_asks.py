"""``suggest --apply`` on a terminal asks about each virtual MAC: whether the guest takes part, only a person knows."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from analyzer.errors import UsageError
from generator.suggest.suggestion import suggest
from nwscan.api.suggesting import Proposal
from nwscan.cli.suggest import _ask_about_shared
from tests.generator.suggest.cases import CARD, GATEWAY, TRAFFIC, VRRP, measure

NLB = 0x02BFC0000201


def proposal() -> Proposal:
    report, prediction = measure((*TRAFFIC, (VRRP, GATEWAY, True), (NLB, GATEWAY, True), (NLB, GATEWAY, True)))
    return Proposal(CARD, report, None, suggest(CARD, report, prediction))


def test_where_the_guest_takes_part_the_filter_has_to_be_made_with_the_mac() -> None:
    with CliRunner().isolation(input="n\ny\n") as (_, said, _), pytest.raises(UsageError) as refused:
        _ask_about_shared("vm1", [proposal()])
    asked = said.getvalue().decode()
    assert "2 frames went to 02:bf:c0:00:02:01, a MAC of a Network Load Balancing cluster. Does vm1 take part" in asked
    assert "1 frames went to 00:00:5e:00:01:07, a MAC of VRRP or CARP (IPv4). Does vm1 take part in it? [y/N]" in asked
    assert refused.value.hint == "run it again with --also-mac 00:00:5e:00:01:07"


@pytest.mark.parametrize("answers", ["\n\n", "n\nn\n"])
def test_where_it_does_not_all_goes_on(answers: str) -> None:
    with CliRunner().isolation(input=answers):
        _ask_about_shared("vm1", [proposal()])


def test_what_passes_is_not_asked_about() -> None:
    report, prediction = measure((*TRAFFIC, (VRRP, GATEWAY, True)), also_macs=(VRRP,))
    found = suggest(CARD, report, prediction, also_macs=(VRRP,))
    _ask_about_shared("vm1", [Proposal(CARD, report, None, found)])
