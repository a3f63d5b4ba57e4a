"""Interprets Pusher's messages, close codes and errors.

Converts envelopes into events and control messages; keeps no state.
"""
