"""What an event costs, ours against others: `python -m benchmarks --help`, and docs/performance.md for the method."""
