"""How hypothesis searches: the same examples each time, but for the slow tests."""

from hypothesis import settings

settings.register_profile("pymigrate", deadline=None, derandomize=True)
settings.load_profile("pymigrate")
