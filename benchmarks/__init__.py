"""Measures the cost of an event, with this project's clients and with others.

See `python -m benchmarks --help`, and docs/performance.md for the method.
"""
