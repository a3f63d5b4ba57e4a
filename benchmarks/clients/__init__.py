"""One file for each library that is measured: how it connects, subscribes, and hands an event to the meter."""
