"""Common parts of the tests against real servers: processes and ports, clients, and one list of scenarios."""
