# The types that pcapng_walk.py is compiled with.

cimport cython

ctypedef unsigned char u8
ctypedef unsigned short u16
ctypedef unsigned int u32
ctypedef unsigned long long u64
ctypedef long long i64

cdef u32 _FULL, _MORE, _STRUCTURE, _SKIP, _BAD_LENGTH, _BAD_TRAILER, _BAD_INTERFACE, _BAD_CAPTURED
cdef u32 _SHB, _IDB, _PB, _SPB, _ISB, _EPB, _MAX_CAPTURED, _COMMENT, _FLAGS, _DROPCOUNT
cdef i64 _AHEAD, _MIN_BLOCK, _EPB_HEADER, _SPB_HEADER, _TRAILER, _GSO_PREFIX
cdef u32 _MAX_GSO

@cython.locals(
    n=Py_ssize_t, status=u32, kind=u32, stated=i64, which=u32, length=i64, end=i64, first=i64, options=i64,
    kept=i64, size=i64, fcs=u32, found=u64,
)
cpdef u32 walk(
    const u8[::1] data, i64 at, i64 stop, bint big_endian, bint ours,
    const u16[::1] numbers, const u32[::1] snaplens, const u8[::1] fcs_octets, Py_ssize_t count,
    i64[::1] offsets, u32[::1] captured, u32[::1] original, u64[::1] ticks, u8[::1] timed,
    u16[::1] interface, u8[::1] direction, u16[::1] gso_size, Py_ssize_t capacity, i64[::1] state,
) noexcept

@cython.locals(least=i64, length=i64)
cdef u32 check_block(const u8[::1] data, i64 at, i64 stop, bint big_endian, u32 kind, i64 stated) noexcept nogil

@cython.locals(found=u64, code=u32, length=i64, flags=u32)
cdef u64 read_options(const u8[::1] data, i64 at, i64 end, bint big_endian, bint ours) noexcept nogil
cdef u64 wide(u64 value) noexcept nogil

@cython.locals(value=u32, digit=u32)
cdef u32 read_gso_size(const u8[::1] data, i64 at, i64 end) noexcept nogil
cdef extern from "analyzer/octets.h":
    u32 octets32(const u8[::1] data, i64 at, bint big_endian) noexcept nogil
    u32 octets16(const u8[::1] data, i64 at, bint big_endian) noexcept nogil
    void fetch(const u8[::1] data, i64 at) noexcept nogil
cdef u64 join32(u64 high, u64 low) noexcept nogil
