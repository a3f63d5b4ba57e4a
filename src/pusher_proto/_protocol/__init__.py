"""Interprets Pusher's messages, close codes and errors.

Converts envelopes into events and control messages; keeps no state. Knows `_wire` and the vocabulary: events, errors,
options.
"""
