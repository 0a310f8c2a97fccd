"""What laws are made of: sums of powers, written formulas, their derivatives, constraints."""
