"""From a table of runs to the points of a fit: columns, cells, clusters."""
