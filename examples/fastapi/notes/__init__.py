"""Notes that visitors leave, with a file if they like."""
