"""What a user can set, one module an experiment; what they share is in ``shared``."""
