"""Photos that visitors leave here, and what a worker says of each."""
