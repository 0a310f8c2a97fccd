"""How sure a fit is: profile, sandwich, resamples, and what is not determined."""
