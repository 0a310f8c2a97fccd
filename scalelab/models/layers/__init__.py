"""Layers that several families share, the faster ones with gradients by hand.

Shape suffixes: B sequences, T tokens, R = B T, D width, H heads, K width of a head, V vocabulary.
"""
