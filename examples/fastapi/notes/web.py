"""The service: notes are listed, and taken; their files are in a directory that outlives releases."""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Form, UploadFile
from sqlalchemy import select
from sqlalchemy.orm import Session

from notes.tables import Note, engine

FILES = Path(os.environ.get("FILES", "files"))
app = FastAPI(title="Notes")


# Plain functions: FastAPI runs each in a thread, where it may wait for the database.
@app.get("/ready")
def ready() -> dict[str, bool]:
    """Say whether the database answers, with this release's tables."""
    with Session(engine) as session:
        session.execute(select(Note).limit(1))
    return {"ready": True}


@app.get("/")
def notes() -> list[dict[str, Any]]:
    """List the newest notes."""
    with Session(engine) as session:
        found = session.scalars(select(Note).order_by(Note.id.desc()).limit(20))
        return [{"id": one.id, "text": one.text, "file": one.file and f"/files/{one.file}"} for one in found]


@app.post("/", status_code=201)
def add(text: Annotated[str, Form()], file: UploadFile | None = None) -> dict[str, int]:
    """Take a note; its file gets a name of our own, with an ending that is a word."""
    name = ""
    if file is not None:
        ending = Path(file.filename or "").suffix
        name = secrets.token_hex(8) + (ending if ending[1:].isalnum() else "")
        with (FILES / name).open("xb") as output:
            shutil.copyfileobj(file.file, output)
    with Session(engine) as session:
        note = Note(text=text, file=name)
        session.add(note)
        session.commit()
        return {"id": note.id}
