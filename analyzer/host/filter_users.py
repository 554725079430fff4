"""Who refers to the nwfilters of a host: filters, and guests by what runs, by their definition, by a saved state.

libvirt itself lets a filter go that another filter or a guest that is off refers to: those then fail to start. Both
doors to libvirt ask here; the connection and the module are theirs.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from analyzer.host.domain_xml import interfaces

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_REFERENCE = re.compile(r"<filterref filter='([^']*)'")
"""As libvirt prints it."""


def read_filter_users(libvirt: Any, connection: Any) -> Mapping[str, tuple[str, ...]]:  # noqa: ANN401 libvirt-python has no types
    """Give, for each filter that somebody refers to, who does, in words.

    Raises libvirt's own error where it does not answer; a guest that goes away meanwhile refers to nothing.
    """
    users: dict[str, list[str]] = defaultdict(list)
    for each in connection.listAllNWFilters(0):
        for name in dict.fromkeys(_REFERENCE.findall(str(each.XMLDesc(0)))):
            users[name].append(f"filter {each.name()}")
    for domain in connection.listAllDomains():
        for name, user in _uses(libvirt, domain):
            users[name].append(user)
    return {name: tuple(dict.fromkeys(found)) for name, found in users.items()}


def _uses(libvirt: Any, domain: Any) -> Iterator[tuple[str, str]]:  # noqa: ANN401 the same
    try:
        guest, documents = str(domain.name()), []
        if domain.isActive():
            documents.append(("running", str(domain.XMLDesc(0))))
        if domain.isPersistent():
            documents.append(("next start", str(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))))
        if domain.hasManagedSaveImage(0):
            documents.append(("saved state", str(domain.managedSaveGetXMLDesc(0))))
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return
        raise
    for what, document in documents:
        for card in interfaces(document):
            if card.filterref:
                yield card.filterref[0], f"guest {guest} ({what})"
