"""One experiment a file: how a run begins, advances and is measured."""
