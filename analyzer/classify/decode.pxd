# The types that decode.py is compiled with.

cimport cython

ctypedef unsigned char u8
ctypedef unsigned short u16
ctypedef unsigned int u32
ctypedef unsigned long long u64

cdef u32 _MAX_ORIGINAL_OCTETS, _HEADER_OCTETS, _TYPE_OFFSET, _TAG_OCTETS, _MAX_TAGS, _MAX_SEGMENTS, _ETHERTYPE_MIN, _SNAP_OCTETS, _ETHERTYPE_IPV4, _ETHERTYPE_IPV6, _IPV4_OCTETS, _IPV6_OCTETS, _TCP_OCTETS, _UDP_OCTETS, _PROTOCOL_TCP, _PROTOCOL_UDP, _TOO_SHORT, _CUT_HEADER, _NOT_ETHERNET, _IMPOSSIBLE_LENGTH, _NO_ADDRESSES
cdef u64 _SNAP_OF_ETHERTYPE

cpdef void decode_frames(
    const u8[::1] data, const long long[::1] offsets, const u32[::1] captured, const u32[::1] original,
    const u32[::1] tag, const u16[::1] gso_size, const u16[::1] interface, const u8[::1] ethernet, u64[::1] dst,
    u64[::1] src, u16[::1] outer_type, u16[::1] ethertype, u8[::1] tags, u16[::1] vlan, int[::1] network,
    u32[::1] octets, u16[::1] segments, u8[::1] flags,
) noexcept

@cython.locals(i=Py_ssize_t, length=u32, state=u8)
cdef void decode_lengths(
    const u32[::1] captured, const u32[::1] original, const u32[::1] tag, const u16[::1] interface,
    const u8[::1] ethernet, u32[::1] octets, u8[::1] flags,
) noexcept nogil

@cython.locals(i=Py_ssize_t, start=Py_ssize_t, end=Py_ssize_t, at=Py_ssize_t, depth=Py_ssize_t, kind=u32)
cdef void decode_headers(
    const u8[::1] data, const long long[::1] offsets, const u32[::1] captured, const u32[::1] tag,
    u64[::1] dst, u64[::1] src, u16[::1] outer_type, u16[::1] ethertype, u8[::1] tags, u16[::1] vlan,
    int[::1] network, u8[::1] flags,
) noexcept nogil

@cython.locals(i=Py_ssize_t, start=Py_ssize_t, end=Py_ssize_t, headers=Py_ssize_t, count=Py_ssize_t)
cdef void decode_segments(
    const u8[::1] data, const long long[::1] offsets, const u32[::1] captured, const u32[::1] original,
    const u16[::1] gso_size, const u16[::1] ethertype, const int[::1] network, u16[::1] segments,
) noexcept nogil

cdef Py_ssize_t frame_end(Py_ssize_t start, Py_ssize_t captured, Py_ssize_t size) noexcept nogil
cdef extern from "analyzer/octets.h":
    u32 be16(const u8[::1] data, Py_ssize_t at) noexcept nogil
    u64 be48(const u8[::1] data, Py_ssize_t at) noexcept nogil
cdef Py_ssize_t behind_tags(const u8[::1] data, Py_ssize_t at, Py_ssize_t end) noexcept nogil
cdef bint is_tpid(u32 value) noexcept nogil
cdef bint is_snap(const u8[::1] data, Py_ssize_t at, Py_ssize_t end) noexcept nogil
@cython.locals(protocol=u32)
cdef Py_ssize_t behind_transport(const u8[::1] data, Py_ssize_t at, Py_ssize_t end, u32 ethertype) noexcept nogil
