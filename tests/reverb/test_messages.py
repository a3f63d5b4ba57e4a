"""The shared scenarios `messages` on a real Reverb."""

from real_servers.scenarios.messages import *  # noqa: F403 - pytest collects what is imported
