"""Measures what an event costs, with our clients and with others. See `python -m benchmarks --help`, and
docs/performance.md for the method."""
