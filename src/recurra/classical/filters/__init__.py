"""Adaptive filters: `(y, e, weights), state = NLMS(taps=32)(x, d, state)`, on whole signals or sample by sample."""

from recurra.classical.filters.adaptive import AdaptiveFilter, Filtered, FilterState
from recurra.classical.filters.canceller import Cancelled, cancel, delayed, sine_pair, snr_db
from recurra.classical.filters.gradient import (
    GMCC,
    LMF,
    LMS,
    NLMF,
    NLMS,
    Llncosh,
    NormalizedSignSignLMS,
    SignDataLMS,
    SignErrorLMS,
    SignSignLMS,
)
from recurra.classical.filters.projection import AffineProjection
from recurra.classical.filters.recursive import RLS
from recurra.classical.filters.variable import GNGD, AngLMS, BenvenisteLMS, MathewsLMS

__all__ = [
    "ALGORITHMS",
    "GMCC",
    "GNGD",
    "LMF",
    "LMS",
    "NLMF",
    "NLMS",
    "RLS",
    "AdaptiveFilter",
    "AffineProjection",
    "AngLMS",
    "BenvenisteLMS",
    "Cancelled",
    "FilterState",
    "Filtered",
    "Llncosh",
    "MathewsLMS",
    "NormalizedSignSignLMS",
    "SignDataLMS",
    "SignErrorLMS",
    "SignSignLMS",
    "cancel",
    "delayed",
    "sine_pair",
    "snr_db",
]

ALGORITHMS: dict[str, type[AdaptiveFilter]] = {
    "lms": LMS,
    "nlms": NLMS,
    "rls": RLS,
    "ap": AffineProjection,
    "sign-error": SignErrorLMS,
    "sign-data": SignDataLMS,
    "sign-sign": SignSignLMS,
    "nsslms": NormalizedSignSignLMS,
    "lmf": LMF,
    "nlmf": NLMF,
    "llncosh": Llncosh,
    "gmcc": GMCC,
    "gngd": GNGD,
    "vslms-mathews": MathewsLMS,
    "vslms-ang": AngLMS,
    "vslms-benveniste": BenvenisteLMS,
}
"""What a command line calls them."""
