"""The HTML report: one file that needs no network and runs no script. The one place that touches jinja2.

Every string goes through ``visible`` and is escaped; only our own charts are markup. A policy in the file forbids
everything but its own style, which is named by its hash.
"""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from analyzer.errors import HostError
from analyzer.version import VERSION
from nwscan.render import plots
from nwscan.render.report import by_suffering, report_headline
from nwscan.render.report_page import overview, report_section, suggestion_section, verdict_section
from nwscan.render.text import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyzer.report.report import Report
    from generator.evaluate.prediction import Prediction
    from nwscan.api import shown_documents as shown
    from nwscan.render.blocks import Section

_TEMPLATE: Final = "report.html.j2"
_STYLE: Final = "report.css"


def html_page(
    reports: Sequence[Report],
    suggestions: Sequence[tuple[shown.Suggestion, Prediction | None]] = (),
    verdicts: Sequence[shown.Verdict] = (),
) -> str:
    """Give the page of reports, one a card, of suggestions and of verdicts; the same input gives the same page.

    Raises HostError where jinja2 or matplotlib is not installed.
    """
    try:
        import jinja2
        from markupsafe import Markup
    except ImportError as error:
        hint = "install it: pip install 'nwscan[html]'"
        raise HostError("an HTML report needs jinja2, which is not installed", hint=hint) from error
    folder = files("nwscan.render") / "templates"
    named = [(report, f"card-{number}") for number, report in enumerate(reports, 1)]
    sections = [report_section(*pair) for pair in named]
    sections += [suggestion_section(*pair, f"filter-{number}") for number, pair in enumerate(suggestions, 1)]
    sections += [verdict_section(verdict, f"proof-{number}") for number, verdict in enumerate(verdicts, 1)]
    style = folder.joinpath(_STYLE).read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()

    def shown_value(value: Any) -> Any:  # noqa: ANN401 - whatever a template shows
        return value if isinstance(value, Markup) or not isinstance(value, str) else visible(value)

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, finalize=shown_value, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(folder.joinpath(_TEMPLATE).read_text(encoding="utf-8"))
    return template.render(
        title=_title(reports, sections),
        sections=sections,
        overview=overview(reports) if len(reports) > 1 else None,
        style=Markup(style),  # noqa: S704 - our own file
        policy=f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'",
        svg=lambda chart, width: Markup(chart.picture.svg(width, chart.name + "-" + chart.picture.name)),  # noqa: S704
        widths=(plots.WIDE, plots.NARROW),
        version=VERSION,
    )


def _title(reports: Sequence[Report], sections: Sequence[Section]) -> str:
    """Give the sentence that says it all: of several cards, what the worst of them sees."""
    if len(reports) > 1:
        return f"Of {len(reports)} cards, {report_headline(by_suffering(reports)[0])}"
    return sections[0].headline if sections else "nothing to show"
