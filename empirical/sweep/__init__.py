"""The paper's grid of runs: which they are, what is done of them, what the rest will take."""
