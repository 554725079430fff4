// SPDX-License-Identifier: Apache-2.0
/*
 * The filter of a packet socket on a guest's tap that counts plain frames by their flows instead of having them copied
 * into the ring. What is plain is what analyzer/report/flows.py calls so; a flow are frames of one second, class, pair
 * of MACs, ethertype and tag beside the frame. Whatever is not surely plain, is among the first of its class, lies
 * outside of the window or finds no slot goes into the ring, as if this program were not there: so each frame is
 * counted once, by one of both.
 *
 * flow_counter.py loads it and puts in whose tap it is; the worker maps `shared`, opens the gate to one of two tables,
 * moves it to the other one and reads the one that nobody is in any more.
 *
 * Nobody is in a table whose `begun` is the sum of its slots' frames: `begun` is counted up before the gate is looked
 * at again, and the frame is counted last of all. A slot is taken by compare-and-swap of `second`, and written by who
 * took it before `second` says whose it is; frames of other CPUs meanwhile go into the ring.
 *
 * `make counter` builds it with Debian's clang; the object is shipped beside this file.
 */

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>

#define SEC(name) __attribute__((section(name), used))
#define __uint(name, value) int(*name)[value]
#define __type(name, value) typeof(value) *name
#define INLINE static __attribute__((always_inline))

#define MACS 8
#define CPUS 64 /* rows of `begun`: a power of two; CPUs beyond share them */
#define FIRST_SLOT (1 + 2 * CPUS)
#define PROBES 8
#define CLASSES 8 /* room for those of analyzer/model/classes.py */
#define UNICAST_TO_GUEST 0ULL
#define FOREIGN_UNICAST 3ULL
#define FROM_GUEST 4ULL
#define TAG_OCTETS 4
#define MOST_OCTETS 262144 /* as in decode.py */
#define GROUP_BIT (1ULL << 40)
#define ETHERTYPE_MIN 0x600
#define IPV4 0x0800
#define IPV6 0x86dd
#define ARP 0x0806
#define IPV4_PLAIN 0x45 /* version 4, no options */
#define TCP 6
#define UDP 17
#define FIRST_PORT 68 /* up to it DHCP */
#define SECOND_NS 1000000000ULL

enum gate { CLOSED, FIRST_TABLE, SECOND_TABLE };
enum taken { FREE, BEING_WRITTEN }; /* else the second, as the ns at which it begins */

struct tap {
	__u64 macs;
	__u64 own[MACS]; /* most significant octet first */
	__u64 snaplen;
	__u64 judges_addresses; /* unicast IP to the guest is not plain */
	__u64 early; /* so many frames of each class go into the ring first */
	__u64 slots; /* of a table: a power of two */
	__u64 shift; /* 64 less its logarithm */
	__u64 seed[4];
};

struct control {
	__u64 open; /* the gate */
	__u64 end_ns; /* frames later than that are not counted here */
	__u64 offset_ns; /* what makes the window's time of CLOCK_MONOTONIC */
	__u64 unused[5];
};

struct row { /* of a table and a CPU */
	__u64 begun;
	__u64 unused[7];
};

struct slot { /* as analyzer/report/flows.py has a flow */
	__u64 source;
	__u64 destination;
	__u64 kind; /* class, ethertype, tag beside the frame: 16, 16 and 32 bits */
	__u64 frames;
	__u64 octets;
	__u64 first_ns;
	__u64 last_ns;
	__u64 second;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct tap);
} taps SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, CLASSES);
	__type(key, __u32);
	__type(value, __u64);
} seen SEC(".maps");

struct { /* the control, the rows of both tables, the slots of both tables; the loader says how many in all */
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, FIRST_SLOT);
	__type(key, __u32);
	__type(value, struct slot);
} shared SEC(".maps");

static void *(*const bpf_map_lookup_elem)(void *map, const void *key) = (void *)BPF_FUNC_map_lookup_elem;
static __u32 (*const bpf_get_smp_processor_id)(void) = (void *)BPF_FUNC_get_smp_processor_id;
static __u64 (*const bpf_ktime_get_ns)(void) = (void *)BPF_FUNC_ktime_get_ns;
static long (*const bpf_skb_load_bytes)(const void *skb, __u32 offset, void *to,
					__u32 octets) = (void *)BPF_FUNC_skb_load_bytes;

/* What another CPU or the worker may write meanwhile is read as it stands. */
#define NOW(place) (*(volatile __u64 *)&(place))

/* Add, in order with all that stands before and behind: only what gives the value before is so everywhere. */
INLINE void add_in_order(__u64 *to, __u64 what)
{
	__u64 before = __sync_fetch_and_add(to, what);

	asm volatile("" : : "r"(before) : "memory");
}

INLINE int is_tpid(__u32 type)
{
	return type == 0x8100 || type == 0x88a8 || type == 0x9100 || type == 0x9200 || type == 0x9300;
}

/* tells_nothing of flows.py: a unicast frame to or from the guest surely tells no address, group or lease. */
INLINE int tells_nothing(struct __sk_buff *frame, __u32 kept, __u32 type)
{
	__u8 ip[24];

	if (type == IPV4) {
		if (kept < ETH_HLEN + sizeof(ip) || bpf_skb_load_bytes(frame, ETH_HLEN, ip, sizeof(ip)))
			return 0;
		if (ip[0] != IPV4_PLAIN || ip[6] & 0x3f || ip[7])
			return 0;
		if (ip[9] == UDP)
			return (ip[22] << 8 | ip[23]) > FIRST_PORT;
		return ip[9] == TCP;
	}
	if (type == IPV6) {
		if (kept <= ETH_HLEN + 6 || bpf_skb_load_bytes(frame, ETH_HLEN + 6, ip, 1))
			return 0;
		return ip[0] == TCP;
	}
	return type != ARP;
}

