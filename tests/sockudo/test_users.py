"""The shared scenarios `users` on a real Sockudo."""

from real_servers.scenarios.users import *  # noqa: F403 - pytest collects what is imported
