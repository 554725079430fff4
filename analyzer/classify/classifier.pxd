# The types that classifier.py is compiled with.

cimport cython

ctypedef unsigned char u8
ctypedef unsigned long long u64

cdef u8 _UNICAST_TO_GUEST, _MULTICAST, _BROADCAST, _FOREIGN_UNICAST, _FROM_GUEST, _UNCLASSIFIED, _NO_ADDRESSES, _NEVER
cdef u64 _BROADCAST_MAC, _GROUP_BIT

@cython.locals(
    i=Py_ssize_t, is_said=cython.uint, is_open=cython.uint, is_sent=cython.uint, is_unknown=cython.uint, is_group=cython.uint,
    is_all=cython.uint, case=cython.uint,
)
cpdef void classify_rows(
    const u64[::1] dst, const u64[::1] src, const u8[::1] flags, const u8[::1] direction, const u64[::1] macs,
    const u8[::1] kinds, u8 from_guest, u8 to_guest, u8[::1] classes,
) noexcept

@cython.locals(low=Py_ssize_t, high=Py_ssize_t, middle=Py_ssize_t)
cdef bint holds(const u64[::1] macs, u64 mac) noexcept nogil
