"""What servers said, word for word, and what a client must make of it."""
