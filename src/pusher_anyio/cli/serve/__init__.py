"""The development server behind `pusher-proto serve`: its settings, and the functions that run it."""
