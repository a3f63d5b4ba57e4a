"""The shared scenarios `presence` on a real Reverb."""

from real_servers.scenarios.presence import *  # noqa: F403 - pytest collects what is imported
