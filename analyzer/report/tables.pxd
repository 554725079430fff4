# The types that tables.py is compiled with.

cimport cython

ctypedef unsigned char u8
ctypedef unsigned short u16
ctypedef unsigned int u32
ctypedef unsigned long long u64

cdef Py_ssize_t _CLASS_COUNT, _ROW, _BINS, _SEGMENTS, _FIRST_TIME, _MULTICAST, _FOREIGN_UNICAST, _FROM_GUEST
cdef long long _NS_PER_S
cdef u64 _MIX, _MASK
cdef Py_ssize_t _SLOT, _SECOND, _FRAMES, _OCTETS, _FIRST_NS, _LAST_NS, _ERROR

@cython.locals(i=Py_ssize_t, count=cython.longlong, first_ns=cython.longlong)
cpdef void look(
    const u8[::1] classes, const u32[::1] octets, const long long[::1] ts_ns, const u16[::1] segments,
    const u16[::1] ethertype, const u8[::1] tags, const u16[::1] vlan, long long bin_s, long long[::1] rows,
    long long[::1] starts, long long[::1] ethertypes, long long[::1] vlans, long long[::1] bins,
    long long[::1] bin_counts, long long[::1] state,
) noexcept

@cython.locals(i=Py_ssize_t, kind=Py_ssize_t, row=Py_ssize_t)
cdef void count_classes(
    const u8[::1] classes, const long long[::1] bin_counts, const long long[::1] state, long long[::1] starts,
) noexcept nogil

@cython.locals(i=Py_ssize_t, kind=Py_ssize_t, place=cython.longlong, count=cython.longlong)
cpdef void order_by_class(const u8[::1] classes, long long[::1] rows, long long[::1] starts) noexcept nogil

@cython.locals(
    i=Py_ssize_t, current=cython.longlong, number=cython.longlong, begin_ns=cython.longlong, bin_ns=cython.longlong, width_ns=u64, rows=Py_ssize_t,
    base=Py_ssize_t, last=Py_ssize_t,
)
cpdef Py_ssize_t tally(
    const u8[::1] classes, const u32[::1] octets, const long long[::1] ts_ns, long long bin_s,
    long long[::1] bins, long long[::1] bin_counts, Py_ssize_t start, long long[::1] state,
) noexcept nogil

cdef u64 apart(u64 later, u64 earlier) noexcept nogil

@cython.locals(i=Py_ssize_t, k=Py_ssize_t)
cpdef void tally_types(
    const long long[::1] rows, Py_ssize_t stop, const u32[::1] octets, const u16[::1] ethertype, const u8[::1] tags,
    const u16[::1] vlan, long long[::1] ethertypes, long long[::1] vlans,
) noexcept nogil

@cython.locals(mixed=u64)
cdef u64 slot_of(u64 first, u64 second, u64 seed) noexcept nogil

@cython.locals(
    i=Py_ssize_t, k=Py_ssize_t, slot=Py_ssize_t, base=Py_ssize_t, mask=Py_ssize_t, first_key=cython.longlong,
    second_key=cython.longlong,
)
cpdef Py_ssize_t absorb(
    const long long[::1] rows, Py_ssize_t start, Py_ssize_t stop, const u64[::1] first, const u64[::1] second,
    u8 has_second, const u32[::1] octets, const long long[::1] ts_ns, u64 seed, long long error,
    long long[::1] table, Py_ssize_t limit, long long[::1] used,
) noexcept nogil

cpdef void absorb_three(
    const long long[::1] rows, const long long[::1] starts, const u64[::1] src, const u64[::1] dst, const u32[::1] octets,
    const long long[::1] ts_ns, Py_ssize_t limit, const u64[::1] seeds, const long long[::1] errors,
    long long[::1] talkers, long long[::1] talkers_used, long long[::1] groups, long long[::1] groups_used,
    long long[::1] senders, long long[::1] senders_used, long long[::1] state,
) noexcept

@cython.locals(k=Py_ssize_t, slot=Py_ssize_t, base=Py_ssize_t, mask=Py_ssize_t)
cpdef Py_ssize_t absorb_sums(
    const long long[::1] first, const long long[::1] second, const long long[::1] frames, const long long[::1] octets,
    const long long[::1] first_ns, const long long[::1] last_ns, Py_ssize_t start, u64 seed, long long error,
    long long[::1] table, Py_ssize_t limit, long long[::1] used,
) noexcept

@cython.locals(at=Py_ssize_t, slot=Py_ssize_t, mask=Py_ssize_t, k=Py_ssize_t)
cpdef void lay(const long long[::1] entries, u64 seed, long long[::1] table) noexcept
