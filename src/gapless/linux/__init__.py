"""What the kernel offers: files, processes, users, terminals, Unix sockets; every layer may use it, it knows none."""
