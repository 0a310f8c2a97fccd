"""Sub-verbs of `scalelab runs`, one file each."""
