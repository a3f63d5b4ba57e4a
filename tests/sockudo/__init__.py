"""Tests against a real Sockudo."""
