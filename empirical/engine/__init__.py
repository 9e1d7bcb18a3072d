"""What trains: the online engine (batch 1, compiled)."""
