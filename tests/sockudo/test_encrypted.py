"""The shared scenarios `encrypted` on a real Sockudo."""

from real_servers.scenarios.encrypted import *  # noqa: F403 - pytest collects what is imported
