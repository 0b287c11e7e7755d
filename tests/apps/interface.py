"""The interface of a shop, as FastAPI's own guide writes one: JSON, checked input, a stream of events, an upload."""

import asyncio
import hashlib

from fastapi import FastAPI, Header, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

app = FastAPI()


class Item(BaseModel):
    name: str
    count: int


@app.get("/health")
def health():
    return {"status": "ok"}


@app.get("/stock")
def stock(x_postern_user: str = Header(""), x_forwarded_prefix: str = Header("")):
    return {"items": 3, "user": x_postern_user, "prefix": x_forwarded_prefix}


@app.post("/items", status_code=201)
def add(item: Item):
    return item


@app.put("/files/{name}")
async def upload(name: str, request: Request):
    digest, size = hashlib.sha256(), 0
    async for part in request.stream():
        digest.update(part)
        size += len(part)
    return {"name": name, "size": size, "sha256": digest.hexdigest()}


@app.get("/events")
async def events():
    async def each():
        for n in range(3):
            yield f"data: {n}\n\n"
            await asyncio.sleep(1)

    return StreamingResponse(each(), media_type="text/event-stream")
