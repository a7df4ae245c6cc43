"""How hypothesis looks for counterexamples here: as many as fit in a minute, the same ones each time."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "boundary", max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("boundary")
