# The types that pcapng_encode.py is compiled with.

cimport cython

ctypedef unsigned char u8
ctypedef unsigned short u16
ctypedef unsigned int u32
ctypedef long long i64

cdef i64 _ADDRESSES, _TAG_OCTETS, _FIXED, _FLAGS_OCTETS, _GSO_OCTETS
cdef bytes _GSO_TEXT

@cython.locals(
    row=i64, at=i64, size=i64, count=Py_ssize_t, first=i64, kept=i64, length=u32, tagged=bint, padded=i64, block=i64,
    end=i64,
)
cpdef Py_ssize_t encode(
    const u8[::1] data, const i64[::1] offsets, const u32[::1] captured, const u32[::1] original,
    const i64[::1] ts_ns, const u8[::1] direction, const u32[::1] tag, const u16[::1] gso_size,
    const u8[::1] wanted, const u8[::1] reception, i64 rows, i64 snaplen, u8[::1] out, i64 room, i64[::1] state,
) noexcept

@cython.locals(time=i64)
cdef void put_header(u8[::1] out, i64 at, i64 block, i64 ts_ns, i64 kept, u32 length) noexcept
@cython.locals(i=i64)
cdef void copy(const u8[::1] data, i64 first, i64 count, u8[::1] out, i64 at) noexcept
@cython.locals(i=i64, addresses=i64)
cdef void copy_tagged(const u8[::1] data, i64 first, u32 tag, i64 count, u8[::1] out, i64 at) noexcept
@cython.locals(i=i64)
cdef void put_gso_size(u8[::1] out, i64 at, u32 value) noexcept
cdef void put32(u8[::1] out, i64 at, u32 value) noexcept
