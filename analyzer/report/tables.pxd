# The types that tables.py is compiled with.

cimport cython

ctypedef unsigned char u8
ctypedef unsigned short u16
ctypedef unsigned int u32
ctypedef unsigned long long u64

cdef Py_ssize_t _CLASS_COUNT, _FOREIGN_LIMIT, _STATE_ROW, _STATE_SEGMENTS
cdef u64 _MIX, _MASK
cdef Py_ssize_t _SLOT, _SECOND, _FRAMES, _OCTETS, _FIRST_NS, _LAST_NS, _ERROR

@cython.locals(i=Py_ssize_t, kind=Py_ssize_t, current=cython.longlong, number=cython.longlong, rows=Py_ssize_t, base=Py_ssize_t, last=Py_ssize_t)
cpdef Py_ssize_t tally(
    const u8[::1] classes, const u32[::1] octets, const u16[::1] segments, const u16[::1] ethertype,
    const u8[::1] tags, const u16[::1] vlan, const long long[::1] ts_ns, long long bin_ns,
    long long[::1] totals, long long[::1] ethertypes, long long[::1] vlans,
    long long[::1] bins, long long[::1] bin_counts, Py_ssize_t start, long long[::1] state,
) noexcept

@cython.locals(mixed=u64)
cdef u64 slot_of(u64 first, u64 second, u64 seed) noexcept nogil

@cython.locals(i=Py_ssize_t, slot=Py_ssize_t, base=Py_ssize_t, mask=Py_ssize_t, first_key=cython.longlong, second_key=cython.longlong)
cpdef Py_ssize_t absorb(
    const u8[::1] classes, u8 wanted, const u64[::1] first, const u64[::1] second, u8 has_second,
    const u32[::1] octets, const long long[::1] ts_ns, Py_ssize_t start, u64 seed,
    long long error, long long[::1] table, Py_ssize_t limit, long long[::1] used,
) noexcept

@cython.locals(at=Py_ssize_t, slot=Py_ssize_t, mask=Py_ssize_t, k=Py_ssize_t)
cpdef void lay(const long long[::1] entries, u64 seed, long long[::1] table) noexcept
