# The types that flows.py is compiled with.

cimport cython

ctypedef unsigned char u8
ctypedef unsigned short u16
ctypedef unsigned int u32
ctypedef unsigned long long u64
ctypedef long long i64

cdef i64 _UNICAST_TO_GUEST, _FOREIGN_UNICAST, _FROM_GUEST, _NOT_PLAIN
cdef u64 _GROUP_BIT, _MIX, _MASK
cdef u32 _MAX_ORIGINAL_OCTETS, _HEADER_OCTETS, _TAG_OCTETS, _ETHERTYPE_MIN, _IPV4, _IPV6, _ARP, _IPV4_PLAIN, _TCP, _UDP
cdef u32 _FIRST_PORT
cdef Py_ssize_t _TYPE_OFFSET, _PORT, _AHEAD
cdef Py_ssize_t _FLOW, _SOURCE, _DESTINATION, _KIND, _FRAMES, _OCTETS, _FIRST_NS, _LAST_NS, _ROW, _REST, _FLOWS

@cython.locals(
    i=Py_ssize_t, n=Py_ssize_t, n_rest=Py_ssize_t, at=i64, octets=u32, kind=i64, src=i64, dst=i64, key=i64,
    place=Py_ssize_t, base=i64,
)
cpdef void gather_flows(
    const u8[::1] data, const i64[::1] offsets, const u32[::1] captured, const u32[::1] original, const i64[::1] ts_ns,
    const u8[::1] direction, const u32[::1] tag, const u16[::1] gso_size, const u64[::1] macs, u8 from_guest,
    u8 to_guest, const i64[::1] limits, bint judges_addresses, i64 begin_ns, i64 end_ns, u64 seed, i64[::1] places,
    i64[::1] flows, i64[::1] rest, i64[::1] state,
) noexcept

@cython.locals(n=Py_ssize_t, base=Py_ssize_t, key=i64, kind=i64, ethertype=i64, frames=i64, octets=i64, vlan=i64)
cpdef void count_flows(
    const i64[::1] flows, Py_ssize_t count, i64[::1] counts, i64[::1] ethertypes, i64[::1] vlans, i64[::1] sent_vlans,
) noexcept

cdef inline bint tells_nothing(const u8[::1] data, Py_ssize_t at, u32 kept, u32 ethertype) noexcept nogil
cdef extern from "analyzer/octets.h":
    void fetch(const u8[::1] data, Py_ssize_t at) noexcept nogil
    u32 be16(const u8[::1] data, Py_ssize_t at) noexcept nogil
    u64 be48(const u8[::1] data, Py_ssize_t at) noexcept nogil
cdef bint is_tpid(u32 value) noexcept nogil
@cython.locals(k=Py_ssize_t)
cdef inline bint holds(const u64[::1] macs, u64 mac) noexcept nogil
cdef i64 word(i64 value) noexcept nogil
cdef inline bint is_whole(i64 at, u32 kept, u32 octets, i64 size) noexcept nogil
@cython.locals(ethertype=u32, dst=i64)
cdef inline i64 kind_of(
    const u8[::1] data, Py_ssize_t at, u32 kept, u8 direction, const u64[::1] macs, u8 from_guest, u8 to_guest,
    bint judges_addresses,
) noexcept nogil
cdef inline void begin_flow(i64[::1] flows, i64 base, i64 src, i64 dst, i64 key, i64 ts_ns) noexcept nogil
@cython.locals(mixed=u64, place=Py_ssize_t, mask=Py_ssize_t, base=i64)
cdef inline Py_ssize_t place_of(u64 src, u64 dst, u64 key, u64 seed, const i64[::1] places, const i64[::1] flows) noexcept nogil
