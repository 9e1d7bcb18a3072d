"""What trains classifiers: models, optimisers and an engine for all seeds of a configuration at once."""
