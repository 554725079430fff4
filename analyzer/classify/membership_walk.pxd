# The types that membership_walk.py is compiled with.

cimport cython

ctypedef unsigned char u8
ctypedef unsigned int u32
ctypedef unsigned long long u64

cdef int _JOIN, _LEAVE, _ANSWER, _CUT, _QUERY, _RECORDS_LIMIT, _IGMP, _MLD, _IGMP_QUERY, _IGMP1_REPORT, _IGMP2_REPORT
cdef int _IGMP2_LEAVE, _IGMP3_REPORT, _MLD_QUERY, _MLD_REPORT, _MLD_DONE, _MLD2_REPORT, _MODE_IS_INCLUDE
cdef int _MODE_IS_EXCLUDE, _CHANGE_TO_INCLUDE, _CHANGE_TO_EXCLUDE, _ALLOW_NEW_SOURCES
cdef u64 _IPV4_GROUPS, _IPV6_GROUPS, _NO_MAC

@cython.locals(
    i=Py_ssize_t, n=Py_ssize_t, row=Py_ssize_t, at=Py_ssize_t, end=Py_ssize_t, group_at=Py_ssize_t, size=int,
    kind=int, is_mld=bint, is_leave=bint, is_report=bint, mac=u64,
)
cpdef Py_ssize_t walk_memberships(
    const u8[::1] data, const long long[::1] offsets, const u32[::1] captured, const long long[::1] rows,
    const u8[::1] service, const int[::1] upper, const u8[::1] icmp_type, const u8[::1] is_from_guest,
    Py_ssize_t start, Py_ssize_t stop, u64[::1] groups, u8[::1] events, long long[::1] event_rows,
) noexcept

@cython.locals(size=int, is_answer=bint, left=int, read=int, kind=int, sources=int, mac=u64, is_exclude=bint)
cdef Py_ssize_t walk_records(
    const u8[::1] data, Py_ssize_t at, Py_ssize_t end, bint is_mld, Py_ssize_t row, u64[::1] groups, u8[::1] events,
    long long[::1] event_rows, Py_ssize_t n,
) noexcept

@cython.locals(last=Py_ssize_t, high=u64, low=u64)
cdef u64 group_mac(const u8[::1] data, Py_ssize_t at, int size, Py_ssize_t end) noexcept

@cython.locals(k=int)
cdef bint is_zero(const u8[::1] data, Py_ssize_t at, int size, Py_ssize_t end) noexcept
