"""A process that decodes compressed pixels, because codecs hold Python's lock and threads do not help.

`python -m medmm.sources.dicom.decoder FD` serves one `Decoder` over a socket it inherited: a request is
a description and the bytes of a file, the answer one array a frame. It ends when the socket closes.
"""

from __future__ import annotations

import io
import json
import socket
import subprocess
import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection

import numpy as np

from medmm.errors import CorruptError, MedmmError, error_of
from medmm.sources.dicom.codec import decode_file
from medmm.types import AnyArray


class Decoder:
    """A running decoding process. Close it.

    Raises:
        OSError: If no process can be started here.
    """

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            command = [sys.executable, "-m", __name__, str(theirs.fileno())]
            self._process = subprocess.Popen(
                command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            self._connection = Connection(ours.detach())

    def decode(self, content: bytes, frames: Sequence[int], shape: tuple[int, int]) -> list[AnyArray]:
        """Frames of one file, as `codec.decode_file` gives them.

        Raises:
            InputError: What the codec raises; CorruptError when it crashed.
        """
        try:
            self._connection.send_bytes(json.dumps({"frames": list(frames), "shape": shape}).encode())
            self._connection.send_bytes(content)
            return [self._receive(shape) for _ in frames]
        except (EOFError, OSError):
            msg = "Expected pixels that can be decoded; the decoder crashed on these. Export or copy the files again."
            raise CorruptError(msg) from None

    def close(self) -> None:
        """End the process."""
        self._connection.close()
        self._process.kill()
        self._process.wait()

    def _receive(self, shape: tuple[int, int]) -> AnyArray:
        about = json.loads(self._connection.recv_bytes())
        if "code" in about:
            raise error_of(about["code"], about["message"])
        plane: AnyArray = np.empty(shape, np.dtype(about["dtype"]))
        self._connection.recv_bytes_into(plane.data.cast("B"))
        return plane


def serve(connection: Connection) -> None:
    """Answer requests until the other side closes."""
    while True:
        try:
            request = json.loads(connection.recv_bytes())
            content = connection.recv_bytes()
        except EOFError:
            return
        try:
            for plane in decode_file(io.BytesIO(content), request["frames"], tuple(request["shape"])):
                connection.send_bytes(json.dumps({"dtype": plane.dtype.str}).encode())
                connection.send_bytes(np.ascontiguousarray(plane).data.cast("B"))
        except MedmmError as error:
            connection.send_bytes(json.dumps({"code": error.code, "message": error.message}).encode())


if __name__ == "__main__":
    serve(Connection(int(sys.argv[1])))
