"""``python -m lop_theory`` lists the commands."""

COMMANDS = """\
python -m lop_theory.gap      certify the quartic gap bound: lambda, kappa, Hermite coefficients with error bounds
python -m lop_theory.tension  decorrelation strength against frozen probability, with a verdict per claim python -m
lop_theory.graph    cloned and frozen manifolds of a network given as a graph python -m lop_theory.modules  clones,
dead and saturated units of a PyTorch checkpoint python -m lop_theory.report   the claims ledger as a table python -m
paper_figs          every figure of the paper
Each takes --help."""

if __name__ == "__main__":
    print(COMMANDS)
