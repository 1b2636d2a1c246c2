"""Hypothesis profiles, chosen by HYPOTHESIS_PROFILE: dev (quick), ci (the default), thorough (long)."""

import os

from hypothesis import HealthCheck, Phase, settings

COMMON = {"deadline": None, "print_blob": True, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("dev", max_examples=10, **COMMON)
settings.register_profile("ci", max_examples=25, derandomize=True, **COMMON)
settings.register_profile("thorough", max_examples=10_000, **COMMON)
# For tests/mutation: one failing example is enough, and it need not be small.
QUICK = {"phases": [Phase.explicit, Phase.generate], "report_multiple_bugs": False}
settings.register_profile("mutation", max_examples=25, derandomize=True, **QUICK, **COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
