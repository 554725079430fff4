# The types that page_guard.py is compiled with.

ctypedef unsigned char u8

cdef extern from "analyzer/capture/page_guard.h":
    int guard_pages(const u8[::1] data) noexcept
    Py_ssize_t first_gone(int number) noexcept
    void leave_pages(int number) noexcept
    void give_back_pages(const u8[::1] data, Py_ssize_t at, Py_ssize_t octets) noexcept nogil
    void populate_pages(const u8[::1] data, Py_ssize_t at, Py_ssize_t octets) noexcept nogil

cpdef int guard(const u8[::1] data) noexcept
cpdef Py_ssize_t gone(int number) noexcept
cpdef void leave(int number) noexcept
cpdef void give_back(const u8[::1] data, Py_ssize_t at, Py_ssize_t octets) noexcept
cpdef void populate(const u8[::1] data, Py_ssize_t at, Py_ssize_t octets) noexcept
