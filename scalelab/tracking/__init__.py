"""Mirrors of the local record in experiment trackers. Nothing here can stop or slow a run."""
