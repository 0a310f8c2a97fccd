"""Point estimates: the objective, the solver, the best of many starts."""
