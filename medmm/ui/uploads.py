"""How files come in and go out: under random names from the first byte, counted while they come, and to their owner alone.

These routes stand in the place of Gradio's, which keeps a file's own name, gives equal files one
place, bounds neither count nor sum, and hands a file to whoever knows its path.
"""

from __future__ import annotations

import asyncio
import errno
import json
import secrets
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from medmm.errors import MedmmError, TooLargeError
from medmm.settings import LIMITS
from medmm.ui.visitor import Visitors, visitor_of

MAX_FILE = 512 << 20
MAX_VISITOR = 1 << 30
_SOUNDS = {".wav": "audio/wav", ".flac": "audio/flac", ".ogg": "audio/ogg", ".mp3": "audio/mpeg", ".webm": "audio/webm"}
_KEPT_FREE = 512 << 20  # bytes of the disk that uploads leave to others
_WATCHABLE = 100  # uploads that can be asked about, also some time after they have come
_BROKEN = "Expected a whole form with files in it; got something else. Upload them again."


class Uploads:
    """The routes that files come and go by.

    Args:
        root: Folder that files are kept in until they are opened.
        visitors: Told whose each file is.
    """

    def __init__(self, root: Path, visitors: Visitors) -> None:
        self._root, self._visitors = root, visitors
        self._progress: dict[str, _Incoming] = {}
        self._rooms: dict[str, _Room] = {}

    def routes(self) -> list[Route]:
        """In the place of Gradio's."""
        return [
            Route("/gradio_api/upload", self._receive, methods=["POST"]),
            Route("/gradio_api/upload_progress", self._tell_progress),
            Route("/gradio_api/file={path:path}", self._hand_out),
        ]

    async def _receive(self, request: Request) -> Response:
        kind, options = parse_options_header(request.headers.get("content-type"))
        if kind != b"multipart/form-data" or not options.get(b"boundary"):
            return PlainTextResponse(_BROKEN, 400)
        visitor, upload = visitor_of(request.cookies), request.query_params.get("upload_id", "")
        with self._room_of(visitor) as room:
            incoming = _Incoming(self._root, room)
            self._progress[upload] = incoming
            if len(self._progress) > _WATCHABLE:
                self._progress.pop(next(iter(self._progress)))
            try:
                incoming.expect(options[b"boundary"])
                async for chunk in request.stream():
                    incoming.feed(chunk)
                files = incoming.finish()
            except (FormParserError, TooLargeError, ClientDisconnect, OSError, asyncio.CancelledError) as error:
                incoming.discard()
                if isinstance(error, (ClientDisconnect, asyncio.CancelledError)):
                    raise
                return _refusal(error)
            finally:
                incoming.done = True
            for file in files:
                self._visitors.give(file, visitor)
            return JSONResponse([str(file) for file in files])

    @contextmanager
    def _room_of(self, visitor: str) -> Iterator[_Room]:
        """What a visitor may still send: one room for all that he sends at the same moment."""
        room = self._rooms.setdefault(visitor, _Room(MAX_VISITOR - self._held(visitor)))
        room.uploads += 1
        try:
            yield room
        finally:
            room.uploads -= 1
            if not room.uploads:
                del self._rooms[visitor]

    def _held(self, visitor: str) -> int:
        """Bytes that this visitor uploaded and has not opened yet."""
        total = 0
        for file in self._visitors.files_of(visitor):
            with suppress(OSError):  # it has been opened, or swept away, or its name is no path
                total += Path(file).stat().st_size if self._root in Path(file).parents else 0
        return total

    async def _tell_progress(self, request: Request) -> Response:
        """What Gradio's page asks for, to draw how far an upload is."""
        upload = request.query_params.get("upload_id", "")
        for _ in range(60):
            if upload in self._progress:
                return StreamingResponse(_events(self._progress[upload]), media_type="text/event-stream")
            await asyncio.sleep(0.05)
        return Response(status_code=404)

    async def _hand_out(self, request: Request) -> Response:
        """A file to the visitor who sent it or for whom it was made."""
        file = Path(request.path_params["path"])
        if not self._visitors.may_have(file, visitor_of(request.cookies)) or not file.is_file():
            return Response(status_code=404)
        sound = _SOUNDS.get(file.suffix)
        if sound:
            return FileResponse(file, media_type=sound)
        return FileResponse(file, media_type="application/octet-stream", filename=file.name)


