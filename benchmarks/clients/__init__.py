"""One module for each measured library, which connects, subscribes, and passes each event to the meter."""
