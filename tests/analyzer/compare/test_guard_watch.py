"""Lost frames are harm where they are certain and many; traffic that is quiet or bursts is none."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from analyzer.compare.guard_watch import LossWatch
from analyzer.model.guards import GuardKind

ARP = GuardKind.ARP_UNICAST


def looks(*pairs: tuple[int, int], thinned: bool = False) -> list[str | None]:
    watch = LossWatch([ARP], [ARP] if thinned else [])
    return [watch.add({ARP: pair}) for pair in pairs]


def test_three_lost_frames_are_harm_a_second_later() -> None:
    assert looks((0, 0), (2, 0), (3, 0), (3, 0)) == [
        None,
        None,
        None,
        "the filter drops ARP to the guest's own MAC: at least 3 of 3 frames",
    ]


def test_what_was_lost_before_it_began_does_not_count() -> None:
    assert looks((50, 10), (50, 10), (51, 11)) == [None, None, None]


def test_counters_that_somebody_set_back_are_no_loss() -> None:
    assert looks((0, 0), (50, 50), (0, 0), (2, 2)) == [None] * 4
    assert looks((0, 0), (50, 50), (49, 50), (52, 50), (53, 50))[-1] is not None


def test_less_than_half_lost_is_left_to_the_second_window() -> None:
    assert looks((0, 0), (100, 60), (100, 60)) == [None, None, None]


def test_where_a_part_may_be_lost_only_a_complete_loss_is_harm() -> None:
    assert looks((0, 0), (10, 0), (10, 0), thinned=True)[-1] is not None
    assert looks((0, 0), (10, 1), (99, 1), (99, 1), thinned=True)[-1] is None


arrivals = st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 50)), max_size=40)


@given(st.integers(0, 1000), arrivals)
def test_no_schedule_of_frames_that_all_pass_is_harm(before: int, schedule: list[tuple[int, int]]) -> None:
    """However they come: ``late`` frames are between the reading behind the filter and the one ahead of it."""
    watch, passed = LossWatch([ARP]), before
    assert watch.add({ARP: (passed, passed)}) is None
    for frames, late in schedule:
        passed += frames
        assert watch.add({ARP: (passed + late, passed)}) is None
        passed += late


@given(st.lists(st.integers(0, 20), min_size=1, max_size=40))
def test_a_kind_that_is_cut_is_found_one_look_after_its_third_frame(schedule: list[int]) -> None:
    watch, offered, since = LossWatch([ARP]), 0, None
    watch.add({ARP: (0, 0)})
    for number, frames in enumerate((*schedule, 0)):
        offered += frames
        since = number if since is None and offered >= 3 else since
        harm = watch.add({ARP: (offered, 0)})
        if since is not None and number > since:
            assert harm is not None
