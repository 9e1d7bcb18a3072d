"""Data that is kept: the cache, the archives of real data sets and how they come here."""
