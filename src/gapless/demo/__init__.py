"""The same small app and the same traffic through several ways of deploying; the bench uses it, too."""