/* kind_of of flows.py: a flow's class, ethertype and tag in one number, 0 where the frame is not plain. */
INLINE __u64 kind_of(struct __sk_buff *frame, const struct tap *tap, __u64 *source, __u64 *destination)
{
	__u32 kept = frame->len < tap->snaplen ? frame->len : (__u32)tap->snaplen, type;
	__u64 head, tail, kind = FOREIGN_UNICAST;

	if (kept < ETH_HLEN || frame->len > MOST_OCTETS || frame->gso_size)
		return 0;
	if (bpf_skb_load_bytes(frame, 0, &head, 8) || bpf_skb_load_bytes(frame, ETH_ALEN, &tail, 8))
		return 0;
	tail = __builtin_bswap64(tail);
	*destination = __builtin_bswap64(head) >> 16;
	*source = tail >> 16;
	type = tail & 0xffff;
	if (*destination & GROUP_BIT || type < ETHERTYPE_MIN || is_tpid(type))
		return 0;
	if (frame->pkt_type != PACKET_OUTGOING)
		kind = FROM_GUEST;
	else
		for (__u64 i = 0; i < MACS && i < tap->macs; i++)
			if (*destination == tap->own[i])
				kind = UNICAST_TO_GUEST;
	if (kind != FOREIGN_UNICAST && !tells_nothing(frame, kept, type))
		return 0;
	if (kind == UNICAST_TO_GUEST && tap->judges_addresses && (type == IPV4 || type == IPV6))
		return 0;
	kind = kind << 48 | (__u64)type << 32;
	if (frame->vlan_present)
		kind |= (__u64)__builtin_bswap16(frame->vlan_proto) << 16 | (frame->vlan_tci & 0xffff);
	return kind;
}

/* Give the slot of a flow in the table that begins at `base`, taken for it where there is none; 0 where none is free. */
INLINE struct slot *slot_of(const struct tap *tap, __u64 base, __u64 source, __u64 destination, __u64 kind, __u64 ns)
{
	__u64 mask = tap->slots - 1, second;
	/* multiply-shift over three words: who does not know the seeds cannot choose flows that meet */
	__u64 place = (source * tap->seed[0] + destination * tap->seed[1] + kind * tap->seed[2] + tap->seed[3]) >> tap->shift;

	for (__u64 i = 0; i < PROBES; i++) {
		__u32 key = base + ((place + i) & mask);
		struct slot *slot = bpf_map_lookup_elem(&shared, &key);

		if (!slot)
			return 0;
		second = NOW(slot->second);
		if (second == BEING_WRITTEN)
			return 0;
		if (second == FREE) {
			if (__sync_val_compare_and_swap(&slot->second, FREE, BEING_WRITTEN) != FREE)
				return 0;
			NOW(slot->source) = source;
			NOW(slot->destination) = destination;
			NOW(slot->kind) = kind;
			NOW(slot->first_ns) = NOW(slot->last_ns) = ns;
			__sync_lock_test_and_set(&slot->second, ns - ns % SECOND_NS);
			return slot;
		}
		if (ns - second < SECOND_NS && NOW(slot->destination) == destination && NOW(slot->source) == source &&
		    NOW(slot->kind) == kind)
			return slot;
	}
	return 0;
}

/* Say whether the frame was counted here. */
INLINE int counted(struct __sk_buff *frame, const struct tap *tap, struct control *gate)
{
	__u64 open = NOW(gate->open), source, destination, kind, ns, *early;
	__u32 place = 1 + (bpf_get_smp_processor_id() & (CPUS - 1)), class;
	struct slot *slot = 0;
	struct row *row;

	if (open != FIRST_TABLE && open != SECOND_TABLE)
		return 0;
	if (open == SECOND_TABLE)
		place += CPUS;
	row = bpf_map_lookup_elem(&shared, &place);
	if (!row)
		return 0;
	kind = kind_of(frame, tap, &source, &destination);
	if (!kind)
		return 0;
	ns = bpf_ktime_get_ns() + NOW(gate->offset_ns);
	if (ns > NOW(gate->end_ns))
		return 0;
	class = kind >> 48;
	early = bpf_map_lookup_elem(&seen, &class);
	if (!early)
		return 0;
	if (NOW(*early) < tap->early && __sync_fetch_and_add(early, 1) < tap->early)
		return 0;
	add_in_order(&row->begun, 1);
	if (NOW(gate->open) == open)
		slot = slot_of(tap, FIRST_SLOT + (open == FIRST_TABLE ? 0 : tap->slots), source, destination, kind, ns);
	if (!slot) {
		add_in_order(&row->begun, -1);
		return 0;
	}
	__sync_fetch_and_add(&slot->octets, frame->len + (frame->vlan_present ? TAG_OCTETS : 0));
	if (ns < NOW(slot->first_ns))
		NOW(slot->first_ns) = ns;
	if (ns > NOW(slot->last_ns))
		NOW(slot->last_ns) = ns;
	add_in_order(&slot->frames, 1);
	return 1;
}

SEC("socket")
int nwscan_flows(struct __sk_buff *frame)
{
	__u32 none = 0;
	struct tap *tap = bpf_map_lookup_elem(&taps, &none);
	struct control *gate = bpf_map_lookup_elem(&shared, &none);

	if (!tap || !gate)
		return 0;
	return counted(frame, tap, gate) ? 0 : tap->snaplen;
}

char _license[] SEC("license") = "Apache-2.0";
