"""Hidden Markov models: discrete, Gaussian and mixture emissions; fast, exact, and able to filter a stream."""

from recurra.classical.hmm.categorical import Categorical
from recurra.classical.hmm.emission import Emission
from recurra.classical.hmm.gaussian import Gaussian
from recurra.classical.hmm.likelihood import log_likelihood
from recurra.classical.hmm.mixture import GaussianMixture
from recurra.classical.hmm.model import HMM, CategoricalHMM, Decoded, FilterState, GaussianHMM, GaussianMixtureHMM

__all__ = [
    "HMM",
    "Categorical",
    "CategoricalHMM",
    "Decoded",
    "Emission",
    "FilterState",
    "Gaussian",
    "GaussianHMM",
    "GaussianMixture",
    "GaussianMixtureHMM",
    "log_likelihood",
]
