# The types that engine.py is compiled with.

cimport cython

ctypedef unsigned char u8
ctypedef unsigned short u16
ctypedef unsigned int u32
ctypedef unsigned long long u64

cdef int _DST, _SRC, _TYPE, _VID, _ENCAP, _TOS, _PROTO, _SADDR, _DADDR, _FRAGMENT, _SPORT, _DPORT, _SADDR6, _PROTO6, _ICMP6_TYPE, _ICMP6_CODE
cdef int _ARP_HTYPE, _ARP_PTYPE, _ARP_OPCODE, _ARP_SIP, _ARP_DIP, _ARP_GRATUITOUS, _ARP_SMAC, _ARP_DMAC
cdef int _STP_TYPE, _STP_FLAGS, _STP_ROOT_PRIO, _STP_ROOT_ADDR, _STP_ROOT_COST, _STP_SENDER_PRIO, _STP_SENDER_ADDR, _STP_PORT
cdef int _DSCP, _TCP_FLAGS, _ICMP_TYPE, _ICMP_CODE
cdef int _PRESENT, _ABSENT, _CUT, _EQUAL, _EQUAL_PAIR, _RANGE, _RANGE_BOTH, _RANGE_PAIR
cdef int _ACT_ACCEPT, _ACT_DROP, _ACT_JUMP
cdef int _REASON_CUT, _REASON_NO_ETHERNET, _REASON_BRIDGE_NETFILTER, _REASON_FRAGMENT, _REASON_MALFORMED
cdef int _VERDICT_ACCEPT, _VERDICT_DROP, _VERDICT_UNKNOWN, _NO, _YES, _MAYBE, _MAY_ACCEPT, _MAY_DROP, _MAY_FALL, _FIRST_SUBCHAIN
cdef u64 _IPV4, _IPV6, _ARP, _RARP, _CTAG, _STAG, _ETHERTYPE_MIN, _LENGTH_INSIDE, _BGA, _BPDU

@cython.locals(value=u64, i=Py_ssize_t)
cdef u64 be(const u8[::1] data, Py_ssize_t at, Py_ssize_t length) noexcept

cdef int bit_of(int act) noexcept

cdef class Engine:
    cdef const u8[::1] act
    cdef const int[::1] tests_from, tests_to, jump
    cdef const u8[::1] field, op, inverted
    cdef const u64[::1] a, b, c, d
    cdef const int[::1] chain_bounds
    cdef u64[::1] value
    cdef u8[::1] presence
    cdef long long[::1] hits
    cdef public int bridge_netfilter
    cdef int reason, decider, doubt
    cdef long long octets

    @cython.locals(i=Py_ssize_t, start=Py_ssize_t, end=Py_ssize_t, wire=Py_ssize_t)
    cpdef void run(
        self, const u8[::1] data, const long long[::1] offsets, const u32[::1] captured, const u32[::1] original,
        const u32[::1] tag, const u32[::1] octets, const u8[::1] to_guest, u8[::1] verdict, int[::1] rule,
        u8[::1] reason,
    ) noexcept
    @cython.locals(way=int, layer2=int, layer3=int, decider=int)
    cdef int judge(self, int to_guest) noexcept
    @cython.locals(root=int, found=int)
    cdef int layer3(self, int way) noexcept
    @cython.locals(outcome=int, before=int, i=int, match=int, act=int, found=int)
    cdef int chain(self, int number, bint certain) noexcept
    @cython.locals(answer=int, why=int, t=int, field=int, op=int, there=int)
    cdef int matches(self, int item) noexcept
    @cython.locals(value=u64, second=u64, low=bint, high=bint)
    cdef int holds(self, int t, int field, int op) noexcept
    @cython.locals(field=int, kind=u64, at=Py_ssize_t)
    cdef void read(self, const u8[::1] data, Py_ssize_t start, Py_ssize_t end, Py_ssize_t wire, u64 tag) noexcept
    cdef void put(self, int field, u64 value) noexcept
    cdef bint has(self, int field, Py_ssize_t at, Py_ssize_t length, Py_ssize_t end, Py_ssize_t wire) noexcept
    @cython.locals(field=int)
    cdef void spread(self, int first, int last, int origin) noexcept
    @cython.locals(fragment=u64)
    cdef void read_ipv4(self, const u8[::1] data, Py_ssize_t at, Py_ssize_t end, Py_ssize_t wire) noexcept
    cdef void read_upper(self, const u8[::1] data, Py_ssize_t at, Py_ssize_t end, Py_ssize_t wire) noexcept
    @cython.locals(half=int, protocol=int, fragment=int, length=Py_ssize_t, step=Py_ssize_t)
    cdef void read_ipv6(self, const u8[::1] data, Py_ssize_t at, Py_ssize_t end, Py_ssize_t wire) noexcept
    @cython.locals(hardware=Py_ssize_t, protocol=Py_ssize_t)
    cdef void read_arp(self, const u8[::1] data, Py_ssize_t at, Py_ssize_t end, Py_ssize_t wire) noexcept
    @cython.locals(number=int)
    cdef void read_stp(self, const u8[::1] data, Py_ssize_t at, Py_ssize_t end, Py_ssize_t wire) noexcept
