"""Settings of all tests."""

from hypothesis import settings

# The first example of a test loads what it needs, on a machine that may be busy with other things.
settings.register_profile("swapstream", deadline=None)
settings.load_profile("swapstream")
