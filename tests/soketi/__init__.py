"""Tests against the real server Soketi, and the harness that runs it."""
