"""Pictures of the terminal: they hold what it held, and fetch nothing."""

import re
import xml.etree.ElementTree as ET

from tools.terminal_pictures import svg_of

HELD = "\x1b[1mvm1 sees 69.3 % <foreign> & more\x1b[0m\n  \x1b[31mred\x1b[0m █▓"


def test_a_picture_holds_what_the_terminal_held_and_fetches_nothing() -> None:
    picture = svg_of("nwscan list", HELD, 80)
    words = "".join(ET.fromstring(picture).itertext()).replace("\xa0", " ")  # noqa: S314 - our own
    for text in ("nwscan list", "vm1 sees 69.3 % <foreign> & more", "red", "█▓"):
        assert text in words
    assert not re.search(r"url\((?!#)|@import|<script|<image", picture)
    assert "font-weight: bold" in picture
