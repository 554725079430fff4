# The types that pcap_walk.py is compiled with.

cimport cython

ctypedef unsigned char u8
ctypedef unsigned int u32

cdef u32 _CUT, _BOGUS, _MAX_CAPTURED

@cython.locals(n=Py_ssize_t, status=u32, seconds=cython.longlong, fraction=cython.longlong, kept=u32, length=u32)
cpdef Py_ssize_t walk(
    const u8[::1] data, Py_ssize_t at, Py_ssize_t stop, bint big_endian, Py_ssize_t header_octets,
    long long nanoseconds, int length_order, u32 fcs_octets,
    long long[::1] offsets, u32[::1] captured, u32[::1] original, long long[::1] ts_ns,
    Py_ssize_t capacity, long long[::1] state,
) noexcept

cdef extern from "analyzer/octets.h":
    u32 octets32(const u8[::1] data, Py_ssize_t at, bint big_endian) noexcept nogil
