"""PyNaCl is imported when the first encrypted channel is subscribed, and its native library by cffi."""

hiddenimports = ["_cffi_backend", "nacl.bindings", "nacl.secret"]
