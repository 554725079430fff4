# The types that deep_rows.py is compiled with.

cimport cython

ctypedef unsigned char u8
ctypedef unsigned short u16
ctypedef unsigned int u32
ctypedef unsigned long long u64

cdef u8 _UNICAST_TO_GUEST, _MULTICAST, _BROADCAST, _FOREIGN_UNICAST, _FROM_GUEST
cdef u64 _GROUP_BIT, _ALL_SYSTEMS, _ALL_NODES, _LINK_LOCAL
cdef int _ARP, _IPV4, _IPV6, _ICMPV6, _HOP_BY_HOP, _NEXT_HEADER, _NONE, _HEADER_OCTETS, _DEEP, _EARLY, _IPV4_OCTETS
cdef int _IPV6_OCTETS, _NO_LOOK, _OWN_ADDRESS, _OTHER_ADDRESS, _UDP, _UDP_PORTS_OCTETS, _DHCP_SERVER, _DHCP_CLIENT
cdef int _DHCPV6_CLIENT, _DHCPV6_SERVER

cdef bint tells_of_guest(int ethertype, u64 dst, int next_header) noexcept nogil
cdef bint needs_look(u8 kind, int ethertype, u64 dst) noexcept nogil

@cython.locals(at=Py_ssize_t, end=Py_ssize_t, low=int, high=int)
cdef bint holds_dhcp(
    const u8[::1] data, Py_ssize_t offset, Py_ssize_t network, Py_ssize_t captured, int ethertype,
) noexcept nogil

@cython.locals(low=u64, high=u64, k=Py_ssize_t)
cdef int address_look(
    const u8[::1] data, Py_ssize_t at, Py_ssize_t end, int ethertype, const u64[::1] ipv4, const u64[::1] ipv6,
) noexcept nogil

@cython.locals(value=u64, k=Py_ssize_t)
cdef u64 read_octets(const u8[::1] data, Py_ssize_t at, int size) noexcept nogil

@cython.locals(
    i=Py_ssize_t, k=Py_ssize_t, at=Py_ssize_t, end=Py_ssize_t, n_deep=Py_ssize_t, n_early=Py_ssize_t, kind=u8, is_deep=bint,
    is_kept=bint, next_header=int, look=int,
)
cpdef void choose_rows(
    const long long[::1] rows, const long long[::1] starts, long long first_ns, const u8[::1] classes, const u16[::1] ethertype, const u64[::1] dst, const u8[::1] tags, const u16[::1] vlan,
    const u32[::1] octets, const long long[::1] ts_ns, const int[::1] network, const long long[::1] offsets,
    const u32[::1] captured, const u8[::1] data, const u64[::1] ipv4, const u64[::1] ipv6,
    const long long[::1] limits, long long[::1] vlans, long long[::1] counts, long long[::1] deep,
    long long[::1] early, long long[::1] state,
) noexcept
