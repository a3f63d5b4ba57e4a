"""The shared scenarios `users` on a real Soketi."""

from real_servers.scenarios.users import *  # noqa: F403 - pytest collects what is imported
