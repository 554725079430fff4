"""How many hostile inputs there are: the number that SECURITY.md names is of these."""

from __future__ import annotations

from tests.hostile import test_arguments, test_files, test_frames, test_journals, test_names, test_reports, test_xml

LEAST, LEAST_OF_A_KIND = 300, 20


def test_there_are_enough_of_each_kind() -> None:
    kinds = (test_files, test_xml, test_reports, test_journals, test_names, test_frames, test_arguments)
    inputs = {kind.__name__.rpartition("_")[2]: kind.INPUTS for kind in kinds}
    assert min(inputs.values()) >= LEAST_OF_A_KIND, inputs
    assert sum(inputs.values()) >= LEAST, inputs
