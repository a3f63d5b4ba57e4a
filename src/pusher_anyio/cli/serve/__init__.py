"""The development server behind `pusher-proto serve`: its settings, and what carries it."""
