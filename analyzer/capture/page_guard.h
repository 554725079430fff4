/*
 * Pages of a mapped file that are gone when they are touched, since the file was cut or the disk failed: the kernel
 * sends SIGBUS. Zeros take the place of the page, the offset of the first is kept, and the reader goes on to ask.
 * As systemd's journal does it (src/basic/sigbus.c). What lies in no guarded mapping ends the process as before.
 */
#ifndef NWSCAN_PAGE_GUARD_H
#define NWSCAN_PAGE_GUARD_H

#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#define NWSCAN_MAPPINGS 1024

static struct {
    char *begin;
    size_t octets;
    ptrdiff_t gone; /* offset of the first page that was gone; -1: none */
} nwscan_mappings[NWSCAN_MAPPINGS];
static struct sigaction nwscan_before;
static uintptr_t nwscan_page;

static void nwscan_page_gone(int number, siginfo_t *told, void *context) {
    char *at = (char *)told->si_addr;
    for (int i = 0; told->si_code == BUS_ADRERR && i < NWSCAN_MAPPINGS; i++) {
        char *begin = __atomic_load_n(&nwscan_mappings[i].begin, __ATOMIC_ACQUIRE);
        if (begin == NULL || at < begin || at >= begin + nwscan_mappings[i].octets)
            continue;
        char *page = (char *)((uintptr_t)at & ~(nwscan_page - 1));
        if (mmap(page, nwscan_page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
            break;
        ptrdiff_t known = __atomic_load_n(&nwscan_mappings[i].gone, __ATOMIC_RELAXED);
        while ((known < 0 || page - begin < known)
               && !__atomic_compare_exchange_n(&nwscan_mappings[i].gone, &known, page - begin, 0, __ATOMIC_RELEASE,
                                               __ATOMIC_RELAXED))
            ;
        return;
    }
    if (nwscan_before.sa_flags & SA_SIGINFO)
        nwscan_before.sa_sigaction(number, told, context);
    else if (nwscan_before.sa_handler != SIG_DFL && nwscan_before.sa_handler != SIG_IGN)
        nwscan_before.sa_handler(number);
    else
        sigaction(SIGBUS, &nwscan_before, NULL); /* it is touched again, and ends the process */
}

/* To be called by one thread at a time, as the two below. Gives the number of the mapping, or -1 where it has no room. */
static int nwscan_guard_pages(char *begin, size_t octets) {
    int i = 0;
    while (i < NWSCAN_MAPPINGS && nwscan_mappings[i].begin != NULL)
        i++;
    if (i == NWSCAN_MAPPINGS)
        return -1;
    if (nwscan_page == 0) {
        struct sigaction wanted = {.sa_sigaction = nwscan_page_gone, .sa_flags = SA_SIGINFO};
        sigemptyset(&wanted.sa_mask);
        nwscan_page = (uintptr_t)sysconf(_SC_PAGESIZE);
        if (sigaction(SIGBUS, &wanted, &nwscan_before) != 0) {
            nwscan_page = 0;
            return -1;
        }
    }
    nwscan_mappings[i].octets = octets;
    nwscan_mappings[i].gone = -1;
    __atomic_store_n(&nwscan_mappings[i].begin, begin, __ATOMIC_RELEASE);
    return i;
}

static ptrdiff_t nwscan_first_gone(int i) {
    return __atomic_load_n(&nwscan_mappings[i].gone, __ATOMIC_ACQUIRE);
}

static void nwscan_leave_pages(int i) {
    __atomic_store_n(&nwscan_mappings[i].begin, (char *)NULL, __ATOMIC_RELEASE);
}

/* Has the pages from ``at`` on mapped, as touching each would, but without a fault for every few: Linux 5.14. Where a page
   is gone, or the kernel is older, nothing is done and nothing is said: whoever touches it will see. */
static void nwscan_populate(const char *begin, size_t octets) {
    uintptr_t first = (uintptr_t)begin & ~(nwscan_page - 1);
    if (nwscan_page != 0 && octets > 0)
        (void)madvise((void *)first, octets + ((uintptr_t)begin - first), 22 /* MADV_POPULATE_READ */);
}

/* Gives back the pages that lie whole in there; whoever touches one has it again. */
static void nwscan_give_back(const char *begin, size_t octets) {
    uintptr_t first = ((uintptr_t)begin + nwscan_page - 1) & ~(nwscan_page - 1);
    uintptr_t last = ((uintptr_t)begin + octets) & ~(nwscan_page - 1);
    if (nwscan_page != 0 && last > first)
        (void)madvise((void *)first, last - first, MADV_DONTNEED);
}

#define give_back_pages(view, at, octets) nwscan_give_back((const char *)(view).data + (at), (size_t)(octets))
#define populate_pages(view, at, octets) nwscan_populate((const char *)(view).data + (at), (size_t)(octets))
#define guard_pages(view) nwscan_guard_pages((view).data, (size_t)(view).shape[0])
#define first_gone(number) nwscan_first_gone(number)
#define leave_pages(number) nwscan_leave_pages(number)

#endif
