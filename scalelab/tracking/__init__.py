"""Mirrors of the local record in experiment trackers. Nothing here can stop or slow a run.

Training never imports a tracker: a run is mirrored in one go, from its own files, by another
process after its evaluation.
"""
