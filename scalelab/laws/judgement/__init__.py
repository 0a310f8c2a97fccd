"""Whether to believe a fit: refusals, the checklist, sizes left out, comparison of laws."""
