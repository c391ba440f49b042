"""The media downloader of services.md, as its document describes it, on the real FastAPI and Starlette.

Usage: media_server.py PORT SOURCE_FILE FILES_FOLDER
A job "downloads" SOURCE_FILE in the background, takes a moment, and is then served by a FileResponse.
"""

import asyncio
import shutil
import sys
import uuid
from pathlib import Path

import uvicorn
from fastapi import BackgroundTasks, FastAPI, HTTPException
from fastapi.responses import FileResponse
from pydantic import BaseModel

port, source, folder = int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
folder.mkdir(parents=True, exist_ok=True)
app = FastAPI()
jobs: dict[str, dict] = {}


class Order(BaseModel):
    url: str
    quality: str = "720p"


async def work(job: dict) -> None:
    job["status"] = "downloading"
    for percent in (10, 55, 90):
        job["progress"] = percent
        await asyncio.sleep(0.3)
    if "broken" in job["url"]:
        job.update(status="error", error_message="Video unavailable")
        return
    target = folder / f"{job['title']}__{job['id']}.mp4"
    shutil.copyfile(source, target)
    job.update(status="completed", progress=100, filename=target.name, filesize=target.stat().st_size)


@app.get("/")
def health():
    return {"status": "ok"}


@app.post("/api/download")
def start(order: Order, tasks: BackgroundTasks):
    job = {
        "id": str(uuid.uuid4()), "url": order.url, "title": "Überfahrt – 渡し船", "status": "pending",
        "progress": 0, "speed": None, "eta": None, "filesize": None, "downloaded_bytes": 0, "filename": None,
        "download_type": "video", "error_message": None,
    }
    jobs[job["id"]] = job
    tasks.add_task(work, job)
    return {"download_id": job["id"], "status": "started"}


@app.get("/api/downloads")
def every():
    return list(jobs.values())


@app.get("/api/download/{job_id}/file")
def file(job_id: str):
    job = jobs.get(job_id)
    if job is None or job["status"] != "completed":
        raise HTTPException(404, "Descarga no disponible o no completada")
    path = folder / job["filename"]
    if not path.exists():
        raise HTTPException(404, "Archivo físico no encontrado")
    return FileResponse(path, filename=job["filename"], media_type="application/octet-stream")


@app.delete("/api/downloads/{job_id}")
def cancel(job_id: str):
    if job_id not in jobs:
        raise HTTPException(404, "Descarga no encontrada")
    jobs[job_id]["status"] = "cancelled"
    return {"status": "cancelled"}


@app.delete("/api/downloads/{job_id}/remove")
def remove(job_id: str):
    job = jobs.pop(job_id, None)
    if job is None:
        raise HTTPException(404, "Descarga no encontrada")
    if job["filename"]:
        (folder / job["filename"]).unlink(missing_ok=True)
    return {"status": "removed"}


uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")
