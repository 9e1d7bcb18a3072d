"""The claims ledger: read, validate and print ``claims.toml``."""
