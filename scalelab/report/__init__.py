"""The report page, the tables and the numbers of a study. Reads artifacts, draws nothing."""

from scalelab.report.page import write_report
from scalelab.report.tables import write_tables

__all__ = ["write_report", "write_tables"]
