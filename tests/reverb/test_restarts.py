"""The shared scenarios `restarts` on a real Reverb."""

from real_servers.scenarios.restarts import *  # noqa: F403 - pytest collects what is imported
