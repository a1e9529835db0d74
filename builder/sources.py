"""Where answers come from: an engine in this process, or one on every place of a cluster."""

from collections.abc import Sequence

from builder.generate import Lazy
from builder.language.policy import Policy
from builder.params import Params


def source(params: Params, policies: Sequence[Policy]) -> Lazy:
    """The engine of ``engine.scale``, loaded at the first row that is missing. A server is asked from here."""
    if params.engine.scale == "local" or params.engine.name == "endpoint":
        return Lazy(params, policies)
    from builder.cluster.work import OnCluster

    return OnCluster(params, policies)
