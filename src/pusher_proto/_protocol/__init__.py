"""What Pusher's messages and close codes mean.

Turns envelopes into the events and control messages of the vocabulary; keeps no state.
"""
