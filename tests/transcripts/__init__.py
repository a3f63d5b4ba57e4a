"""Recorded messages of servers, and the events that a client must make of them."""
