"""The sizes of reads."""

from __future__ import annotations

__all__ = ["READ_SIZE", "RECORD_SIZE", "SMALL_READ"]

READ_SIZE = 768 * 1024
"""How many bytes a driver reads at once.

A read costs a turn, 50 µs and more: with a third of this an event of 10 KB takes 4 % more, with two thirds 1 %. With
more than this what was read is out of the cache before it is used, and a turn takes longer than others like to wait.
"""

SMALL_READ = 4096
"""Bytes to ask for where the last read brought less. A blocking client has its own thread, which would hold 10 KB more
of memory with larger buffers for pings.
"""

RECORD_SIZE = 16 * 1024
"""Bytes that one record of TLS brings at most (RFC 8446, 5.1), and so one call that reads from it."""

# The C library of Linux maps a buffer of this size for each read and unmaps it again, until a larger one was freed:
# then it keeps the memory (mallopt(3), M_MMAP_THRESHOLD). An event now and then takes 20 µs less.
_freed = bytes(2 * READ_SIZE)
del _freed
