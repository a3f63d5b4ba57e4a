"""The development server behind `pusher-proto serve`: its settings, and the loop that runs it."""
