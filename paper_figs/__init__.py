"""The paper's figures from the library or from saved runs; nothing here trains. One file a figure."""
