"""The tables, and how the database is reached."""

from __future__ import annotations

import os
from datetime import datetime

from sqlalchemy import create_engine, func
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

URL = os.environ.get("DATABASE_URL", "postgresql+psycopg:///notes")
# Two releases have such a pool each, while one takes over from the other. A connection that Postgres closed, as in a
# restart, is made anew.
engine = create_engine(URL, pool_size=5, max_overflow=5, pool_pre_ping=True)


class Base(DeclarativeBase):
    """What migrations are compared with."""


class Note(Base):
    """A note, and the name of its file."""

    __tablename__ = "notes"

    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]
    file: Mapped[str] = mapped_column(server_default="")
    at: Mapped[datetime] = mapped_column(server_default=func.now())
