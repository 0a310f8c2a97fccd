"""Finished runs: what lies in the results folder, and what comes from elsewhere."""
