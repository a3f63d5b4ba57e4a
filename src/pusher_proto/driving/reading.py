"""The sizes of reads."""

from __future__ import annotations

__all__ = ["READ_SIZE", "RECORD_SIZE", "SMALL_READ"]

READ_SIZE = 768 * 1024
"""How many bytes a driver reads at once.

A read costs a turn, 50 µs and more: with a third of this size an event of 10 KB takes 4 % more, with two thirds 1 %.
With a larger size the data has left the cache before it is used, and a turn delays other tasks for too long.
"""

SMALL_READ = 4096
"""How many bytes to read if the last read returned less than this. With larger buffers for pings the thread of a
blocking client would hold 10 KB more of memory.
"""

RECORD_SIZE = 16 * 1024
"""The most bytes in one record of TLS (RFC 8446, 5.1), and so in one read of decrypted data."""

# The C library of Linux maps and unmaps a buffer of this size for each read, until a larger one has been freed. After
# that it keeps the memory (mallopt(3), M_MMAP_THRESHOLD), which saves 20 µs for an occasional event.
_freed = bytes(2 * READ_SIZE)
del _freed
