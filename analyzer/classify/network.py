"""Decode what lies above the link layer, for the frames that someone asks about.

What lives here: the columns and who fills them (network_walk.py). What must not: classes, verdicts, payloads. Called
for foreign frames, for those that a filter is tried on, and for those that tell an identity.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from analyzer.classify.network_walk import NetworkWalk
from analyzer.model.network import NetworkBatch

if TYPE_CHECKING:
    import numpy.typing as npt

    from analyzer.model.frames import I64, FrameBatch


_U8 = "service ip_version tos ip_header_protocol protocol icmp_type icmp_code arp_hlen arp_plen dsap ssap stp_type"
_U16 = "flags fragment sport dport tcp_flags arp_htype arp_ptype arp_op"
_U64 = "src_hi src_lo dst_hi dst_lo arp_sha arp_tha"
_DTYPES: Final[dict[str, npt.DTypeLike]] = {
    **dict.fromkeys(_U8.split(), np.uint8),
    **dict.fromkeys(_U16.split(), np.uint16),
    **dict.fromkeys(_U64.split(), np.uint64),
    "arp_spa": np.uint32,
    "arp_tpa": np.uint32,
    "upper": np.int32,
}


def decode_network(batch: FrameBatch, select: I64 | None = None) -> NetworkBatch:
    """Give the columns above the link layer for the frames ``select`` (indices into ``batch``; all by default).

    Each column has k = len(select) elements. Raises IndexError for an index outside the batch. About 20 ns a frame.
    """
    rows = np.arange(len(batch), dtype=np.int64) if select is None else np.ascontiguousarray(select, np.int64)
    if len(rows) and (rows.min() < 0 or rows.max() >= len(batch)):
        raise IndexError("a selected frame is not in the batch")
    result = empty_network(rows)
    NetworkWalk(batch, result).run()
    return result


def empty_network(rows: I64) -> NetworkBatch:
    """Give the columns for ``rows`` with nothing decoded yet: zeros, and -1 for ``upper``."""
    columns: dict[str, Any] = {name: np.zeros(len(rows), dtype) for name, dtype in _DTYPES.items()}
    columns["upper"].fill(-1)
    return NetworkBatch(rows=rows, **columns)
