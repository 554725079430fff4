// SPDX-License-Identifier: Apache-2.0
/*
 * The filter of a packet socket on a guest's tap that keeps what is the guest's own from being copied: unicast to one of
 * its MACs, and all that it sends, is counted here and not kept. Of the rest the first octets are kept.
 *
 * own_counter.py loads it, puts in whose tap it is, attaches it to the socket and hands the counts to the worker, which
 * maps and reads them. The classes are those of analyzer/model/classes.py: what is shorter than an Ethernet header is
 * kept, since it has no class here. Segments are counted as analyzer/classify/decode.py counts them.
 *
 * `make counter` builds it with Debian's clang; the object is shipped beside this file.
 */

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>

#define SEC(name) __attribute__((section(name), used))
#define __uint(name, value) int(*name)[value]
#define __type(name, value) typeof(value) *name

#define MACS 8
#define CPUS 64 /* rows of counts: a power of two; CPUs beyond share them */
#define TAG_OCTETS 4
#define MOST_TAGS 2
#define MOST_SEGMENTS 65535
#define GROUP_BIT 1ULL /* of the first octet, which is the lowest here */
#define IPV4 0x0800
#define IPV6 0x86dd
#define TCP 6
#define UDP 17

enum own { TO_GUEST, FROM_GUEST, KINDS };

struct tap {
	__u64 macs;
	__u64 own[MACS]; /* as they lie in a frame, first octet lowest */
	__u64 snaplen;
};

struct counts {
	__u64 frames[KINDS];
	__u64 octets[KINDS];
	__u64 segments[KINDS];
	__u64 unused[2];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct tap);
} taps SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, CPUS);
	__type(key, __u32);
	__type(value, struct counts);
} counted SEC(".maps");

static void *(*const bpf_map_lookup_elem)(void *map, const void *key) = (void *)BPF_FUNC_map_lookup_elem;
static __u32 (*const bpf_get_smp_processor_id)(void) = (void *)BPF_FUNC_get_smp_processor_id;
static long (*const bpf_skb_load_bytes)(const void *skb, __u32 offset, void *to,
					__u32 octets) = (void *)BPF_FUNC_skb_load_bytes;

static __attribute__((always_inline)) __u32 octet_at(struct __sk_buff *frame, __u32 at)
{
	__u8 octet = 0;

	bpf_skb_load_bytes(frame, at, &octet, 1);
	return octet;
}

static __attribute__((always_inline)) __u32 pair_at(struct __sk_buff *frame, __u32 at)
{
	__u8 pair[2] = {0, 0};

	bpf_skb_load_bytes(frame, at, pair, 2);
	return pair[0] << 8 | pair[1];
}

/* The octets of all headers up to the payload that GSO cuts. */
static __attribute__((always_inline)) __u32 header_octets(struct __sk_buff *frame)
{
	__u32 at = ETH_HLEN, type = pair_at(frame, at - 2), protocol = 0;

#pragma unroll
	for (int i = 0; i < MOST_TAGS; i++) {
		if (type != 0x8100 && type != 0x88a8 && type != 0x9100 && type != 0x9200 && type != 0x9300)
			break;
		at += TAG_OCTETS;
		type = pair_at(frame, at - 2);
	}
	if (type == IPV4) {
		protocol = octet_at(frame, at + 9);
		at += 4 * (octet_at(frame, at) & 0xf);
	} else if (type == IPV6) {
		protocol = octet_at(frame, at + 6);
		at += 40;
	}
	if (protocol == TCP)
		return at + 4 * (octet_at(frame, at + 12) >> 4);
	return protocol == UDP ? at + 8 : at;
}

static __attribute__((always_inline)) __u64 segments_of(struct __sk_buff *frame)
{
	__u32 size = frame->gso_size, headers, segments;

	if (!size)
		return 1;
	headers = header_octets(frame);
	if (frame->len <= headers)
		return 1;
	segments = (frame->len - headers + size - 1) / size;
	return segments > MOST_SEGMENTS ? MOST_SEGMENTS : segments;
}

#define COUNT(counts, kind, frame)                                                                                     \
	do {                                                                                                           \
		__sync_fetch_and_add(&(counts)->frames[kind], 1);                                                      \
		__sync_fetch_and_add(&(counts)->octets[kind], (frame)->len + ((frame)->vlan_present ? TAG_OCTETS : 0)); \
		__sync_fetch_and_add(&(counts)->segments[kind], segments_of(frame));                                   \
	} while (0)

SEC("socket")
int nwscan_unrelated(struct __sk_buff *frame)
{
	__u32 none = 0, row = bpf_get_smp_processor_id() & (CPUS - 1);
	struct tap *tap = bpf_map_lookup_elem(&taps, &none);
	struct counts *counts = bpf_map_lookup_elem(&counted, &row);
	__u8 octets[ETH_ALEN];
	__u64 mac = 0;

	if (!tap || !counts)
		return 0;
	if (frame->len < ETH_HLEN)
		return tap->snaplen;
	if (frame->pkt_type != PACKET_OUTGOING) {
		COUNT(counts, FROM_GUEST, frame);
		return 0;
	}
	if (bpf_skb_load_bytes(frame, 0, octets, ETH_ALEN))
		return tap->snaplen;
#pragma unroll
	for (int i = 0; i < ETH_ALEN; i++)
		mac |= (__u64)octets[i] << 8 * i;
	if (mac & GROUP_BIT)
		return tap->snaplen;
#pragma unroll
	for (__u64 i = 0; i < MACS; i++) {
		if (i >= tap->macs)
			break;
		if (mac == tap->own[i]) {
			COUNT(counts, TO_GUEST, frame);
			return 0;
		}
	}
	return tap->snaplen;
}

char _license[] SEC("license") = "Apache-2.0";
