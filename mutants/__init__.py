"""Mutation testing: would the tests notice if the code were wrong? ``python -m mutants`` (``make mutants``).

Each mutant is one small change of one file; it is killed if a test that runs the changed line fails. mutmut was no fit,
for it mutates functions only (not the tables, which much of this code is) and puts a trampoline into each, which
``torch.export`` traces; nor cosmic-ray, for it starts the whole test command anew for every mutant. Here a server has
the tests collected, forks for each mutant, puts the changed code into the functions that have it (or imports anew, if
the change is seen by importing), and runs the tests that reach the line, the quickest first, to the first that fails.

Reading order: operators (what is changed) → coverage_map (which tests run a line) → patching (a mutant in a running
process) → server (one mutant's verdict) → report (killed, survived, equivalent) → __main__.
"""
