# The types that lease_walk.py is compiled with.

cimport cython

ctypedef unsigned char u8
ctypedef unsigned int u32
ctypedef unsigned long long u64

cdef int _ADDRESSES_PER_FRAME, _DHCP, _DHCPV6, _UDP_OCTETS, _REQUEST, _REPLY, _ETHERNET, _MAC_OCTETS, _CIADDR, _YIADDR
cdef int _CHADDR, _OPTIONS, _FIXED_OCTETS, _MESSAGE_TYPE, _ACK, _PAD, _END, _NO_TYPE, _V6_REPLY, _IA_NA, _IA_TA
cdef int _IA_ADDRESS, _IA_NA_OCTETS, _IA_TA_OCTETS, _VALID_LIFETIME, _IA_ADDRESS_OCTETS

@cython.locals(i=Py_ssize_t, n=Py_ssize_t, row=Py_ssize_t, at=Py_ssize_t, end=Py_ssize_t, address=u64)
cpdef Py_ssize_t walk_leases(
    const u8[::1] data, const long long[::1] offsets, const u32[::1] captured, const long long[::1] rows,
    const u8[::1] service, const int[::1] upper, const u8[::1] is_from_guest, const u8[::1] is_to_guest,
    const u64[::1] macs, Py_ssize_t start, Py_ssize_t stop, u8[::1] versions, u64[::1] high, u64[::1] low,
    long long[::1] places,
) noexcept

@cython.locals(mac=u64, k=Py_ssize_t)
cdef u64 leased_ipv4(const u8[::1] data, Py_ssize_t at, Py_ssize_t end, bint from_guest, const u64[::1] macs) noexcept

cdef int message_type(const u8[::1] data, Py_ssize_t at, Py_ssize_t end) noexcept

@cython.locals(found=int, code=u64, is_whole=bint)
cdef Py_ssize_t walk_options(
    const u8[::1] data, Py_ssize_t at, Py_ssize_t end, Py_ssize_t place, u8[::1] versions, u64[::1] high, u64[::1] low,
    long long[::1] places, Py_ssize_t n,
) noexcept

@cython.locals(value=u64, k=int)
cdef u64 number_at(const u8[::1] data, Py_ssize_t at, int size) noexcept
