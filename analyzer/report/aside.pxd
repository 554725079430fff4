# The types that aside.py is compiled with.

cimport cython

ctypedef unsigned char u8
ctypedef unsigned short u16
ctypedef unsigned int u32

cdef Py_ssize_t _FRAMES, _OCTETS

@cython.locals(i=Py_ssize_t, first=Py_ssize_t, k=Py_ssize_t, n=Py_ssize_t, end=Py_ssize_t, length=Py_ssize_t, at=Py_ssize_t)
cpdef Py_ssize_t set_aside(
    const long long[::1] rows, Py_ssize_t start, const u8[::1] data, const long long[::1] offsets,
    const u32[::1] captured, const long long[::1] ts_ns, const u32[::1] tag, const u16[::1] ethertype,
    const u8[::1] tags, const int[::1] network, const u32[::1] octets, const u8[::1] classes,
    u8[::1] to_data, long long[::1] to_offsets, u32[::1] to_captured, long long[::1] to_ts_ns, u32[::1] to_tag,
    u16[::1] to_ethertype, u8[::1] to_tags, int[::1] to_network, u32[::1] to_octets, u8[::1] to_classes,
    long long[::1] state,
) noexcept

cdef Py_ssize_t frame_octets(Py_ssize_t start, Py_ssize_t captured, Py_ssize_t size) noexcept nogil
