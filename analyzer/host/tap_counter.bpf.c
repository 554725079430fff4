// SPDX-License-Identifier: Apache-2.0
/*
 * Counts the frames of guests' taps, by class, in the kernel: at the tap's egress what was delivered to the guest, at its
 * ingress what the guest sent. It changes no frame and decides nothing: each goes on to whatever comes next.
 *
 * tap_counter.py loads it and puts in, for each tap, the guest's MACs and counts of 0. The program itself adds no entry:
 * whatever MACs pass, its memory stays what it is. The classes and their order are those of analyzer/model/classes.py:
 * broadcast, then multicast by the I/G bit (IEEE 802, 8.2.2), then the guest's own MACs, then foreign unicast.
 *
 * `make counter` builds it with Debian's clang; the object is shipped beside this file.
 */

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>

#define SEC(name) __attribute__((section(name), used))
#define __uint(name, value) int(*name)[value]
#define __type(name, value) typeof(value) *name

#define MACS 8
#define TAG_OCTETS 4 /* IEEE 802.1Q, 9.3: the outermost tag is kept beside the frame and is not in its length */
#define BROADCAST_MAC 0xffffffffffffULL
#define GROUP_BIT 1ULL /* of the first octet, which is the lowest here */

enum frame_class { UNICAST_TO_GUEST, MULTICAST, BROADCAST, FOREIGN_UNICAST, FROM_GUEST, UNCLASSIFIED, CLASSES };

/* A tap: the guest's MACs as they lie in a frame, first octet lowest, and what was counted; one such for each CPU. */
struct tap {
	__u64 macs;
	__u64 own[MACS];
	__u64 counts[CLASSES][2]; /* frames, octets */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 16384);
	__type(key, __u32); /* index of the interface */
	__type(value, struct tap);
} taps SEC(".maps");

static void *(*const bpf_map_lookup_elem)(void *map, const void *key) = (void *)BPF_FUNC_map_lookup_elem;
static long (*const bpf_skb_load_bytes)(const void *skb, __u32 offset, void *to,
					__u32 octets) = (void *)BPF_FUNC_skb_load_bytes;

static __attribute__((always_inline)) void add(struct __sk_buff *frame, __u64 counts[2])
{
	counts[0] += 1;
	counts[1] += frame->len + (frame->vlan_present ? TAG_OCTETS : 0);
}

/*
 * The counts of a class. Its place is a constant, which the asm keeps the compiler from computing: adding a computed one to
 * a pointer is what the kernel keeps from loaders without CAP_PERFMON, since it could be steered in speculation.
 */
#define COUNTS_OF(tap, kind)                                                                                           \
	({                                                                                                             \
		__u64 *counts = (tap)->counts[kind];                                                                   \
		asm volatile("" : "+r"(counts));                                                                       \
		counts;                                                                                                \
	})

static __attribute__((always_inline)) __u64 *counts_of(struct __sk_buff *frame, struct tap *tap)
{
	void *start = (void *)(long)frame->data;
	void *end = (void *)(long)frame->data_end;
	__u8 copy[ETH_ALEN];
	__u64 mac;

	if (start + ETH_ALEN <= end) {
		mac = *(__u32 *)start | (__u64) * (__u16 *)(start + 4) << 32;
	} else if (bpf_skb_load_bytes(frame, 0, copy, ETH_ALEN) == 0) { /* its head lies in a page of its own */
		mac = 0;
#pragma unroll
		for (int i = 0; i < ETH_ALEN; i++)
			mac |= (__u64)copy[i] << 8 * i;
	} else {
		return COUNTS_OF(tap, UNCLASSIFIED);
	}
	if (mac == BROADCAST_MAC)
		return COUNTS_OF(tap, BROADCAST);
	if (mac & GROUP_BIT)
		return COUNTS_OF(tap, MULTICAST);
#pragma unroll
	for (__u64 i = 0; i < MACS; i++) {
		if (i >= tap->macs)
			break;
		if (mac == tap->own[i])
			return COUNTS_OF(tap, UNICAST_TO_GUEST);
	}
	return COUNTS_OF(tap, FOREIGN_UNICAST);
}

SEC("tc")
int nwscan_to(struct __sk_buff *frame)
{
	__u32 interface = frame->ifindex;
	struct tap *tap = bpf_map_lookup_elem(&taps, &interface);

	if (tap)
		add(frame, counts_of(frame, tap));
	return TC_ACT_UNSPEC; /* the same as TCX_NEXT */
}

SEC("tc")
int nwscan_from(struct __sk_buff *frame)
{
	__u32 interface = frame->ifindex;
	struct tap *tap = bpf_map_lookup_elem(&taps, &interface);

	if (tap)
		add(frame, tap->counts[FROM_GUEST]);
	return TC_ACT_UNSPEC;
}

char _license[] SEC("license") = "Apache-2.0";
