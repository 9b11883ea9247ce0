"""gapless.toml: its settings (settings.py), what can be wrong with them (problems.py), how it is read (reading.py)."""

from gapless.config.reading import FILE, content, load, parse, read, tables, text

__all__ = ["FILE", "content", "load", "parse", "read", "tables", "text"]
