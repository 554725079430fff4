/* Numbers out of octets of a memoryview, loaded at once; who includes it has said that they lie within the view. */
#ifndef NWSCAN_OCTETS_H
#define NWSCAN_OCTETS_H

#include <stdint.h>
#include <string.h>

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define NWSCAN_BIG_16(value) __builtin_bswap16(value)
#define NWSCAN_BIG_64(value) __builtin_bswap64(value)
#define NWSCAN_SWAPPED(big_endian) (big_endian)
#else
#define NWSCAN_BIG_16(value) (value)
#define NWSCAN_BIG_64(value) (value)
#define NWSCAN_SWAPPED(big_endian) (!(big_endian))
#endif

static inline uint32_t nwscan_be16(const char *octets) {
    uint16_t value;
    memcpy(&value, octets, sizeof value);
    return NWSCAN_BIG_16(value);
}

/* Loads 8 octets. */
static inline uint64_t nwscan_be48(const char *octets) {
    uint64_t value;
    memcpy(&value, octets, sizeof value);
    return NWSCAN_BIG_64(value) >> 16;
}

static inline uint32_t nwscan_u16(const char *octets, int big_endian) {
    uint16_t value;
    memcpy(&value, octets, sizeof value);
    return NWSCAN_SWAPPED(big_endian) ? __builtin_bswap16(value) : value;
}

static inline uint32_t nwscan_u32(const char *octets, int big_endian) {
    uint32_t value;
    memcpy(&value, octets, sizeof value);
    return NWSCAN_SWAPPED(big_endian) ? __builtin_bswap32(value) : value;
}

/* Brings the octet near; of an address that is nowhere it does nothing. */
#define fetch(view, at) __builtin_prefetch((view).data + (at))
#define be16(view, at) nwscan_be16((view).data + (at))
#define be48(view, at) nwscan_be48((view).data + (at))
#define octets16(view, at, big_endian) nwscan_u16((view).data + (at), big_endian)
#define octets32(view, at, big_endian) nwscan_u32((view).data + (at), big_endian)

#endif
