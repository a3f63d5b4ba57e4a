"""A real Laravel Reverb: our clients on it, and its HTTP API beside that of the test server's dialect."""
