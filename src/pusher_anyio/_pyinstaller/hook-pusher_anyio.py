"""Modules that are imported by name at run time: the commands of the command line, and the I/O of each event loop."""

from PyInstaller.utils.hooks import collect_submodules

hiddenimports = collect_submodules(
    "pusher_anyio", filter=lambda name: not name.startswith("pusher_anyio._pyinstaller")
)
