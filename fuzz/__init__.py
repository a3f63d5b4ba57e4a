"""Programs that look for what nobody thought of: bad weather in a simulated world, and bytes at random."""
