"""What the tests against real servers share: processes and ports, clients, and one list of scenarios."""
