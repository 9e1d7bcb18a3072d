"""Bit-flipping: online regression whose target drifts; SGD loses plasticity, continual backprop keeps it."""
