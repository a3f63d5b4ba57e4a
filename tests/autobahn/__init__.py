"""Our WebSocket layer as client of the fuzzing server of the Autobahn test suite."""
