"""Pictures that clients send: read, decoded in child processes, and stored anew."""
