"""A study while it runs: what is done, at work, left and failed; in the terminal or on a page."""
