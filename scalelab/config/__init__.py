"""Study files: YAML -> frozen dataclasses. An unknown key is an error that names the near one."""

from scalelab.config.corpus import (
    BenchmarksConfig,
    CanariesConfig,
    CleaningConfig,
    CorpusConfig,
    HubConfig,
    PartConfig,
    SourceConfig,
    SyntheticConfig,
)
from scalelab.config.reading import check, check_tokens, load, parse, resolved, with_values
from scalelab.config.schema import PowerRule, Study

__all__ = [
    "BenchmarksConfig",
    "CanariesConfig",
    "CleaningConfig",
    "CorpusConfig",
    "HubConfig",
    "PartConfig",
    "PowerRule",
    "SourceConfig",
    "Study",
    "SyntheticConfig",
    "check",
    "check_tokens",
    "load",
    "parse",
    "resolved",
    "with_values",
]
