/* Puts frames on a lab guest's card as they are, without a library: a guest has busybox alone.
 *
 * sender CARD FILE: the file holds records of a head (struct record) and octets: ten of struct virtio_net_hdr, then the
 * frame. Prints how many frames the kernel took and how many it refused. gcc -static -nostdlib -fno-stack-protector.
 */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;

enum { READ = 0, WRITE = 1, OPEN = 2, IOCTL = 16, NANOSLEEP = 35, SOCKET = 41, SENDTO = 44, SETSOCKOPT = 54, EXIT = 60 };
enum { AF_PACKET = 17, SOCK_RAW = 3, SOL_PACKET = 263, PACKET_VNET_HDR = 15, SIOCGIFINDEX = 0x8933 };
enum { NEW_SOURCE = 1, NEW_DESTINATION = 2, NEW_BODY = 4 }; /* what is drawn anew for each repetition */
enum { VNET_OCTETS = 10 };

struct record {
    u32 octets, repeat, vary, pause_us;
};
struct address {
    u16 family, protocol;
    int index;
    u16 type;
    u8 kind, length, value[8];
};

static u8 frame[1 << 17];
static u64 chance = 88172645463325252ul;

static long call(long number, long a, long b, long c, long d, long e, long f) {
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

static void leave(int code) {
    for (;;) call(EXIT, code, 0, 0, 0, 0, 0);
}

static u8 draw(void) { /* xorshift64: the same frames for the same file */
    chance ^= chance << 13;
    chance ^= chance >> 7;
    chance ^= chance << 17;
    return (u8)(chance >> 32);
}

static void put_number(u64 value, char end) {
    char text[24];
    int at = sizeof text;
    text[--at] = end;
    do {
        text[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    call(WRITE, 1, (long)(text + at), (long)sizeof text - at, 0, 0, 0);
}

static int read_all(int file, u8 *to, u32 octets) {
    while (octets) {
        long got = call(READ, file, (long)to, octets, 0, 0, 0);
        if (got <= 0) return 0;
        to += got;
        octets -= (u32)got;
    }
    return 1;
}

static void vary(u32 what, u32 octets) {
    u8 *mac = frame + VNET_OCTETS;
    u32 at;
    if (what & NEW_DESTINATION) for (at = 0; at < 6; at++) mac[at] = at ? draw() : draw() & 0xfe;
    if (what & NEW_SOURCE) for (at = 6; at < 12; at++) mac[at] = at > 6 ? draw() : draw() & 0xfe;
    if (what & NEW_BODY) for (at = VNET_OCTETS + 14; at < octets; at++) frame[at] = draw();
}

static int open_card(const char *name, struct address *to) {
    u8 request[40] = {0};
    int at, one = 1, card = (int)call(SOCKET, AF_PACKET, SOCK_RAW, 0, 0, 0, 0);
    for (at = 0; name[at] && at < 15; at++) request[at] = (u8)name[at];
    if (card < 0 || call(IOCTL, card, SIOCGIFINDEX, (long)request, 0, 0, 0) < 0) leave(2);
    if (call(SETSOCKOPT, card, SOL_PACKET, PACKET_VNET_HDR, (long)&one, sizeof one, 0) < 0) leave(3);
    to->family = AF_PACKET;
    to->index = *(int *)(request + 16);
    to->length = 6;
    return card;
}

static void run(const char *card_name, const char *file_name) {
    struct address to = {0};
    struct record head;
    u64 taken = 0, refused = 0;
    int card = open_card(card_name, &to), file = (int)call(OPEN, (long)file_name, 0, 0, 0, 0, 0);
    if (file < 0) leave(4);
    while (read_all(file, (u8 *)&head, sizeof head)) {
        if (head.octets < VNET_OCTETS + 14 || head.octets > sizeof frame || !read_all(file, frame, head.octets)) leave(5);
        for (; head.repeat; head.repeat--) {
            u64 pause[2] = {head.pause_us / 1000000, head.pause_us % 1000000 * 1000};
            long sent;
            vary(head.vary, head.octets);
            to.protocol = *(u16 *)(frame + VNET_OCTETS + 12);
            do { /* ENOBUFS: the card's queue is full */
                sent = call(SENDTO, card, (long)frame, head.octets, 0, (long)&to, sizeof to);
            } while (sent == -105);
            if (sent < 0) refused++; else taken++;
            if (head.pause_us) call(NANOSLEEP, (long)pause, 0, 0, 0, 0, 0);
        }
    }
    put_number(taken, ' ');
    put_number(refused, '\n');
    leave(0);
}

__attribute__((used)) static void start(long *stack) {
    if (stack[0] != 3) leave(1);
    run((const char *)stack[2], (const char *)stack[3]);
}

__asm__(".globl _start\n_start:\n mov %rsp, %rdi\n and $-16, %rsp\n call start\n");
