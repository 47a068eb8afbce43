"""The same examples in every run: a test that fails only now and then helps no one."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("vlmrl", derandomize=True, deadline=None)
settings.load_profile("vlmrl")
