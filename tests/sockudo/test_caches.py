"""The shared scenarios `caches` on a real Sockudo."""

from real_servers.scenarios.caches import *  # noqa: F403 - pytest collects what is imported
