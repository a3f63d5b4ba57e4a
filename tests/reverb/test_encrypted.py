"""The shared scenarios `encrypted` on a real Reverb."""

from real_servers.scenarios.encrypted import *  # noqa: F403 - pytest collects what is imported
