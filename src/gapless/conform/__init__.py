"""The battery for any server: whether it loses requests when it is handed over on an inherited socket."""