@dataclass(slots=True)
class _Room:
    """Bytes that a visitor may still send, and how many uploads share them."""

    left: int
    uploads: int = 0


class _Incoming:
    """One upload while it comes."""

    def __init__(self, root: Path, room: _Room) -> None:
        self._room = room
        self._folder = root / secrets.token_hex(16)
        self._folder.mkdir(mode=0o700)
        self._files: list[Path] = []
        self._open: BinaryIO | None = None
        self._header, self._value, self._disposition = bytearray(), bytearray(), b""
        self._left = self._taken = 0
        self.received: dict[str, int] = {}
        self._name = ""
        self.done = False

    def expect(self, boundary: bytes) -> None:
        """Begin, told what stands between the parts."""
        called: dict[str, Callable[..., None]] = {
            "on_part_begin": self._begin, "on_header_field": self._on_field, "on_header_value": self._on_value,
            "on_header_end": self._on_header, "on_headers_finished": self._on_headers, "on_part_data": self._on_data,
            "on_part_end": self._end,
        }  # fmt: skip
        self._parser = MultipartParser(boundary, called)  # type: ignore[arg-type]  # its type has a key for each

    def feed(self, chunk: bytes) -> None:
        """Take some bytes of the body.

        Raises:
            TooLargeError: If it is more than this visitor may have here.
            OSError: If the disk is nearly full.
        """
        if shutil.disk_usage(self._folder).free < _KEPT_FREE:
            raise OSError(errno.ENOSPC, "little is left")
        self._parser.write(chunk)

    def finish(self) -> list[Path]:
        """The files, when all has come."""
        if self._open is not None:
            raise FormParserError(_BROKEN)
        self._parser.finalize()
        return self._files

    def discard(self) -> None:
        """Remove what has come."""
        self._end()
        self._room.left += self._taken
        shutil.rmtree(self._folder, ignore_errors=True)

    def _begin(self) -> None:
        self._disposition = b""

    def _on_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def _on_headers(self) -> None:
        _, options = parse_options_header(self._disposition)
        if b"filename" not in options:
            return  # a field that is no file is not kept
        if len(self._files) == LIMITS.files:
            msg = f"Expected {LIMITS.files:,} files at most; got more. Upload them as a zip, or fewer."
            raise TooLargeError(msg)
        self._name = options[b"filename"].decode("utf-8", "replace")
        suffix = Path(self._name).suffix.lower()
        file = self._folder / f"{len(self._files):05d}{suffix if suffix in _SOUNDS else ''}"
        self._files.append(file)
        self._open, self._left = file.open("wb"), MAX_FILE

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        if self._open is None:
            return
        count = end - start
        self._left, self._taken, self._room.left = self._left - count, self._taken + count, self._room.left - count
        if self._left < 0 or self._room.left < 0:
            limits = f"{MAX_FILE >> 20:,} MB a file and {MAX_VISITOR >> 20:,} MB together"
            msg = f"Expected {limits} at most; got more. Upload less at a time."
            raise TooLargeError(msg)
        self._open.write(data[start:end])
        self.received[self._name] = self.received.get(self._name, 0) + count

    def _end(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None


async def _events(incoming: _Incoming) -> AsyncIterator[str]:
    told: dict[str, int] = {}
    while not incoming.done:
        for name, count in list(incoming.received.items()):
            if count > told.get(name, 0):
                yield _event({"msg": "update", "orig_name": name, "chunk_size": count - told.get(name, 0)})
                told[name] = count
        await asyncio.sleep(0.1)
    yield _event({"msg": "done"})


def _event(message: dict[str, Any]) -> str:
    return f"data: {json.dumps(message)}\n\n"


def _refusal(error: BaseException) -> Response:
    if isinstance(error, OSError):
        return PlainTextResponse("Expected room for this upload; there is none left here. Try again later.", 507)
    return PlainTextResponse(
        error.message if isinstance(error, MedmmError) else _BROKEN, 413 if isinstance(error, TooLargeError) else 400
    )
