"""The shared scenarios `caches` on a real Reverb."""

from real_servers.scenarios.caches import *  # noqa: F403 - pytest collects what is imported
