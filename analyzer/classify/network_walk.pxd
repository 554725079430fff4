# The types that network_walk.py is compiled with.

cimport cython

ctypedef unsigned char u8
ctypedef unsigned short u16
ctypedef unsigned int u32
ctypedef unsigned long long u64

cdef int _NETWORK_CUT, _NETWORK_MALFORMED, _UPPER_CUT, _UPPER_MALFORMED, _HAS_PORTS, _HAS_ICMP, _HAS_TCP_FLAGS
cdef int _FRAGMENT, _OPTIONS, _HAS_ARP, _HAS_LLC, _HAS_STP, _SERVICE_ARP, _SERVICE_RARP, _SERVICE_ICMP
cdef int _SERVICE_ICMPV6, _SERVICE_ND, _SERVICE_IGMP, _SERVICE_MLD, _SERVICE_DHCP, _SERVICE_DHCPV6, _SERVICE_VRRP
cdef int _SERVICE_STP, _SERVICE_LLDP, _IPV4, _ARP, _RARP, _IPV6, _LLDP, _ICMP, _IGMP, _TCP, _UDP, _DCCP, _ICMPV6
cdef int _VRRP, _SCTP, _UDPLITE, _HOP_BY_HOP, _ROUTING, _FRAGMENT_HEADER, _AUTHENTICATION, _DESTINATION
cdef int _HEADER_OCTETS, _TAG_OCTETS, _SNAP_OCTETS, _VERSION_4, _VERSION_6, _IPV4_OCTETS, _IPV6_OCTETS, _TCP_OCTETS, _TCP_WORDS, _UDP_OCTETS, _MAC_OCTETS
cdef int _IPV4_ADDRESS_OCTETS, _BRIDGE_SAP, _UNNUMBERED_INFORMATION, _ROUTER_SOLICITATION, _REDIRECT, _MLD_QUERY
cdef int _MLD_DONE, _MLD2_REPORT, _AUTHENTICATION_OCTETS

cdef bint is_extension(int protocol) noexcept

@cython.final
cdef class NetworkWalk:
    cdef const u8[::1] data, tags
    cdef const long long[::1] offsets, rows
    cdef const u32[::1] captured, tag, octets
    cdef const int[::1] network
    cdef const u16[::1] ethertype
    cdef u16[::1] flags, fragment, sport, dport, tcp_flags, arp_htype, arp_ptype, arp_op
    cdef u8[::1] service, ip_version, tos, ip_header_protocol, protocol, icmp_type, icmp_code, arp_hlen, arp_plen
    cdef u8[::1] dsap, ssap, stp_type
    cdef int[::1] upper
    cdef u64[::1] src_hi, src_lo, dst_hi, dst_lo, arp_sha, arp_tha
    cdef u32[::1] arp_spa, arp_tpa
    cdef Py_ssize_t i, start, kept, wire

    @cython.locals(i=Py_ssize_t, row=Py_ssize_t, at=Py_ssize_t, header=Py_ssize_t)
    cpdef void run(self) noexcept
    cdef void frame(self, Py_ssize_t at, int ethertype) noexcept
    @cython.locals(i=Py_ssize_t, hlen=int, plen=int, sender=Py_ssize_t, target=Py_ssize_t)
    cdef void arp(self, Py_ssize_t at) noexcept
    @cython.locals(i=Py_ssize_t)
    cdef void llc(self, Py_ssize_t at) noexcept
    @cython.locals(i=Py_ssize_t, header=int, total=int, protocol=int, limit=Py_ssize_t)
    cdef void ipv4(self, Py_ssize_t at) noexcept
    @cython.locals(i=Py_ssize_t, payload=int, protocol=int, is_jumbo=bint)
    cdef void ipv6(self, Py_ssize_t at) noexcept
    @cython.locals(i=Py_ssize_t, size=int)
    cdef void extensions(self, Py_ssize_t at, Py_ssize_t limit, int protocol) noexcept
    @cython.locals(i=Py_ssize_t)
    cdef void upper_layer(self, Py_ssize_t at, Py_ssize_t limit, int protocol) noexcept
    cdef void tcp(self, Py_ssize_t at, Py_ssize_t limit) noexcept
    @cython.locals(i=Py_ssize_t)
    cdef void udp(self, Py_ssize_t at, Py_ssize_t limit) noexcept
    cdef void ports(self, Py_ssize_t at, Py_ssize_t limit) noexcept
    @cython.locals(i=Py_ssize_t, kind=int)
    cdef void icmp(self, Py_ssize_t at, Py_ssize_t limit) noexcept
    cdef void type_and_code(self, Py_ssize_t at, Py_ssize_t limit) noexcept
    cdef Py_ssize_t packet_end(self, Py_ssize_t end) noexcept
    cdef bint ends_before(self, Py_ssize_t need, Py_ssize_t limit, int cut, int malformed) noexcept
    cdef u32 be16(self, Py_ssize_t at) noexcept
    @cython.locals(high=u32)
    cdef u32 be32(self, Py_ssize_t at) noexcept
    @cython.locals(high=u64)
    cdef u64 be48(self, Py_ssize_t at) noexcept
    @cython.locals(high=u64)
    cdef u64 be64(self, Py_ssize_t at) noexcept
