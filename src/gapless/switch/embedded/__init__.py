"""The embedded manager: a supervisor of our own holds the sockets and runs the instances; deployers ask it."""
