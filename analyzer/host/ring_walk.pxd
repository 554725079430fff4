# The types that ring_walk.py is compiled with.

cimport cython

ctypedef unsigned char u8
ctypedef unsigned short u16
ctypedef unsigned int u32
ctypedef long long i64

cdef i64 _AHEAD, _LINE, _HEADER, _PACKET_TYPE, _VNET_OCTETS
cdef u32 _OUTGOING, _FROM_GUEST, _TO_GUEST, _VLAN_VALID, _VLAN_TPID_VALID, _TPID

@cython.locals(n=i64, behind=u32, kept=u32, status=u32, first=i64, tpid=u32)
cpdef Py_ssize_t walk(
    const u8[::1] data, i64 at, i64 stop, i64 left, bint big_endian, bint vnet,
    i64[::1] offsets, u32[::1] captured, u32[::1] original, i64[::1] ts_ns, u8[::1] direction, u32[::1] tag,
    u16[::1] gso_size, Py_ssize_t row, Py_ssize_t capacity, i64[::1] state,
) noexcept

cdef extern from "analyzer/octets.h":
    void fetch(const u8[::1] data, i64 at) noexcept nogil
    u32 octets32(const u8[::1] data, i64 at, bint big_endian) noexcept
    u32 octets16(const u8[::1] data, i64 at, bint big_endian) noexcept
cdef i64 wide(i64 value) noexcept
